/**
 * Gives control what was measured of the way past the sidecar: at each change, and every 15 s so that silence means something.
 */
import type { Log } from '../../../base/log.ts'
import type { ControlPost } from './control-post.ts'
import { createSayer } from './say-to-control.ts'

export const factsMilliseconds = 15_000
/** How often a change that could not be told yet is looked at. */
const lookMilliseconds = 500

/** As sidecar/closed-way measures it; see webhook/control/facts for what becomes of it. */
export type WayFacts = {
  readonly state: 'Closed' | 'Open' | 'Unknown'
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly measured: number
  readonly databases: readonly {
    readonly name: string
    readonly state: 'Closed' | 'Open' | 'Unknown'
    readonly addresses: readonly string[]
  }[]
}

/** `current` is null while nothing was measured. */
export function createFactSender({
  current,
  control,
  log,
  now = () => performance.now(),
}: {
  readonly current: () => WayFacts | null
  readonly control: Pick<ControlPost, 'post'>
  readonly log: Log
  readonly now?: () => number
}) {
  const sayer = createSayer({ what: 'what was measured of the closed way', log, pauseMilliseconds: 1_000, now })
  let toldState = ''
  let toldAt = -Infinity

  async function send(facts: WayFacts, state: string) {
    const answer = await control.post('/v1/facts', Buffer.from(JSON.stringify({ egress: facts })), { 'content-type': 'application/json' })
    if (answer.code !== null) return { code: answer.code, message: answer.message }
    toldState = state
    toldAt = now()
    return null
  }

  function tick(): Promise<void> {
    const facts = current()
    if (facts === null) return Promise.resolve()
    const state = stateOf(facts)
    if (state === toldState && now() - toldAt < factsMilliseconds) return Promise.resolve()
    return sayer.say(() => send(facts, state))
  }

  let timer: NodeJS.Timeout | null = null
  return {
    counts: sayer.counts,
    /** Also to be called at a change, which then goes out at once. */
    tick,
    start(): void {
      timer = setInterval(() => void tick(), lookMilliseconds).unref()
      void tick()
    },
    stop(): void {
      if (timer !== null) clearInterval(timer)
    },
  }
}

/** Without the time of the measurement, which changes each time. */
function stateOf({ state, reason, since, databases }: WayFacts): string {
  return JSON.stringify([state, reason, since, databases])
}
