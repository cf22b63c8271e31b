/**
 * The log: one line an event on standard error, as JSON or for people. Never SQL, parameters, rows or credentials.
 *
 * Standard output belongs to what a command is asked for.
 */
import { pino, type DestinationStream, type Logger } from 'pino'
import { prettyLogLine } from './pretty-log.ts'

export type Log = Logger

/** Lines that cannot be written wait for the next one; beyond this they are dropped. */
const waitingCharactersMax = 64 * 1024

export function createLog({
  level,
  format = 'json',
}: {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent'
  readonly format?: 'json' | 'pretty'
}): Log {
  // A synchronous destination: the last line before a crash is the one that matters.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: waitingCharactersMax })
  // A full disk is what the log has to tell of, and it may be the log's own: without a listener the process would end here.
  destination.on('error', () => undefined)
  const stream: DestinationStream = format === 'json' ? destination : { write: (line) => void destination.write(prettyLogLine(line)) }
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, stream)
}
