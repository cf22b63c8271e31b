/**
 * Whether agents are let through at all: closed while at least one reason holds, each under a name of its own.
 *
 * Closing ends every session at once with the reason's own words and cuts off those whose agent does not take them. Connections that are
 * still in their start-up are refused when it is over: `connection.ts` asks before it opens a session.
 */
import type { Log } from '../base/log.ts'
import type { RecordedSession } from './recorded-session.ts'
import type { Refusal } from './session-refused.ts'

const cutMilliseconds = 2_000

export function createWay({ sessions, log }: { readonly sessions: ReadonlyMap<number, RecordedSession>; readonly log: Log }) {
  const refusals = new Map<string, Refusal>()

  function endSessions(refusal: Refusal): void {
    const ended = [...sessions]
    for (const [, session] of ended) session.end('way-closed', { ...refusal, message: `steno: ${refusal.message}` })
    const cutOff = (): void => {
      for (const [number, session] of ended) if (sessions.get(number) === session) session.cut()
    }
    if (ended.length > 0) setTimeout(cutOff, cutMilliseconds).unref()
  }

  return {
    set(reasonName: string, refusal: Refusal | null): void {
      const before = refusals.get(reasonName)
      if (refusal === null) {
        if (!refusals.delete(reasonName)) return
        const reasons = [...refusals.keys()]
        log.info(
          { reason: reasonName },
          reasons.length === 0 ? 'the way is open to agents' : `the way stays closed to agents: ${reasons.join(', ')}`,
        )
        return
      }
      refusals.set(reasonName, refusal)
      if (before === undefined)
        log.error({ reason: reasonName, sessions: sessions.size }, `the way is closed to agents: ${refusal.message}`)
      endSessions(refusal)
    },
    /** The oldest reason's. */
    refusal(): Refusal | null {
      const [first] = refusals.values()
      return first ?? null
    },
    /** For `/readyz`. */
    reasons(): string[] {
      return [...refusals.values()].map(({ message }) => `the way is closed to agents: ${message}`)
    },
  }
}
