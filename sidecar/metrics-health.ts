/**
 * What `/readyz` says: whether agents should be sent here, and each reason why not.
 *
 * `/healthz` has no reasons: a restart mends none of these, and ends the sessions that still work.
 */
import type { SpoolRefusal } from './spool/spool-writer.ts'

export type Health = {
  readonly isStopping: boolean
  /** Why the spool refuses what should be recorded; null while it takes it. `'waiting'` while it is still waited for. */
  readonly spoolRefusal: SpoolRefusal | 'waiting' | null
  /** For how long the store has refused what has to be stored; 0 while it takes it. */
  readonly storeFailingMilliseconds: number
}

/** The spool holds what a store does not take for a moment; an outage of this length is worth telling. */
export const storeFailingMillisecondsStandard = 60_000

/** Empty when ready. */
export function reasonsNotReady(
  health: Health,
  { storeFailingMillisecondsMax }: { readonly storeFailingMillisecondsMax: number },
): string[] {
  const { isStopping, spoolRefusal, storeFailingMilliseconds } = health
  const reasons: string[] = []
  if (isStopping) reasons.push('stopping')
  if (spoolRefusal !== null) reasons.push(`not recording: ${spoolRefusal === 'waiting' ? 'the spool refuses' : spoolRefusal.message}`)
  if (storeFailingMilliseconds > storeFailingMillisecondsMax)
    reasons.push(`not storing: the store has refused for ${Math.floor(storeFailingMilliseconds / 1000)} s; the spool keeps the recordings`)
  return reasons
}
