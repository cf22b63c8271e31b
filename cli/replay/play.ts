/**
 * Plays a recorded session back: in a terminal as a full-screen player, elsewhere as plain text.
 *
 * Decides only which of the two; `player.ts` and `plain.ts` do the work.
 */
import type { ReadStream } from 'node:tty'
import type { Writable } from 'node:stream'
import { findSession, readIdentity } from '../../session/read-session.ts'
import type { Store } from '../../session/stores/store.ts'
import { StatementNotFound } from '../show.ts'
import { runPlayer } from './player.ts'
import { printPlain } from './plain.ts'
import { openStatementList } from './statement-list.ts'
import type { TerminalInput, TerminalOutput } from './terminal.ts'

export type PlayOptions = {
  readonly store: Store
  /** A session's id, the beginning of one, or `last`. */
  readonly session: string
  /** Plain text even where a terminal is: for screen readers. */
  readonly plain: boolean
  /** How many times faster than it happened playback starts; from 0.1 to 1000. */
  readonly speed: number
  /** The number of the statement to begin with; the first when left out. */
  readonly from?: number
  readonly input: TerminalInput | ReadStream
  readonly output: (TerminalOutput & Writable) | Writable
  readonly environment: Readonly<Record<string, string | undefined>>
}

/**
 * Returns the exit code when all is printed, or when the person who watches has quit.
 * @throws SessionNotFound, SessionAmbiguous, StatementNotFound, RecordingDamaged, StoreUnavailable; the terminal is as it was before
 */
export async function play(options: PlayOptions): Promise<number> {
  const { store, plain, speed, from = 1, input, output, environment } = options
  const session = await findSession(store, options.session)
  const identity = await readIdentity(store, session)
  if (plain || environment['TERM'] === 'dumb' || !isTerminal(input) || !isTerminal(output)) {
    await printPlain({ store, identity, from, output })
    return 0
  }
  const statements = await openStatementList(store, session)
  if (from > 1 && !statements.has(from)) throw new StatementNotFound(`session ${session} has no statement ${from}`)
  return runPlayer({ store, identity, statements, from, speed, input, output, environment })
}

function isTerminal<Stream extends object>(stream: Stream): stream is Stream & TerminalInput & TerminalOutput {
  return 'isTTY' in stream && stream.isTTY === true
}
