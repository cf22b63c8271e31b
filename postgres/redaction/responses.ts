/**
 * Replaces remembered literals in ErrorResponse and NoticeResponse frames.
 *
 * Source: PostgreSQL documentation, "Error and Notice Message Fields": a field is a type byte and a null-terminated text. Severity, SQLSTATE,
 * positions and the server's own source place never repeat what a client sent and stay.
 */
import { headerBytes } from '../frame-header.ts'
import type { RememberedLiterals } from './remembered-literals.ts'

const keptFields = new Set(['S', 'V', 'C', 'P', 'p', 'F', 'L', 'R'].map((letter) => letter.charCodeAt(0)))

/** The very same Buffer when it repeats nothing, else a whole frame of its own; a malformed body keeps its length. */
export function redactResponse(frame: Buffer, remembered: RememberedLiterals): Buffer {
  const parts: Buffer[] = [frame.subarray(0, headerBytes)]
  let changed = false
  let at = headerBytes
  while (at < frame.length && frame[at] !== 0) {
    const end = frame.indexOf(0, at + 1)
    if (end < 0) return starRemembered(frame, remembered)
    const text = frame.toString('latin1', at + 1, end)
    const redacted = keptFields.has(frame[at]!) ? text : remembered.replaceIn(text)
    if (redacted === text) parts.push(frame.subarray(at, end + 1))
    else {
      changed = true
      parts.push(frame.subarray(at, at + 1), Buffer.from(`${redacted}\0`, 'latin1'))
    }
    at = end + 1
  }
  if (at !== frame.length - 1) return starRemembered(frame, remembered)
  if (!changed) return frame
  parts.push(frame.subarray(at))
  const whole = Buffer.concat(parts)
  whole.writeUInt32BE(whole.length - 1, 1)
  return whole
}

/** A frame that contradicts itself, with stars for what is remembered: it keeps its length. */
export function starRemembered(frame: Buffer, remembered: RememberedLiterals): Buffer {
  const body = frame.toString('latin1', headerBytes)
  const stars = remembered.starIn(body)
  return stars === body ? frame : Buffer.concat([frame.subarray(0, headerBytes), Buffer.from(stars, 'latin1')])
}
