/** Strings and bytes: text and its kin, "char", bytea, xml, json, jsonb, jsonpath, uuid, bit strings. */
import type { Decoder } from './decoder.ts'
import { malformed } from './reader.ts'

export const plainText: Decoder = (reader, { decode }) => decode(reader.rest())

/** One byte; from 0x80 on in octal, as PostgreSQL 16 and later print it, and nothing for zero. */
export const charText: Decoder = (reader) => {
  const byte = reader.uint8()
  if (byte === 0) return ''
  return byte < 0x80 ? String.fromCharCode(byte) : `\\${byte.toString(8)}`
}

export const byteaText: Decoder = (reader, { settings }) => {
  const bytes = reader.rest()
  return settings.byteaOutput === 'escape' ? escapedBytes(bytes) : hexadecimal(bytes)
}

/** `\x` and two digits a byte: bytea's own form, and the way every value that is not understood is shown. */
export function hexadecimal(bytes: Buffer): string {
  return `\\x${bytes.toString('hex')}`
}

function escapedBytes(bytes: Buffer): string {
  let shown = ''
  for (const byte of bytes) {
    if (byte === 0x5c) shown += '\\\\'
    else if (byte < 0x20 || byte > 0x7e) shown += `\\${byte.toString(8).padStart(3, '0')}`
    else shown += String.fromCharCode(byte)
  }
  return shown
}

/** The binary form names the encoding it is sent in; the text form leaves that out, and with it a declaration that says nothing more. */
export const xmlText: Decoder = (reader, { decode }) => {
  const text = decode(reader.rest())
  const declaration = /^<\?xml version="([^"]*)"( encoding="[^"]*")?( standalone="[^"]*")?\?>/.exec(text)
  if (declaration === null || declaration[2] === undefined) return text
  const [whole, version, , standalone = ''] = declaration
  const kept = version === '1.0' && standalone === '' ? '' : `<?xml version="${version}"${standalone}?>`
  return kept + text.slice(whole.length)
}

/** jsonb and jsonpath put a version before their text. */
export const versionedText: Decoder = (reader, { decode }) => {
  if (reader.uint8() !== 1) malformed('the value has an unknown version')
  return decode(reader.rest())
}

export const uuidText: Decoder = (reader) => {
  const digits = reader.bytes(16).toString('hex')
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join('-')
}

export const bitsText: Decoder = (reader) => {
  const count = reader.int32()
  const bytes = reader.rest()
  if (count < 0 || bytes.length !== Math.ceil(count / 8)) malformed('a bit string has the wrong length')
  let shown = ''
  for (const byte of bytes) shown += byte.toString(2).padStart(8, '0')
  return shown.slice(0, count)
}

export const voidText: Decoder = () => ''
