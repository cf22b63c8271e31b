/**
 * The log: one JSON line an event on standard error. Never SQL, parameters, rows or credentials.
 *
 * Standard output belongs to what a command is asked for.
 */
import { pino, type Logger } from 'pino'

export type Log = Logger

export function createLog({ level }: { readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent' }): Log {
  // A synchronous destination: the last line before a crash is the one that matters.
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } }, pino.destination({ dest: 2, sync: true }))
}
