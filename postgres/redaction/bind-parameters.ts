/**
 * Replaces the parameter values of Bind messages, whole or in pieces, in frames that stay well-formed.
 *
 * Source: PostgreSQL documentation, "Message Formats", Bind. NULLs stay NULL and the number of parameters stays; every format code becomes text.
 */
import { headerBytes } from '../frame-header.ts'
import { replacement } from './remembered-literals.ts'

/** Portal and statement of a Bind frame as latin1, and where its format codes start; undefined when it is cut short. */
export function bindNames(frame: Buffer): { portal: string; statement: string; end: number } | undefined {
  const portalEnd = frame.indexOf(0, headerBytes)
  const statementEnd = portalEnd < 0 ? -1 : frame.indexOf(0, portalEnd + 1)
  if (statementEnd < 0) return undefined
  return {
    portal: frame.toString('latin1', headerBytes, portalEnd),
    statement: frame.toString('latin1', portalEnd + 1, statementEnd),
    end: statementEnd + 1,
  }
}

/** The frame with every value replaced, or undefined when it is malformed. `seen` is told each value. */
export function redactBind(frame: Buffer, formatsAt: number, seen: (value: Buffer) => void): Buffer | undefined {
  const { length } = frame
  if (formatsAt + 2 > length) return undefined
  const countAt = formatsAt + 2 + 2 * frame.readUInt16BE(formatsAt)
  if (countAt + 2 > length) return undefined
  const count = frame.readUInt16BE(countAt)
  const values: Buffer[] = []
  let at = countAt + 2
  for (let parameter = 0; parameter < count; parameter++) {
    if (at + 4 > length) return undefined
    const bytes = frame.readInt32BE(at)
    at += 4
    if (bytes < 0) {
      values.push(nullValue)
      continue
    }
    if (at + bytes > length) return undefined
    seen(frame.subarray(at, at + bytes))
    values.push(redactedValue)
    at += bytes
  }
  if (at + 2 > length || at + 2 + 2 * frame.readUInt16BE(at) !== length) return undefined
  const redacted = Buffer.concat([
    frame.subarray(0, formatsAt),
    allText,
    frame.subarray(countAt, countAt + 2),
    ...values,
    frame.subarray(at),
  ])
  redacted.writeUInt32BE(redacted.length - 1, 1)
  return redacted
}

const allText = Buffer.from([0, 0])
const nullValue = Buffer.from([0xff, 0xff, 0xff, 0xff])
const redactedValue = Buffer.concat([Buffer.from([0, 0, 0, replacement.length]), Buffer.from(replacement)])

/**
 * Fills the values of a Bind message that passes in pieces, from behind its names on; lengths stay.
 * A message that contradicts itself is filled from there to its end by whoever reads the lengths: here nothing is trusted but the order.
 */
export function createBindFiller() {
  let part: 'format count' | 'formats' | 'count' | 'length' | 'value' | 'rest' = 'format count'
  let wantedBytes = 2
  let number = 0
  let values = 0
  const advance = (): void => {
    switch (part) {
      case 'format count':
        part = 'formats'
        wantedBytes = 2 * number
        break
      case 'formats':
        part = 'count'
        wantedBytes = 2
        break
      case 'count':
        values = number
        part = values > 0 ? 'length' : 'rest'
        wantedBytes = values > 0 ? 4 : Number.POSITIVE_INFINITY
        break
      case 'length': {
        const bytes = number | 0
        part = 'value'
        wantedBytes = Math.max(0, bytes)
        break
      }
      case 'value':
        values--
        part = values > 0 ? 'length' : 'rest'
        wantedBytes = values > 0 ? 4 : Number.POSITIVE_INFINITY
        break
      case 'rest':
        wantedBytes = Number.POSITIVE_INFINITY
        break
    }
    number = 0
  }
  return {
    /** Fills in place what of `bytes` from `start` on is values, and makes format codes text. */
    fill(bytes: Buffer, start: number): void {
      let at = start
      while (at < bytes.length) {
        if (wantedBytes === 0) {
          advance()
          continue
        }
        const end = Math.min(bytes.length, at + wantedBytes)
        if (part === 'value') bytes.fill(0x2a, at, end)
        else if (part === 'formats') bytes.fill(0, at, end)
        else if (part !== 'rest') for (let index = at; index < end; index++) number = (number << 8) | bytes[index]!
        wantedBytes -= end - at
        at = end
      }
    },
  }
}
