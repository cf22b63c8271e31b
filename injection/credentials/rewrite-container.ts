/**
 * A container with its connections led to the sidecar: values replaced in place, what was part of them gone, closed Secrets out of `envFrom`.
 *
 * Variables that `env` did not have come first, because `env` wins over `envFrom` and because others may name them. Never changes its argument.
 */
import type { V1Container, V1EnvVar } from '@kubernetes/client-node'
import { wayVariables } from '../../postgres/connection-forms/pg-variables.ts'
import type { ClosedKeys } from './closed-keys.ts'
import { leavesOf, type Environment } from './expression.ts'
import type { Report } from './rules.ts'

export type Plan = {
  readonly container: V1Container
  readonly where: string
  readonly environment: Environment
  /** The connection variables, as `env` writes their values. */
  readonly variables: ReadonlyMap<string, string>
  /** Places in `env` of what connections are made of. */
  readonly roots: readonly number[]
}

export type Rewritten = {
  readonly container: V1Container
  /** Names of variables that were part of a connection and are gone. */
  readonly removed: ReadonlySet<string>
}

export function rewriteContainer({ container, where, environment, variables, roots }: Plan, closed: ClosedKeys, report: Report): Rewritten {
  const parts = new Set([...partsOf(environment, roots)].filter((index) => carriesCredential(environment, index, closed)))
  const away = new Set(variables.size === 0 ? [] : awayFrom(container, variables, where, report))
  const removed = new Set<string>()
  const done = new Set<string>()
  const env: V1EnvVar[] = []
  for (const [index, variable] of (container.env ?? []).entries()) {
    const { name } = variable
    const value = variables.get(name)
    if (value !== undefined) {
      if (!done.has(name)) env.push({ name, value })
      done.add(name)
    } else if (parts.has(index) || away.has(name)) {
      removed.add(name)
      if (parts.has(index)) report.warn(`${where}.env[${name}] is part of a database connection, and moved with it`)
    } else env.push(variable)
  }
  const added = [...variables].filter(([name]) => !done.has(name)).map(([name, value]) => ({ name, value }))
  const names = new Set(env.map(({ name }) => name))
  const kept = keptKeys(container, closed).filter(({ name }) => !variables.has(name) && !names.has(name))
  const envFrom = (container.envFrom ?? []).filter(({ secretRef }) => !closed.isClosedSecret(secretRef?.name))
  for (const { secretRef } of container.envFrom ?? [])
    if (closed.isClosedSecret(secretRef?.name))
      report.warn(
        `${where}.envFrom gives Secret ${secretRef?.name} to the container no more, for it may hold a database credential; other keys of it are given when secrets.allowKeys of the policy names them`,
      )
  const changed = structuredClone(container)
  const whole = [...kept, ...added, ...env]
  if (whole.length > 0 || container.env !== undefined) changed.env = whole
  if (envFrom.length !== (container.envFrom ?? []).length) {
    if (envFrom.length > 0) changed.envFrom = envFrom
    else delete changed.envFrom
  }
  return { container: changed, removed }
}

/** The entries that `roots` name, directly or through others, `roots` included. */
function partsOf(environment: Environment, roots: readonly number[]): Set<number> {
  const parts = new Set<number>()
  const open = [...roots]
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (parts.has(index)) continue
    parts.add(index)
    open.push(...environment.entries[index]!.uses)
  }
  return parts
}

function carriesCredential(environment: Environment, index: number, closed: ClosedKeys): boolean {
  const { expression, variable } = environment.entries[index]!
  if (leavesOf(expression).some((leaf) => closed.isClosedLeaf(leaf))) return true
  return expression.some(
    (piece) => piece.kind === 'text' && (closed.holdsPassword(piece.text, variable.name) || closed.isPieceOfPassword(piece.text)),
  )
}

const credentialFiles: ReadonlySet<string> = new Set(['PGPASSFILE', 'PGSERVICE', 'PGSERVICEFILE', 'PGSSLCERT', 'PGSSLKEY'])
/** A password that no policy names is refused, and a connection says its TLS mode itself. */
const ofTheDatabase: ReadonlySet<string> = new Set(
  [...wayVariables, ...credentialFiles, 'PGREQUIREPEER'].filter((name) => !['PGPASSWORD', 'PGSSLMODE'].includes(name)),
)

/** Variables of libpq that only fit the real database, and that a client would still heed beside a connection to the sidecar. */
function awayFrom(container: V1Container, variables: ReadonlyMap<string, string>, where: string, report: Report): string[] {
  const names = (container.env ?? [])
    .filter(({ value, valueFrom }) => value || valueFrom)
    .map(({ name }) => name)
    .filter((name) => ofTheDatabase.has(name) && !variables.has(name))
  for (const name of names) {
    if (credentialFiles.has(name))
      report.refuse(
        'CredentialInFile',
        `${where}.env[${name}]`,
        'it names a file by which the container signs in, which the sidecar does not have',
      )
    else report.warn(`${where}.env[${name}] is removed: it fits the database, not the sidecar, which heeds the policy instead`)
  }
  return names
}

/** What the policy lets a container keep of the Secrets that `envFrom` gave it. The last source counts, as the kubelet has it. */
function keptKeys({ envFrom }: V1Container, closed: ClosedKeys): V1EnvVar[] {
  const kept = new Map<string, V1EnvVar>()
  for (const { secretRef, prefix } of envFrom ?? []) {
    const secret = secretRef?.name
    if (secret === undefined || !closed.isClosedSecret(secret)) continue
    for (const key of closed.allowedKeys(secret)) {
      const name = `${prefix ?? ''}${key}`
      // The kubelet leaves out keys that make no name of a variable.
      if (!/^[-._A-Za-z][-._A-Za-z0-9]*$/.test(name)) continue
      kept.set(name, { name, valueFrom: { secretKeyRef: { name: secret, key, optional: true } } })
    }
  }
  return [...kept.values()]
}
