/**
 * When the sealing thread is started for a session that has opened: as soon as traffic lets it.
 *
 * Starting the thread takes 0.1 to 0.2 s of processor time, which the first statements of a busy agent would wait for; sealing itself would
 * wait then (`deferral.ts`), so its start does too, within the same bounds. Knows nothing of threads.
 */
import type { SpoolPosition } from '../spool/spool-position.ts'
import { createDeferral } from './deferral.ts'

const lookMilliseconds = 100
/**
 * Who has just connected is likely to say something: whether that is much shows only after so many looks. Counted in looks, since a clock that
 * is set must not make it longer.
 */
const settleLooks = 5
/** While others go on connecting, the thread is not kept waiting for them longer than this. */
const settleLooksMax = 20

export function createDeferredStart({
  position,
  openSessions,
  start,
}: {
  readonly position: Pick<SpoolPosition, 'writtenBytes' | 'releasedBytes'>
  readonly openSessions: () => number
  /** `since`: when the start was asked for, in milliseconds since the epoch. */
  readonly start: (since: number) => void
}) {
  let timer: NodeJS.Timeout | null = null
  let deferral = createDeferral()
  let beganAt = 0
  let looks = 0
  let looksSinceOpened = 0

  const isBusy = (): boolean => deferral.holds(position.writtenBytes, position.releasedBytes)

  function cancel(): void {
    if (timer !== null) clearInterval(timer)
    timer = null
  }

  function look(): void {
    looks++
    looksSinceOpened++
    const isSettled = looksSinceOpened >= settleLooks || looks >= settleLooksMax
    const isBusyNow = isBusy()
    if ((isBusyNow || !isSettled) && openSessions() > 0) return // A session that came and went has nothing more to say.
    cancel()
    start(beganAt)
  }

  return {
    /** Calls `start` when it is time; once for all sessions that open before that. */
    begin(): void {
      looksSinceOpened = 0
      if (timer !== null) return
      looks = 0
      beganAt = Date.now()
      deferral = createDeferral()
      isBusy() // What is in the spool already is not what is being said.
      timer = setInterval(look, lookMilliseconds).unref()
    },
    cancel,
    get isWaiting(): boolean {
      return timer !== null
    },
  }
}
