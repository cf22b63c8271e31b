/**
 * The policy of a pod while it runs: begins with the highest document that was kept, or else with the snapshot of the admission, and follows
 * what control sends from then on.
 *
 * Each document is checked before anything else is done with it, kept, and then applied to the recorder that runs: connections that come from
 * then on go by it, sessions go on. One that is refused changes nothing and costs a line in the log. Where recordings do not go to control there is
 * no stream.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import type { PolicyFacts } from '../../../session/pod-facts.ts'
import { placeAfter, PolicyDocumentRefused, readPolicyDocument, type PolicyDocument } from '../../../session/policy-document.ts'
import type { Recorder } from '../../recorder.ts'
import type { RecorderSettings, RecorderUpdate } from '../../settings.ts'
import type { PodEnvironment } from '../environment.ts'
import type { PodWay } from '../way.ts'
import { applyPolicy, refusing, type AppliedPolicy } from './apply-policy.ts'
import { keepPolicy, loadKeptPolicy } from './kept-policy.ts'
import { startPolicyClient, type PolicyClientTiming } from './policy-client.ts'

/** The name of the reason for which a withdrawn policy closes the way. */
export const withdrawnReason = 'policy-withdrawn'
const tokenFileStandard = '/var/run/secrets/steno.dev/token'

export type PodPolicyOptions = {
  readonly pod: PodEnvironment
  /** Of the pod's admission. */
  readonly settings: RecorderSettings
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly log: Log
  readonly timing?: Partial<PolicyClientTiming>
}

export type PodPolicy = {
  /** What the recorder is to start with. */
  startSettings(way: Pick<PodWay, 'through'>): RecorderSettings
  /** What it goes by, for control to hear. */
  facts(): PolicyFacts
  /** Applies what comes from control to `recorder`. Returns what ends it. */
  follow(recorder: Pick<Recorder, 'update' | 'setWay'>, way: Pick<PodWay, 'through' | 'change'>): { stop(): void }
}

/** Never throws for what was kept: a document that cannot be read or believed is told in the log, and the snapshot counts. */
export async function openPodPolicy({ pod, settings, environment, log, timing }: PodPolicyOptions): Promise<PodPolicy> {
  const { spoolFolder, storeUrl } = settings
  const { podUid = '', podNamespace = '', podName = '' } = pod.attested
  const publicKeys = publicKeysIn(environment['STENO_CONTROL_PUBLIC_KEY'] ?? '')
  const check = (bytes: Buffer): PolicyDocument =>
    readPolicyDocument(bytes, { pod: { podUid, podNamespace, podName }, publicKeys, known: document })
  let document: PolicyDocument | null = null
  let applied: AppliedPolicy | null = null
  /** Of the last policy that was in force: what a withdrawn one leaves of the recorder's settings. */
  let inForce: Omit<RecorderUpdate, 'listeners'> | null = null
  let staleTold = ''

  function take(next: PolicyDocument): AppliedPolicy {
    document = next
    applied = applyPolicy(pod, settings, next)
    if (applied.withdrawn === null) inForce = applied.update
    const stale = applied.stale.join('; ')
    if (stale !== '' && stale !== staleTold)
      log.warn({ policy: next.policy, stale: applied.stale }, 'the policy changed in what a running pod cannot follow; make the pod anew')
    staleTold = stale
    return applied
  }

  function updateOf({ update, refusals }: AppliedPolicy, way: Pick<PodWay, 'through'>): RecorderUpdate {
    const listeners = way.through(update.listeners).map((listener, at) => refusing(listener, refusals[at] ?? null))
    return { ...update, ...inForce, generation: update.generation, listeners }
  }

  try {
    const kept = await loadKeptPolicy(spoolFolder)
    if (kept !== null) take(check(kept))
  } catch (error) {
    log.warn(
      { remedy: error instanceof PolicyDocumentRefused ? error.remedy : undefined },
      `the policy that was kept is not used: ${messageOf(error)}`,
    )
  }

  function apply(next: PolicyDocument, recorder: Pick<Recorder, 'update' | 'setWay'>, way: Pick<PodWay, 'through' | 'change'>): void {
    const wasWithdrawn = applied?.withdrawn ?? null
    const now = take(next)
    const update = updateOf(now, way)
    if (now.withdrawn !== null) recorder.setWay(withdrawnReason, now.withdrawn)
    recorder.update(update)
    if (now.withdrawn === null) {
      way.change({ listeners: now.listeners, enforcement: now.enforcement }, update.listeners)
      if (wasWithdrawn !== null) recorder.setWay(withdrawnReason, null)
    }
  }

  return {
    startSettings(way) {
      if (applied === null) return { ...settings, listeners: way.through(settings.listeners) }
      const { listeners, onRecordFailure, surroundings, spoolLimits } = updateOf(applied, way)
      return { ...settings, listeners, onRecordFailure, surroundings, spoolLimits: { ...settings.spoolLimits, ...spoolLimits } }
    },
    facts() {
      if (document === null || applied === null) return { state: 'in-force', hash: pod.config.policy.hash, waits: [] }
      return { state: document.state, hash: document.policy.hash, waits: applied.stale }
    },
    follow(recorder, way) {
      if (document !== null) apply(document, recorder, way)
      if (!storeUrl.startsWith('control+https:')) return { stop: () => undefined }
      const client = startPolicyClient({
        connection: {
          origin: new URL(new URL(storeUrl.slice('control+'.length)).origin),
          tokenFile: environment['STENO_CONTROL_TOKEN_FILE'] ?? tokenFileStandard,
          caPem: environment['STENO_CONTROL_CA'] ?? null,
        },
        known: () => document,
        async onDocument(bytes) {
          try {
            const next = check(bytes)
            if (document !== null && placeAfter(document, next) === 'same') return
            // Kept first: what this process has gone by must not be undone by its next start. A full disk is no reason to go on as before.
            await keepPolicy(spoolFolder, bytes).catch((error: unknown) =>
              log.warn(`the policy could not be kept beside the spool: ${messageOf(error)}`),
            )
            apply(next, recorder, way)
            const { policy, generation, positions, state, reason } = next
            log.info({ policy, generation, positions, state, reason }, 'the policy changed')
          } catch (error) {
            if (error instanceof PolicyDocumentRefused) log.warn({ code: error.code, remedy: error.remedy }, messageOf(error))
            else
              log.error({ stack: error instanceof Error ? error.stack : undefined }, `a policy could not be applied: ${messageOf(error)}`)
          }
        },
        log,
        ...(timing === undefined ? {} : { timing }),
      })
      return client
    },
  }
}

/** Each Ed25519 key in a text of PEM blocks; several while control's key is being replaced. */
function publicKeysIn(pem: string): KeyObject[] {
  const blocks = pem.match(/-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----/g) ?? []
  return blocks.flatMap((block) => {
    try {
      const key = createPublicKey(block)
      return key.asymmetricKeyType === 'ed25519' ? [key] : []
    } catch {
      return [] // The store says that its key cannot be read, and does not start.
    }
  })
}
