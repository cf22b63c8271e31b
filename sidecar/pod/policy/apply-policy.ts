/**
 * What a policy document means for a sidecar that runs: the listeners as it has them from now on, and what it cannot follow.
 *
 * Pure. A document can only choose among what the pod was made with: each listener's connection stays the one that moved here at admission, and
 * is held against the hosts, port, databases and TLS of the document. TLS never goes below what the pod was admitted with, and the spool
 * never above, since its volume was made for that. A value that only a later release knows counts as the strictest that is known, or stays what
 * it is where a running pod cannot change it anyway; either way the pod is not said to follow. What cannot change in a pod that runs is said, not done: the pod is stale until it is made anew.
 */
import type { Listener, SidecarConfig } from '../../../crds/sidecar-config.ts'
import type { PolicyDocument } from '../../../session/policy-document.ts'
import { SessionRefused, type Refusal } from '../../session-refused.ts'
import type { ListenerSettings, RecorderSettings, RecorderUpdate } from '../../settings.ts'
import { effectiveMode } from '../allowed.ts'
import type { PodEnvironment } from '../environment.ts'
import { podUpstream } from '../upstream.ts'

export type AppliedPolicy = {
  /** One to one with the configuration's. */
  readonly listeners: readonly Listener[]
  readonly enforcement: SidecarConfig['enforcement']
  readonly update: RecorderUpdate
  /** For each listener, why it opens no session; null where it does. */
  readonly refusals: readonly (Refusal | null)[]
  /** Why nobody may open a session at all; null while a policy is in force. */
  readonly withdrawn: Refusal | null
  /** In words: what of the document waits until the pod is made anew. */
  readonly stale: readonly string[]
}

/** `settings` are those of the pod's admission. */
export function applyPolicy({ config, values }: PodEnvironment, settings: RecorderSettings, document: PolicyDocument): AppliedPolicy {
  if (document.state === 'withdrawn') return withdrawnPolicy(config, settings, document)
  const held = config.listeners.map((listener, at) => holdListener(listener, settings.listeners[at]!, values, document))
  const { policy, recording } = document
  return {
    listeners: held.map(({ listener }) => listener),
    enforcement: { mode: config.enforcement.mode, onOpenPath: document.enforcement.onOpenPath },
    update: {
      listeners: held.map(({ settings: own }) => own),
      onRecordFailure: recording.onFailure,
      spoolLimits: {
        unshippedBytesMax: Math.min(recording.spoolBytesMax, config.recording.spoolBytesMax),
        unshippedMillisecondsMax: recording.spoolAgeMillisecondsMax,
      },
      surroundings: { policy: { name: policy.names.join(','), hash: policy.hash }, attested: settings.surroundings?.attested ?? {} },
      generation: document.generation,
    },
    refusals: held.map(({ refusal }) => refusal),
    withdrawn: null,
    stale: staleParts(config, document),
  }
}

/** A listener that opens no session for as long as `refusal` stands. */
export function refusing(listener: ListenerSettings, refusal: Refusal | null): ListenerSettings {
  if (refusal === null) return listener
  return { ...listener, admit: () => Promise.reject(new SessionRefused(refusal.code, refusal.message, refusal.hint)) }
}

type HeldListener = { readonly listener: Listener; readonly settings: ListenerSettings; readonly refusal: Refusal | null }

function holdListener(
  listener: Listener,
  settings: ListenerSettings,
  values: PodEnvironment['values'],
  { databases, policy }: PolicyDocument,
): HeldListener {
  const database = databases.find(({ name }) => name === listener.database)
  if (database === undefined) {
    const refusal = {
      code: '42501',
      message: `the database ${JSON.stringify(listener.database)} is in no policy of this pod any more`,
      hint: `Ask whoever keeps ${policy.names.join(', ')} to name it again, or use another database.`,
    }
    return { listener, settings, refusal }
  }
  const { hosts, port, databaseNames, tlsMode } = database
  const mode = effectiveMode(listener.tls.mode, tlsMode)
  const held: Listener = {
    ...listener,
    allowed: { hosts, port, databaseNames },
    tls: { ...listener.tls, mode: mode === 'allow' || mode === 'prefer' ? listener.tls.mode : mode },
  }
  const upstream = podUpstream(held, values)
  if (upstream.kind === 'fits')
    return { listener: held, settings: { ...settings, upstream: upstream.settings, databases: databaseNames }, refusal: null }
  const refusal = {
    code: '42501',
    message: `the policy of this pod has changed: ${upstream.problems.map(({ what }) => what).join('; ')}`,
    hint: [...new Set(upstream.problems.map(({ remedy }) => remedy))].join(' '),
  }
  return { listener: held, settings, refusal }
}

function withdrawnPolicy(config: SidecarConfig, settings: RecorderSettings, { reason, generation }: PolicyDocument): AppliedPolicy {
  const withdrawn = {
    code: '57P01',
    message: `the policy of this pod was withdrawn${reason === '' ? '' : `: ${reason}`}`,
    hint: 'Ask whoever keeps the SessionPolicies of the namespace; sessions are opened again as soon as one is in force for this pod.',
  }
  return {
    listeners: config.listeners,
    enforcement: config.enforcement,
    update: { ...settings, surroundings: settings.surroundings ?? { policy: null, attested: {} }, generation },
    refusals: config.listeners.map(() => withdrawn),
    withdrawn,
    stale: [],
  }
}

function staleParts({ listeners, recording, enforcement }: SidecarConfig, document: PolicyDocument): string[] {
  const stale: string[] = []
  const differs = (what: string, has: string | number, wanted: string | number): void => {
    if (has !== wanted) stale.push(`${what} stays ${has} and should be ${wanted}`)
  }
  const unknown = document.unknown ?? []
  const isKnown = (what: string): boolean => !unknown.some(({ field }) => field === what)
  const fixed: Readonly<Record<string, string>> = { 'recording.level': recording.level, 'enforcement.mode': enforcement.mode }
  if (isKnown('recording.level')) differs('recording.level', recording.level, document.recording.level)
  if (isKnown('enforcement.mode')) differs('enforcement.mode', enforcement.mode, document.enforcement.mode)
  for (const { field, value, takenAs } of unknown) {
    const instead = fixed[field] === undefined ? `is taken as ${takenAs}, the strictest` : `stays ${fixed[field]}`
    stale.push(`${field} should be ${value}, which the release of this sidecar does not know, and ${instead}`)
  }
  differs('recording.spoolBytesMax', Math.min(recording.spoolBytesMax, document.recording.spoolBytesMax), document.recording.spoolBytesMax)
  for (const { name, tlsMode } of document.databases) {
    const listener = listeners.find(({ database }) => database === name)
    if (listener === undefined) stale.push(`database ${name} has no listener`)
    else if (effectiveMode(tlsMode, listener.tls.mode) !== tlsMode) differs(`tls.mode of ${name}`, listener.tls.mode, tlsMode)
  }
  return stale
}
