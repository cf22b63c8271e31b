/**
 * What the webhook tells a sidecar at admission: the JSON of `STENO_SIDECAR_CONFIG`, its type and its check.
 *
 * Holds no secret: connection strings and passwords stay in variables of their own, which a listener names. Plain functions without a
 * schema library, because the sidecar loads this file at every pod start and has 96 MiB. Knows nothing of policies or pods.
 */
import { KnownError } from '../base/errors.ts'

export const sidecarConfigVersion = 1
/** A pod that speaks to more databases than this is refused at admission. */
export const listenersMax = 64
/** Linux takes no environment string longer than 128 KiB; the rest is for the name and for growth. */
export const sidecarConfigCharactersMax = 96 * 1024
/** A year. Kubernetes takes any number; no sidecar counts on more. */
export const terminationGraceSecondsMax = 365 * 24 * 60 * 60
/** The sidecar answers probes and the preStop hook here. */
export const sidecarHealthPort = 15_090

/** Names of variables that carry what was moved out of the agent's containers. */
export const sourceVariablePattern = /^STENO_SOURCE_[0-9]+_[A-Za-z0-9_.-]+$/
/** Names of variables that carry the certificate authority of a database, by its place in the policy. */
export const caVariablePattern = /^STENO_CA_[0-9]+$/

export type TlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full'
const tlsModes: readonly TlsMode[] = ['disable', 'require', 'verify-ca', 'verify-full']

/** The parts of a connection that may stand in variables of their own, by libpq's names. */
export type LibpqPart = 'host' | 'hostaddr' | 'port' | 'user' | 'password' | 'database' | 'sslmode'
/** Each part's keyword in a connection string (PostgreSQL, "Parameter Key Words"). */
export const libpqKeywordOf: Readonly<Record<LibpqPart, string>> = {
  host: 'host',
  hostaddr: 'hostaddr',
  port: 'port',
  user: 'user',
  password: 'password',
  database: 'dbname',
  sslmode: 'sslmode',
}
export const libpqParts = Object.keys(libpqKeywordOf) as readonly LibpqPart[]

export type SidecarConfig = {
  readonly version: typeof sidecarConfigVersion
  readonly control: {
    /** Where control is: an https URL without a path. */
    readonly url: string
    /** The RecordingStore's name. */
    readonly store: string
  }
  /** The only way to databases, as `host:port`; null where the policy leaves the pod's network alone, and they are reached directly. */
  readonly relay: { readonly endpoint: string } | null
  readonly enforcement: {
    readonly mode: 'Relay' | 'CredentialsOnly'
    /** What happens to the agent's way when a database can be reached past the sidecar. */
    readonly onOpenPath: 'Block' | 'Report'
  }
  readonly policy: {
    /** Where the policy comes from: `shop/orders`, `ClusterSessionPolicy/floor`. */
    readonly names: readonly string[]
    /** 32 hexadecimal digits over all that judges. */
    readonly hash: string
  }
  readonly recording: {
    readonly level: 'statements' | 'results' | 'stored'
    readonly onFailure: 'block' | 'continue'
    readonly spoolBytesMax: number
    readonly spoolAgeMillisecondsMax: number
  }
  /** The pod's `terminationGracePeriodSeconds`: what it has from the moment that it is told to end. A deletion may give it less, or more. */
  readonly terminationGraceSeconds: number
  /** One for each source of credentials; none when the pod names no database of its policies. */
  readonly listeners: readonly Listener[]
}

export type Listener = {
  /** The policy's name for the database. */
  readonly database: string
  /** Listened on at 127.0.0.1 and, where there is IPv6, at ::1. */
  readonly localPort: number
  /** The real URL must lead to one of these; `*.example.com` means any name below. */
  readonly allowed: { readonly hosts: readonly string[]; readonly port: number; readonly databaseNames: readonly string[] }
  /** The mode is a floor: the real URL may be stricter, never weaker. */
  readonly tls: {
    readonly mode: TlsMode
    /** The variable with the PEM of the authority that the database's certificate must come from; null for the system's. */
    readonly caVariable: string | null
  }
  readonly source: ListenerSource
}

/** Where the real connection stands: names of the sidecar's own variables. */
export type ListenerSource =
  | { readonly kind: 'url'; readonly variable: string }
  | { readonly kind: 'libpq'; readonly variables: { readonly [part in LibpqPart]?: string } }

