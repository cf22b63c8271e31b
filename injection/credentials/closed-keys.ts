/**
 * What the agent's containers may not have, gathered from all sources of a pod: Secrets with a moved key, keys of ConfigMaps, passwords as text.
 *
 * A Secret is closed as a whole except for the keys that the policy names: what else lies in it is unknown here, and often the same credential
 * in another form.
 */
import type { MergedPolicy } from '../../crds/merge.ts'
import { hasCredential } from './credential-text.ts'
import { tokensOf } from './expansion.ts'
import type { Leaf } from './expression.ts'
import type { Report } from './rules.ts'
import { secretsOf, type Key, type SourceSecrets } from './source-secrets.ts'
import type { Source } from './sources.ts'

export type ClosedKeys = {
  isClosedSecret(name: string | undefined): boolean
  isClosed(reference: { readonly name?: string; readonly key: string } | undefined): boolean
  isClosedConfigMapKey(reference: { readonly name?: string; readonly key: string } | undefined): boolean
  /** Keys of a closed Secret that agents may still have. */
  allowedKeys(secret: string): readonly string[]
  closedConfigMapKeys(configMap: string | undefined): readonly string[]
  /** Whether this field of the pod, or all annotations or labels at once, gives a credential. */
  isClosedField(fieldPath: string | undefined): boolean
  /** True when any of its references is closed. */
  isClosedLeaf(leaf: Leaf): boolean
  readonly hasPasswords: boolean
  /** Whether a text of the pod, in the variable `name` if it is one, holds a password that was moved. */
  holdsPassword(text: string, name?: string): boolean
  /** Whether a text that a connection is made of is a piece of such a password. */
  isPieceOfPassword(text: string): boolean
}

/** `annotations` are the pod's. */
export function closedKeys(
  sources: readonly Source[],
  policy: MergedPolicy,
  annotations: Readonly<Record<string, string>>,
  report: Report,
): ClosedKeys {
  const all = sources.map(({ source, env }) => secretsOf(source, env))
  const closed = new Set(all.flatMap(({ secrets }) => secrets.map(({ name }) => name)))
  const configMapKeys = all.flatMap((one) => one.configMapKeys)
  const allowed = new Map<string, string[]>()
  for (const { secret, keys } of policy.secrets.allowKeys) allowed.set(secret, [...(allowed.get(secret) ?? []), ...keys])
  for (const { name, key } of credentialKeys(all))
    if (allowed.get(name)?.includes(key) === true)
      report.refuse(
        'AllowedKeyIsCredential',
        `secrets.allowKeys[${name}] of the policy`,
        `key ${key} of Secret ${name} holds the credential of a database`,
      )
  const names = new Set(all.flatMap((one) => one.names))
  const passwords = [...new Set(all.flatMap((one) => one.passwords))]
  const allowedKeys = (secret: string): readonly string[] => [...new Set(allowed.get(secret) ?? [])]
  const isClosed: ClosedKeys['isClosed'] = (reference) =>
    reference?.name !== undefined && closed.has(reference.name) && !allowedKeys(reference.name).includes(reference.key)
  const isClosedConfigMapKey: ClosedKeys['isClosedConfigMapKey'] = (reference) =>
    configMapKeys.some(({ name, key }) => name === reference?.name && key === reference.key)
  const holdsPassword = passwordFinder(passwords, names)
  const isClosedField = closedFields(
    all.flatMap((one) => one.fieldPaths),
    Object.entries(annotations).flatMap(([name, text]) => (holdsPassword(text) || hasCredential(text) ? [name] : [])),
  )
  return {
    isClosedSecret: (name) => name !== undefined && closed.has(name),
    isClosed,
    isClosedConfigMapKey,
    allowedKeys,
    closedConfigMapKeys: (configMap) => configMapKeys.flatMap(({ name, key }) => (name === configMap ? [key] : [])),
    isClosedLeaf: ({ alternatives }) =>
      alternatives.some(
        ({ secretKeyRef, configMapKeyRef, fieldRef }) =>
          isClosed(secretKeyRef) || isClosedConfigMapKey(configMapKeyRef) || isClosedField(fieldRef?.fieldPath),
      ),
    isClosedField,
    hasPasswords: passwords.length > 0,
    holdsPassword,
    isPieceOfPassword: (text) =>
      text.length >= wordCharactersMin && !names.has(text) && passwords.some((password) => password.includes(text)),
  }
}

/** `paths` as `fieldRef` has them, and annotations by name. */
function closedFields(paths: readonly string[], annotations: readonly string[]): ClosedKeys['isClosedField'] {
  const normal = (path: string): string => path.replace(/\["(.*)"\]$/, "['$1']")
  const closed = new Set([...paths.map(normal), ...annotations.map((name) => `metadata.annotations['${name}']`)])
  const whole = new Set([...closed].map((path) => path.replace(/\[.*$/, '')))
  return (path) => path !== undefined && (closed.has(normal(path)) || whole.has(path))
}

function credentialKeys(all: readonly SourceSecrets[]): Key[] {
  return all.flatMap(({ secrets }) => secrets.filter(({ isCredential }) => isCredential))
}

/** Shorter passwords are looked for as a whole word, and the shortest as a whole value only: they are part of many a text. */
const insideCharactersMin = 8
const wordCharactersMin = 4

function passwordFinder(passwords: readonly string[], names: ReadonlySet<string>): ClosedKeys['holdsPassword'] {
  const all = passwords.flatMap(writtenForms).map((password) => `:${password}@`)
  // `postgres:postgres@…/postgres`: a password that is also a name is none where the name may stand.
  const secret = passwords.filter((password) => !names.has(password)).flatMap(writtenForms)
  const shared = passwords.filter((password) => names.has(password)).flatMap(writtenForms)
  const isIn = (text: string, name: string): boolean =>
    all.some((written) => text.includes(written)) ||
    secret.some((password) => text === password || holds(text, password)) ||
    (/PASS|PWD|SECRET|CREDENTIAL/i.test(name) && shared.includes(text))
  return (text, name = '') => {
    if (passwords.length === 0) return false
    if (isIn(text, name)) return true
    if (!text.includes('$')) return false
    const plain = tokensOf(text).flatMap((token) => (token.kind === 'text' ? [token.text] : []))
    return isIn(plain.join(''), name)
  }
}

function holds(text: string, password: string): boolean {
  if (password.length >= insideCharactersMin) return text.includes(password)
  if (password.length < wordCharactersMin) return false
  for (let at = text.indexOf(password); at >= 0; at = text.indexOf(password, at + 1)) {
    const around = `${text[at - 1] ?? ' '}${text[at + password.length] ?? ' '}`
    if (!/[A-Za-z0-9]/.test(around)) return true
  }
  return false
}

function writtenForms(password: string): string[] {
  return [...new Set([password, encodeURIComponent(password), password.replaceAll('$', '$$$$')])]
}
