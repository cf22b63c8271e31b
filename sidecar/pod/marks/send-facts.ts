/**
 * Gives control what was measured of the way past the sidecar, how its recording does, and which policy it goes by: at each change, and every 15 s so
 * that silence means something.
 */
import type { Log } from '../../../base/log.ts'
import {
  podFactsBytes,
  podFactsMilliseconds,
  type PodFacts,
  type PolicyFacts,
  type RecordingFacts,
  type WayFacts,
} from '../../../session/pod-facts.ts'
import type { ControlPost } from './control-post.ts'
import { createSayer } from './say-to-control.ts'

/** How often a change that could not be told yet is looked at. */
const lookMilliseconds = 500

/** `current` is null while nothing was measured, and nothing is said then. Null for `recording` or `policy`: nobody knows. */
export function createFactSender({
  current,
  recording = () => null,
  policy = () => null,
  control,
  log,
  now = () => performance.now(),
}: {
  readonly current: () => WayFacts | null
  readonly recording?: () => RecordingFacts | null
  readonly policy?: () => PolicyFacts | null
  readonly control: Pick<ControlPost, 'post'>
  readonly log: Log
  readonly now?: () => number
}) {
  const sayer = createSayer({ what: 'what is known of way, recording and policy', log, pauseMilliseconds: 1_000, now })
  let toldState = ''
  let toldAt = -Infinity

  async function send(facts: PodFacts, state: string) {
    const answer = await control.post('/v1/facts', podFactsBytes(facts), { 'content-type': 'application/json' })
    if (answer.code !== null) return { code: answer.code, message: answer.message }
    toldState = state
    toldAt = now()
    return null
  }

  function tick(): Promise<void> {
    const egress = current()
    if (egress === null) return Promise.resolve()
    const [recorded, followed] = [recording(), policy()]
    const facts: PodFacts = {
      egress,
      ...(recorded === null ? {} : { recording: recorded }),
      ...(followed === null ? {} : { policy: followed }),
    }
    const state = stateOf(facts)
    if (state === toldState && now() - toldAt < podFactsMilliseconds) return Promise.resolve()
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

/** Without what changes each time: the time of the measurement, how much waits and since when. */
function stateOf({ egress: { state, reason, since, databases }, recording, policy }: PodFacts): string {
  return JSON.stringify([state, reason, since, databases, recording?.state ?? null, recording?.shown ?? null, policy ?? null])
}