/** A sidecar was started with something that no webhook of this release writes. */
export class SidecarConfigInvalid extends KnownError {
  readonly code = 'SIDECAR_CONFIG_INVALID'
  readonly remedy =
    "The webhook writes this variable. Create the pod again; when that does not help, the sidecar's image and the webhook are of releases that do not fit."
  readonly safeToRetry = true
  constructor(path: string, problem: string) {
    super(`${path === '' ? 'STENO_SIDECAR_CONFIG' : `STENO_SIDECAR_CONFIG: ${path}`} ${problem}`)
  }
}

/**
 * The text for the variable; equal configurations give equal text, in whatever order their fields were set. Throws SidecarConfigInvalid for one
 * that no sidecar would read. A dollar sign is written as a JSON escape: the kubelet expands `$(NAME)` in values, and a database may be
 * called so (Kubernetes, EnvVar.value).
 */
export function writeSidecarConfig(config: SidecarConfig): string {
  return JSON.stringify(checkSidecarConfig(config)).replaceAll('$', String.raw`\u0024`)
}

/** Reads the variable's text. Throws SidecarConfigInvalid, which names the path of the first fault and never a value. */
export function parseSidecarConfig(json: string): SidecarConfig {
  if (json.length > sidecarConfigCharactersMax)
    throw new SidecarConfigInvalid('', `is longer than ${sidecarConfigCharactersMax} characters`)
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    // What JSON.parse says quotes the text.
    throw new SidecarConfigInvalid('', 'is no JSON')
  }
  return checkSidecarConfig(value)
}

/** Checks every field; fields it does not know are refused, for they might have been meant to restrict. */
export function checkSidecarConfig(value: unknown): SidecarConfig {
  const top = object('', value, [
    'version',
    'control',
    'relay',
    'enforcement',
    'policy',
    'recording',
    'terminationGraceSeconds',
    'listeners',
  ])
  if (top['version'] !== sidecarConfigVersion) throw new SidecarConfigInvalid('version', `is not ${sidecarConfigVersion}`)
  const control = object('control', top['control'], ['url', 'store'])
  const relay = top['relay'] === null ? null : object('relay', top['relay'], ['endpoint'])
  const enforcement = object('enforcement', top['enforcement'], ['mode', 'onOpenPath'])
  const policy = object('policy', top['policy'], ['names', 'hash'])
  const recording = object('recording', top['recording'], ['level', 'onFailure', 'spoolBytesMax', 'spoolAgeMillisecondsMax'])
  const listeners = array('listeners', top['listeners'], { itemsMax: listenersMax }).map((listener, index) =>
    checkListener(`listeners[${index}]`, listener),
  )
  const ports = listeners.map((listener) => listener.localPort)
  const twice = ports.findIndex((port, index) => ports.indexOf(port) !== index)
  if (twice !== -1) throw new SidecarConfigInvalid(`listeners[${twice}].localPort`, 'is the port of another listener')
  return {
    version: sidecarConfigVersion,
    control: { url: httpsUrl('control.url', control['url']), store: text('control.store', control['store']) },
    relay: relay === null ? null : { endpoint: hostAndPort('relay.endpoint', relay['endpoint']) },
    enforcement: {
      mode: oneOf('enforcement.mode', enforcement['mode'], ['Relay', 'CredentialsOnly'] as const),
      onOpenPath: oneOf('enforcement.onOpenPath', enforcement['onOpenPath'], ['Block', 'Report'] as const),
    },
    policy: { names: texts('policy.names', policy['names'], { itemsMax: 1_024 }), hash: hash('policy.hash', policy['hash']) },
    recording: {
      level: oneOf('recording.level', recording['level'], ['statements', 'results', 'stored'] as const),
      onFailure: oneOf('recording.onFailure', recording['onFailure'], ['block', 'continue'] as const),
      spoolBytesMax: integer('recording.spoolBytesMax', recording['spoolBytesMax'], 1, Number.MAX_SAFE_INTEGER),
      spoolAgeMillisecondsMax: integer(
        'recording.spoolAgeMillisecondsMax',
        recording['spoolAgeMillisecondsMax'],
        1,
        Number.MAX_SAFE_INTEGER,
      ),
    },
    terminationGraceSeconds: integer('terminationGraceSeconds', top['terminationGraceSeconds'], 1, terminationGraceSecondsMax),
    listeners,
  }
}

