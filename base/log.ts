/**
 * The log: one JSON line an event on standard error. Never SQL, parameters, rows or credentials.
 *
 * Standard output belongs to what a command is asked for.
 */
import { pino, type Logger } from 'pino'

export type Log = Logger

/** Lines that cannot be written wait for the next one; beyond this they are dropped. */
const waitingCharactersMax = 64 * 1024

export function createLog({ level }: { readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent' }): Log {
  // A synchronous destination: the last line before a crash is the one that matters.
  const destination = pino.destination({ dest: 2, sync: true, maxLength: waitingCharactersMax })
  // A full disk is what the log has to tell of, and it may be the log's own: without a listener the process would end here.
  destination.on('error', () => undefined)
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    destination,
  )
}
