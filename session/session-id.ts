/**
 * A session's id: a UUID version 7 (RFC 9562, section 5.7), whose first 48 bits are the time the session opened.
 *
 * Ids sort by time, and the id alone gives the folder of the session's objects.
 */
import { randomBytes } from 'node:crypto'
import { BadDocument, text, type Check } from './shape.ts'

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
/** The end of the year 9999: later days would not sort as their names do. */
const latestMilliseconds = 253_402_300_799_999

export const sessionIdCheck: Check<string> = (value, where) => {
  if (!isSessionId(text(value, where))) throw new BadDocument(`${where} is not a session id`)
  return value as string
}

/** An id for a session that opened at `nowMilliseconds` since the epoch. Two of the same millisecond differ in 74 random bits. */
export function newSessionId(nowMilliseconds: number): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(Math.trunc(nowMilliseconds), 0, 6)
  bytes[6] = 0x70 | (bytes[6]! & 0x0f)
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

export function isSessionId(value: string): boolean {
  return pattern.test(value) && sessionTime(value) <= latestMilliseconds
}

/** Milliseconds since the epoch at which the session `id` opened. */
export function sessionTime(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)
}
