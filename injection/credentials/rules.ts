/**
 * Why a pod's credentials cannot be moved: the rules by their stable names, what each is about, and what a person does about it.
 *
 * docs/kubernetes-credentials.md has a row for each; a test keeps the two together. A message names variables, Secrets and keys, never a value.
 */
import type { Refusal } from '../refusal.ts'

export const rules = {
  ConnectionNotUnderstood: 'Write it as postgresql://user:password@host:5432/database, as jdbc:postgresql:… or as host=… dbname=… user=…',
  ConnectionIncomplete: 'Give the host in a variable too, or name the variable that has it under `names` in the policy',
  OutsidePolicy: 'Correct the connection, or add the host, port or database to the SessionPolicy',
  CredentialInFile:
    'Give user and password in the connection itself or in a variable; certificates of clients and password files stay with the agent and are not supported',
  CredentialInParameter: 'Give the parameter as plain text, or from a variable that holds no key of a Secret',
  SourceNotMovable: 'Give the variable by value, secretKeyRef or configMapKeyRef',
  DatabaseUnclear: 'Name the variable, or its prefix, under one database only',
  CredentialNotNamed: 'Name the variable under databases[].variables of a SessionPolicy, or remove the credential from it',
  CredentialInCommand: 'Have the command read the variable that the policy names, as $(DATABASE_URL) or in the program',
  MovedVariableUsed: 'Use the connection variable that the policy names instead, or name this one under databases[].variables',
  SecretClosed: 'Put the key into another Secret, or name it under secrets.allowKeys of the SessionPolicy',
  SecretVolumeClosed:
    'Mount another Secret, or name the keys to be kept under secrets.allowKeys of the SessionPolicy and list no others under items',
  ConfigMapKeyClosed: 'Put the connection into a Secret, or list only other keys of the ConfigMap under items',
  AllowedKeyIsCredential: 'Remove the key from secrets.allowKeys: the agents work without it, through the sidecar',
  VolumeNotJudged: 'Sync what the volume brings into a Secret of Kubernetes and refer to that, or remove the volume',
  AnnotationsExposed: 'Put the credential into a Secret, or do not hand the annotations to the container',
} as const satisfies Readonly<Record<string, string>>

export type Rule = keyof typeof rules

/** What the parts of one review find, gathered. */
export type Report = {
  /** `message` says what is wrong; `remedy` replaces the rule's own where more is known. */
  refuse(rule: Rule, where: string, message: string, remedy?: string): void
  warn(text: string): void
}

export function createReport(): Report & { readonly refusals: readonly Refusal[]; readonly warnings: readonly string[] } {
  const refusals: Refusal[] = []
  const warnings = new Set<string>()
  const places = new Set<string>()
  return {
    refusals,
    get warnings() {
      return [...warnings]
    },
    refuse(rule, where, message, remedy = rules[rule]) {
      // What is wrong with a place is said once: with that mended, the rest may be gone.
      if (places.has(where)) return
      places.add(where)
      refusals.push({ rule, where, message, remedy })
    },
    warn(text) {
      warnings.add(text)
    },
  }
}
