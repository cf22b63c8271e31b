/**
 * A value as psql shows it, from the bytes that crossed the wire in either format.
 *
 * Text format: the bytes as they came, decoded. Binary format: by the type's decoder. A type that is not built in is shown as text
 * when its bytes are printable UTF-8 (enums and text-like extensions), as an array or record when the bytes are exactly one (the
 * arrays and composites that users define, whose OIDs only their database knows), else in hexadecimal as bytea is. Domains need
 * nothing: the server announces their base type. Bytes that are not what their type sends are shown in hexadecimal; nothing throws.
 */
import { arrayText, recordText, whole } from './containers.ts'
import type { Context } from './decoder.ts'
import { decodeText } from './encodings.ts'
import { malformed, MalformedValue } from './reader.ts'
import type { ValueSettings } from './settings.ts'
import { hexadecimal } from './strings.ts'
import { builtInType } from './types.ts'

export type ValueColumn = { readonly typeOid: number; readonly typeModifier: number; readonly format: 'text' | 'binary' }

/** Values within values, at most; PostgreSQL's own types nest no deeper than a record of arrays of records and so on by hand. */
const nestingMax = 64

/** `value` is the bytes behind a DataRow's or Bind's length; SQL NULL has none and is the caller's to show. */
export function textOf(value: Buffer, column: ValueColumn, settings: ValueSettings): string {
  if (column.format === 'text') return decodeText(value, settings.clientEncoding)
  try {
    return binaryText(column.typeOid, value, settings, 0)
  } catch (error) {
    if (error instanceof MalformedValue) return hexadecimal(value)
    throw error
  }
}

function binaryText(typeOid: number, value: Buffer, settings: ValueSettings, depth: number): string {
  if (depth > nestingMax) malformed('values nest too deeply')
  const context: Context = {
    settings,
    inner: (innerOid, bytes) => binaryText(innerOid, bytes, settings, depth + 1),
    decode: (bytes) => decodeText(bytes, settings.clientEncoding),
  }
  const type = builtInType(typeOid)
  return type === undefined ? unknownText(value, context) : whole(type.decoder, value, context)
}

function unknownText(value: Buffer, context: Context): string {
  if (isPrintable(value)) return value.toString('utf8')
  for (const decoder of [arrayText, recordText]) {
    try {
      // A record without fields is four zero bytes, too little to tell one by.
      if (value.length > 4) return whole(decoder, value, context)
    } catch (error) {
      if (!(error instanceof MalformedValue)) throw error
    }
  }
  return hexadecimal(value)
}

function isPrintable(value: Buffer): boolean {
  const text = value.toString('utf8')
  return Buffer.from(text).equals(value) && !/[^\P{Cc}\t\n\r]|\p{Cn}|\p{Co}/u.test(text)
}
