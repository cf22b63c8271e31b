/**
 * Gives control a signed high-water mark at most each 500 ms while something was recorded since the last one, and one when all of it is stored.
 *
 * What it says is what the kernel has in the spool at that moment. A mark that control did not take is made anew at the next turn, from the state
 * then: nothing is queued. Signing takes some 60 us, twice a second.
 */
import type { Log } from '../../../base/log.ts'
import type { HighWater } from '../../recorder.ts'
import type { ControlPost } from './control-post.ts'
import { createSayer } from './say-to-control.ts'

export const markMilliseconds = 500

export type MarkedRecorder = { readonly highWater: HighWater | null; readonly waitingBytes: number }

export function createMarkSender({
  recorder,
  control,
  log,
  wallClock = Date.now,
  now = () => performance.now(),
}: {
  readonly recorder: MarkedRecorder
  readonly control: Pick<ControlPost, 'post'> & { readonly store: string }
  readonly log: Log
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
  readonly now?: () => number
}) {
  const sayer = createSayer({ what: 'high-water marks', log, pauseMilliseconds: markMilliseconds, now })
  /** What control was told last: how many writes there had been, and whether the store had everything. */
  let told = { appends: 0, isStored: true }
  let number = 0

  async function send(highWater: HighWater) {
    const telling = { appends: highWater.appends, isStored: recorder.waitingBytes === 0 }
    // From the clock, so that it rises over restarts of the process without being kept; two a second never overtake it.
    number = Math.max(number + 1, Math.trunc(wallClock()))
    const answer = await control.post('/v1/marks', highWater.seal(number, wallClock()), {
      'content-type': 'application/json',
      'steno-store': control.store,
    })
    if (answer.code === null) {
      told = telling
      return null
    }
    // The clock was set back since an earlier mark: go on above that one.
    if (answer.code === 'MARK_OLD' && answer.number !== null) number = Math.max(number, answer.number)
    return { code: answer.code, message: answer.message }
  }

  /** To be called each `markMilliseconds`. */
  function tick(): Promise<void> {
    const { highWater } = recorder
    if (highWater === null) return Promise.resolve()
    const isStored = recorder.waitingBytes === 0
    if (highWater.appends === told.appends && isStored === told.isStored) return Promise.resolve()
    return sayer.say(() => send(highWater))
  }

  let timer: NodeJS.Timeout | null = null
  return {
    counts: sayer.counts,
    tick,
    start(): void {
      timer = setInterval(() => void tick(), markMilliseconds).unref()
    },
    stop(): void {
      if (timer !== null) clearInterval(timer)
    },
  }
}