function checkListener(path: string, value: unknown): Listener {
  const listener = object(path, value, ['database', 'localPort', 'allowed', 'tls', 'source'])
  const allowed = object(`${path}.allowed`, listener['allowed'], ['hosts', 'port', 'databaseNames'])
  const tls = object(`${path}.tls`, listener['tls'], ['mode', 'caVariable'])
  const localPort = integer(`${path}.localPort`, listener['localPort'], 1_024, 65_535)
  if (localPort === sidecarHealthPort) throw new SidecarConfigInvalid(`${path}.localPort`, 'is the port of probes')
  return {
    database: text(`${path}.database`, listener['database']),
    localPort,
    allowed: {
      hosts: texts(`${path}.allowed.hosts`, allowed['hosts'], { itemsMin: 1, itemsMax: 1_024 }),
      port: integer(`${path}.allowed.port`, allowed['port'], 1, 65_535),
      databaseNames: texts(`${path}.allowed.databaseNames`, allowed['databaseNames'], { itemsMin: 1, itemsMax: 1_024 }),
    },
    tls: {
      mode: oneOf(`${path}.tls.mode`, tls['mode'], tlsModes),
      caVariable: tls['caVariable'] === null ? null : matching(`${path}.tls.caVariable`, tls['caVariable'], caVariablePattern),
    },
    source: checkSource(`${path}.source`, listener['source']),
  }
}

function checkSource(path: string, value: unknown): ListenerSource {
  const kind = oneOf(`${path}.kind`, object(path, value, ['kind', 'variable', 'variables'])['kind'], ['url', 'libpq'] as const)
  switch (kind) {
    case 'url': {
      const source = object(path, value, ['kind', 'variable'])
      return { kind, variable: matching(`${path}.variable`, source['variable'], sourceVariablePattern) }
    }
    case 'libpq': {
      const source = object(path, value, ['kind', 'variables'])
      const variables = object(`${path}.variables`, source['variables'], libpqParts)
      const named = libpqParts.flatMap((part) =>
        variables[part] === undefined
          ? []
          : [[part, matching(`${path}.variables.${part}`, variables[part], sourceVariablePattern)] as const],
      )
      if (named.length === 0) throw new SidecarConfigInvalid(`${path}.variables`, 'names no variable')
      return { kind, variables: Object.fromEntries(named) }
    }
    default:
      return kind satisfies never
  }
}

function object(path: string, value: unknown, known: readonly string[]): { readonly [name: string]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SidecarConfigInvalid(path, 'is no object')
  const unknown = Object.keys(value).find((name) => !known.includes(name))
  if (unknown !== undefined)
    throw new SidecarConfigInvalid(path, `has a field that this release does not know; it knows ${known.join(', ')}`)
  return value as { readonly [name: string]: unknown }
}

function array(path: string, value: unknown, { itemsMin = 0, itemsMax }: { itemsMin?: number; itemsMax: number }): readonly unknown[] {
  if (!Array.isArray(value)) throw new SidecarConfigInvalid(path, 'is no list')
  if (value.length < itemsMin) throw new SidecarConfigInvalid(path, 'is an empty list')
  if (value.length > itemsMax) throw new SidecarConfigInvalid(path, `has more than ${itemsMax} items`)
  return value
}

function text(path: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > 1_024)
    throw new SidecarConfigInvalid(path, 'is no text of 1 to 1,024 characters')
  return value
}

function texts(path: string, value: unknown, bounds: { itemsMin?: number; itemsMax: number }): readonly string[] {
  return array(path, value, bounds).map((item, index) => text(`${path}[${index}]`, item))
}

function integer(path: string, value: unknown, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
    throw new SidecarConfigInvalid(path, `is no whole number from ${min} to ${max}`)
  return value
}

function oneOf<const T extends string>(path: string, value: unknown, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value)
  if (choice === undefined) throw new SidecarConfigInvalid(path, `is none of ${choices.join(', ')}`)
  return choice
}

function matching(path: string, value: unknown, pattern: RegExp): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw new SidecarConfigInvalid(path, `does not match ${pattern.source}`)
  return value
}

function hostAndPort(path: string, value: unknown): string {
  return matching(path, value, /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[1-9][0-9]{0,4}$/)
}

function hash(path: string, value: unknown): string {
  return matching(path, value, /^[0-9a-f]{32}$/)
}

function httpsUrl(path: string, value: unknown): string {
  const url = text(path, value)
  const parsed = URL.canParse(url) ? new URL(url) : null
  if (parsed === null || parsed.protocol !== 'https:' || parsed.username !== '' || parsed.password !== '' || parsed.search !== '')
    throw new SidecarConfigInvalid(path, 'is no plain https URL')
  return url
}
