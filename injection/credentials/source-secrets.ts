/**
 * What of a source is a credential: keys of Secrets and ConfigMaps, and texts, told by the place that they have in the connection.
 *
 * Every Secret that a source refers to is one with a moved key. Of ConfigMaps only keys that stand for a password, or for something that may
 * have one inside, count: hosts and names of databases are commonly in them and are no secret.
 */
import type { V1EnvVar } from '@kubernetes/client-node'
import type { ListenerSource } from '../../crds/sidecar-config.ts'
import { viewConnection, type Hidden } from './connection-view.ts'
import { leavesOf, readEnvironment, type Expression, type Leaf } from './expression.ts'

export type Key = { readonly name: string; readonly key: string }

export type SourceSecrets = {
  readonly secrets: readonly (Key & { readonly isCredential: boolean })[]
  readonly configMapKeys: readonly Key[]
  /** Annotations and labels of the pod, as `fieldRef` names them. */
  readonly fieldPaths: readonly string[]
  /** Passwords, or parts of one, that stand in the pod as text. */
  readonly passwords: readonly string[]
  /** Texts of the same connection that everybody may see. */
  readonly names: readonly string[]
}

/** Of a password that is partly hidden, shorter pieces say too little to be looked for. */
const partCharactersMin = 8

export function secretsOf(source: ListenerSource, env: readonly V1EnvVar[]): SourceSecrets {
  const environment = readEnvironment({ name: '', env: [...env] })
  const valueOf = (name: string | undefined): Expression =>
    name === undefined ? [] : (environment.entries[environment.indexOf(name)]?.expression ?? [])
  const all = environment.entries.flatMap(({ expression }) => leavesOf(expression))
  const { credentials, passwords, names } =
    source.kind === 'url'
      ? ofUrl(valueOf(source.variable))
      : ofPassword(
          valueOf(source.variables.password),
          Object.entries(source.variables).flatMap(([part, name]) => (part === 'password' ? [] : [valueOf(name)])),
        )
  const keysOf = (leaves: readonly Leaf[], kind: 'secretKeyRef' | 'configMapKeyRef'): Key[] =>
    leaves.flatMap(({ alternatives }) =>
      alternatives.flatMap((from) => {
        const reference = from[kind]
        return reference?.name === undefined ? [] : [{ name: reference.name, key: reference.key }]
      }),
    )
  const credentialKeys = keysOf(credentials, 'secretKeyRef')
  return {
    secrets: keysOf(all, 'secretKeyRef').map((one) => ({
      ...one,
      isCredential: credentialKeys.some(({ name, key }) => name === one.name && key === one.key),
    })),
    configMapKeys: keysOf(credentials, 'configMapKeyRef'),
    fieldPaths: credentials.flatMap(({ alternatives }) => alternatives.flatMap(({ fieldRef }) => metadataOf(fieldRef?.fieldPath))),
    passwords,
    names,
  }
}

/** The other fields of a pod that a variable can have are no secret. */
function metadataOf(fieldPath = ''): string[] {
  return /^metadata\.(?:annotations|labels)/.test(fieldPath) ? [fieldPath] : []
}

type Parts = { readonly credentials: readonly Leaf[]; readonly passwords: readonly string[]; readonly names: readonly string[] }

function ofUrl(expression: Expression): Parts {
  const view = viewConnection(expression)
  if (view.kind !== 'read') return { credentials: leavesOf(expression), passwords: [], names: [] }
  const { connection } = view
  const harmless = new Set<Hidden>(['port', 'dbname', 'sslmode'].flatMap((keyword) => connection.hiddenIn(keyword)))
  // Without a password in sight, what stands for the user or the host may have one inside.
  if (connection.keywords.includes('password'))
    for (const keyword of ['user', 'host', 'hostaddr']) for (const one of connection.hiddenIn(keyword)) harmless.add(one)
  // What is left in the agent's own form are parameters of its client.
  for (const one of connection.write({ port: 1, user: 'u', database: 'd' }).hidden) harmless.add(one)
  for (const one of connection.hiddenIn('password')) harmless.delete(one)
  const hidden = connection.hiddenIn('password')
  return {
    credentials: leavesOf(expression.filter((piece) => piece.kind === 'leaf' && !harmless.has(piece))),
    passwords: connection.textsIn('password').filter((text) => hidden.length === 0 || text.length >= partCharactersMin),
    names: ['user', 'dbname', 'host'].flatMap((keyword) => connection.textsIn(keyword)),
  }
}

function ofPassword(password: Expression, others: readonly Expression[]): Parts {
  const texts = (expression: Expression): string[] => expression.flatMap((piece) => (piece.kind === 'text' ? [piece.text] : []))
  const isWhole = password.every((piece) => piece.kind === 'text')
  return {
    credentials: leavesOf(password),
    passwords: texts(password).filter((text) => isWhole || text.length >= partCharactersMin),
    names: others.flatMap(texts),
  }
}
