/**
 * The live view: one line on standard output for each statement that ended and each session that opened or closed.
 *
 * Lines are made as `postgres/statement-event.ts` says and handed on by `live-output.ts`, which never blocks. A reader that is too slow
 * may slow sealing for a while; one that does not read loses lines, and is told how many.
 */
import { eventsAsJson, eventsAsText, type EventFormat } from '../../postgres/statement-event.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { LiveViewSettings } from '../settings.ts'
import { createLiveOutput, type LiveNotice } from './live-output.ts'
import type { StatementObserver } from './observer.ts'

/** What may wait for a reader: a second and more of a busy proxy. */
const heldBytesMax = 2 * 1024 * 1024

export type LiveView = ReturnType<typeof createLiveView>

export function createLiveView({
  settings: { format, sqlCharacters },
  write,
  onNotice,
}: {
  readonly settings: LiveViewSettings
  readonly write: (bytes: Buffer) => number
  readonly onNotice: (notice: LiveNotice) => void
}) {
  const events: EventFormat = format === 'pretty' ? eventsAsText : eventsAsJson
  const output = createLiveOutput({ write, heldBytesMax, onNotice, droppedLine: (lines) => events.dropped(lines, Date.now()) })
  /** What the lines of a session share; goes when the session's identity does. */
  const sharedBySession = new WeakMap<SessionIdentity, string>()
  let recovered = false

  function sharedOf(identity: SessionIdentity): string {
    const known = sharedBySession.get(identity)
    if (known !== undefined) return known
    const { session, user, database, asserted } = identity
    const shared = events.session({ session, user, database, application: asserted['application_name'] ?? '' })
    sharedBySession.set(identity, shared)
    return shared
  }

  const observer: StatementObserver = {
    statement(identity, statement) {
      output.line(events.statement(sharedOf(identity), statement, { sqlCharacters, recovered }))
    },
    session(identity, what) {
      const { client, opened } = identity
      if (what.kind === 'opened') {
        const address = `${client.address}:${client.port}`
        output.line(events.sessionEvent(sharedOf(identity), { event: 'session-opened', time: opened, client: address, recovered }))
      } else {
        const { closed, reason, recovered: isRecovered } = what.close
        const durationMilliseconds = Math.max(0, Math.round(closed - opened))
        output.line(
          events.sessionEvent(sharedOf(identity), {
            ...{ event: 'session-closed', time: closed, durationMilliseconds, reason, recovered: isRecovered },
          }),
        )
      }
    },
    end: () => output.end(),
  }
  return {
    observer,
    /** What is told from now on is of a killed process, which may have shown it already. */
    recovering(is: boolean): void {
      recovered = is
    },
    /** Whether lines wait that would be lost if the thread ended. */
    isHolding: (): boolean => output.isHolding,
    /** Waits a little for a reader that is slower than sealing. */
    room: () => output.room(),
  }
}
