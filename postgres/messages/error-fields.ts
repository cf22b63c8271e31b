/**
 * The body of ErrorResponse and NoticeResponse as named fields.
 *
 * Never throws: of a malformed body it gives what could be read. Severity is the one that no locale translates, where sent.
 * Source: PostgreSQL documentation, "Error and Notice Message Fields".
 */
import { errorFieldOf } from '../error-field-letters.ts'
import type { ErrorFields } from '../statement.ts'
import { BodyReader } from './body-reader.ts'
import { characterBoundary, decodeText, type TextEncoding } from './text-encoding.ts'

/** Longer field values are cut: an error may quote a whole row. */
const fieldBytesMax = 16 * 1024

type MutableFields = { -readonly [Key in keyof ErrorFields]: ErrorFields[Key] }

export function decodeErrorFields(body: Buffer, encoding: TextEncoding = 'utf8'): ErrorFields {
  const fields: MutableFields = { severity: 'ERROR', code: 'XX000', message: '' }
  const reader = new BodyReader(body, 0, body.length)
  let localised: string | null = null
  let severity: string | null = null
  while (reader.left > 0) {
    const letter = reader.uint8()
    if (letter === 0) break
    const start = reader.at
    const end = reader.textEnd()
    const kept = end - start > fieldBytesMax ? characterBoundary(encoding, body, start, start + fieldBytesMax) : end
    const value = decodeText(encoding, body, start, kept)
    const letterText = String.fromCharCode(letter)
    if (letterText === 'S') localised = value
    else if (letterText === 'V') severity = value
    else {
      const field = Object.hasOwn(errorFieldOf, letterText) ? errorFieldOf[letterText] : undefined
      if (field !== undefined) fields[field] = value
    }
  }
  fields.severity = severity ?? localised ?? 'ERROR'
  return fields
}

/** True for the severities after which the server ends the session. */
export function endsSession(fields: ErrorFields): boolean {
  return fields.severity === 'FATAL' || fields.severity === 'PANIC'
}
