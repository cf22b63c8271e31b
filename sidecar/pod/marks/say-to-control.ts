/**
 * Says the newest state of something to control, again and again: one message under way at a time, nothing queued, failures counted.
 *
 * A message that is late is worth nothing, because the next one says more. After a failure the pauses grow, so that a control which starts is not
 * met by every sidecar twice a second; a failure costs one log line a minute at most.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { codeOf } from './control-post.ts'

const logMilliseconds = 60_000
const pauseMillisecondsMax = 5_000

export type SayCounts = { sent: number; failed: number }

/** Gives null for what was taken, or why not. */
export type Say = () => Promise<{ readonly code: string; readonly message: string } | null>

export function createSayer({
  what,
  log,
  pauseMilliseconds,
  now = () => performance.now(),
  random = Math.random,
}: {
  /** For log lines, as `high-water marks`. */
  readonly what: string
  readonly log: Log
  /** After the first failure; doubles to five seconds. */
  readonly pauseMilliseconds: number
  readonly now?: () => number
  readonly random?: () => number
}) {
  const counts: SayCounts = { sent: 0, failed: 0 }
  let underWay: Promise<void> | null = null
  let pause = pauseMilliseconds
  let pausedUntil = -Infinity
  let loggedAt = -Infinity

  function failed(error: { readonly code: string; readonly message: string }): void {
    counts.failed++
    pausedUntil = now() + pause * (0.5 + random() / 2)
    pause = Math.min(2 * pause, pauseMillisecondsMax)
    if (now() - loggedAt < logMilliseconds) return
    loggedAt = now()
    log.warn({ code: error.code, failed: counts.failed }, `control does not take ${what}: ${error.message}`)
  }

  async function run(say: Say): Promise<void> {
    try {
      const refused = await say()
      if (refused !== null) return failed(refused)
      counts.sent++
      pause = pauseMilliseconds
      pausedUntil = -Infinity
    } catch (error) {
      failed({ code: codeOf(error), message: messageOf(error) })
    }
  }

  return {
    counts: counts as Readonly<SayCounts>,
    get isBusy(): boolean {
      return underWay !== null || now() < pausedUntil
    },
    /** Does nothing while `isBusy`. Never throws. */
    say(say: Say): Promise<void> {
      if (underWay !== null || now() < pausedUntil) return Promise.resolve()
      underWay = run(say).finally(() => (underWay = null))
      return underWay
    },
  }
}
