/**
 * Text of messages by the session's `client_encoding`.
 *
 * UTF8 is read as UTF-8; SQL_ASCII too where the bytes are valid UTF-8. Every other encoding is read as Latin-1, byte for
 * character: nothing is lost and ASCII is right, but letters beyond it show as their Latin-1 neighbours.
 */
import { isUtf8 } from 'node:buffer'

export type TextEncoding = 'utf8' | 'asciiSuperset' | 'latin1'

/** The way to read text under the server's name of an encoding, as ParameterStatus gives it. */
export function textEncodingOf(clientEncoding: string): TextEncoding {
  const name = clientEncoding.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')
  if (name === 'UTF8' || name === 'UNICODE') return 'utf8'
  return name === 'SQLASCII' ? 'asciiSuperset' : 'latin1'
}

/** `bytes` from `start` to `end` as text. */
export function decodeText(encoding: TextEncoding, bytes: Buffer, start: number, end: number): string {
  if (encoding === 'utf8') return bytes.toString('utf8', start, end)
  if (encoding === 'latin1') return bytes.toString('latin1', start, end)
  return isUtf8(bytes.subarray(start, end)) ? bytes.toString('utf8', start, end) : bytes.toString('latin1', start, end)
}

/** Where to cut a text that goes on behind `end`, so that no UTF-8 character is split; `end` itself where the text is not UTF-8. */
export function characterBoundary(encoding: TextEncoding, bytes: Buffer, start: number, end: number): number {
  if (encoding === 'latin1') return end
  for (let at = end - 1; at >= start && at >= end - 4; at--) {
    const byte = bytes[at]!
    if ((byte & 0xc0) === 0x80) continue // A continuation byte: the character began before it.
    const length = byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
    return at + length > end ? at : end
  }
  return end
}
