/**
 * The bodies of the frontend's messages that make statements: Query, Parse, Bind, Describe, Close, Execute, FunctionCall.
 *
 * Never throws: of a malformed body it gives what could be read, marked `malformed`; of a body whose head alone was held, what
 * lies in the head. Names and values are copied, nothing aliases the frame.
 * Source: PostgreSQL documentation, "Message Formats".
 */
import type { Parameter } from '../statement.ts'
import { BodyReader } from './body-reader.ts'
import { characterBoundary, decodeText, type TextEncoding } from './text-encoding.ts'

/** A part of a body: `bytes` from `start` to `end`, of which the frame had `wholeBytes` (body without header). */
export type Body = { readonly bytes: Buffer; readonly start: number; readonly end: number; readonly wholeBytes: number }

/** Names of statements and portals are cut here; PostgreSQL itself cuts identifiers at 63 bytes but not these names. */
export const nameBytesMax = 1024

export type SqlText = {
  readonly sql: string
  /** The text's length on the wire, without its terminator. */
  readonly sqlBytes: number
  readonly truncated: boolean
}

export type QueryMessage = SqlText & { readonly malformed: boolean }
export type ParseMessage = SqlText & { readonly name: string; readonly parameterTypes: number[]; readonly malformed: boolean }
export type TargetMessage = { readonly target: 'statement' | 'portal'; readonly name: string }
/** `typeOid` is 0 here: Bind does not say it. */
export type BoundParameter = { -readonly [Key in keyof Parameter]: Parameter[Key] }
export type BindMessage = {
  readonly portal: string
  readonly statement: string
  readonly parameters: BoundParameter[]
  /** Result formats as sent: none means text for all, one holds for all. */
  readonly resultFormats: readonly number[]
  readonly malformed: boolean
}
export type FunctionCallMessage = { readonly functionOid: number; readonly parameters: BoundParameter[]; readonly malformed: boolean }

export type ValueLimits = { readonly parameterBytesMax: number; readonly parametersMax: number }

/** At most `charactersMax` of the text between `start` and `end`, whose whole length is `sqlBytes`. */
function sqlText(encoding: TextEncoding, bytes: Buffer, start: number, end: number, sqlBytes: number, charactersMax: number): SqlText {
  // A character takes at most 4 bytes, so more need not be read.
  let readable = Math.min(end, start + charactersMax * 4)
  if (readable - start < sqlBytes) readable = characterBoundary(encoding, bytes, start, readable)
  let sql = decodeText(encoding, bytes, start, readable)
  const tooLong = sql.length > charactersMax
  // The copy frees the long text, of which a slice would keep all.
  if (tooLong) sql = Buffer.from(cutText(sql, charactersMax), 'utf16le').toString('utf16le')
  return { sql, sqlBytes, truncated: tooLong || readable - start < sqlBytes }
}

/** At most `charactersMax` UTF-16 units of `text`, never half of a surrogate pair. */
export function cutText(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text
  const last = text.charCodeAt(charactersMax - 1)
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? charactersMax - 1 : charactersMax)
}

function name(encoding: TextEncoding, reader: BodyReader): string {
  const start = reader.at
  const end = reader.textEnd()
  if (end === start) return ''
  return decodeText(encoding, reader.bytes, start, Math.min(end, start + nameBytesMax))
}

export function decodeQuery(encoding: TextEncoding, { bytes, start, end, wholeBytes }: Body, charactersMax: number): QueryMessage {
  const isWhole = end - start === wholeBytes
  const zero = bytes.indexOf(0, start)
  const textEnd = zero >= 0 && zero < end ? zero : end
  const terminated = textEnd < end
  const sqlBytes = terminated || isWhole ? textEnd - start : wholeBytes - 1
  return { ...sqlText(encoding, bytes, start, textEnd, sqlBytes, charactersMax), malformed: isWhole && textEnd !== end - 1 }
}

export function decodeParse(encoding: TextEncoding, { bytes, start, end, wholeBytes }: Body, charactersMax: number): ParseMessage {
  const reader = new BodyReader(bytes, start, end)
  const statement = name(encoding, reader)
  const sqlStart = reader.at
  const sqlEnd = reader.textEnd()
  const isWhole = end - start === wholeBytes
  const parameterTypes: number[] = []
  const count = reader.short ? 0 : reader.uint16()
  for (let index = 0; index < count && !reader.short; index++) {
    const oid = reader.uint32()
    if (!reader.short) parameterTypes.push(oid)
  }
  // In a body held in part, a text that runs to the end of the held part runs on to the types, which are at least 2 bytes.
  const sqlBytes = !isWhole && sqlEnd === end ? start + wholeBytes - sqlStart - 3 : sqlEnd - sqlStart
  const text = sqlText(encoding, bytes, sqlStart, sqlEnd, sqlBytes, charactersMax)
  return { ...text, name: statement, parameterTypes, malformed: isWhole && (reader.short || reader.left > 0) }
}

/** Describe and Close. Any other letter than `S` is taken as a portal; the server refuses it. */
export function decodeTarget(encoding: TextEncoding, { bytes, start, end }: Body): TargetMessage {
  const reader = new BodyReader(bytes, start, end)
  const target = reader.uint8() === 0x53 ? 'statement' : 'portal'
  return { target, name: name(encoding, reader) }
}

/** The portal's name; the row limit decides nothing that the answers do not say. */
export function decodeExecute(encoding: TextEncoding, { bytes, start, end }: Body): string {
  if (bytes[start] === 0 && end > start) return ''
  return name(encoding, new BodyReader(bytes, start, end))
}

export function decodeBind(encoding: TextEncoding, body: Body, limits: ValueLimits): BindMessage {
  const reader = new BodyReader(body.bytes, body.start, body.end)
  const portal = name(encoding, reader)
  const statement = name(encoding, reader)
  const parameters = values(encoding, reader, limits)
  const formatCount = reader.uint16()
  const resultFormats: number[] = []
  for (let index = 0; index < formatCount && !reader.short; index++) {
    const format = reader.int16()
    if (!reader.short) resultFormats.push(format)
  }
  const isWhole = body.end - body.start === body.wholeBytes
  return { portal, statement, parameters, resultFormats, malformed: isWhole && (reader.short || reader.left > 0) }
}

export function decodeFunctionCall(encoding: TextEncoding, body: Body, limits: ValueLimits): FunctionCallMessage {
  const reader = new BodyReader(body.bytes, body.start, body.end)
  const functionOid = reader.uint32()
  const parameters = values(encoding, reader, limits)
  reader.int16()
  const isWhole = body.end - body.start === body.wholeBytes
  return { functionOid, parameters, malformed: isWhole && (reader.short || reader.left > 0) }
}

/** Format codes, then values. Those beyond `parametersMax`, or beyond what is held of the body, are left out. */
function values(encoding: TextEncoding, reader: BodyReader, { parameterBytesMax, parametersMax }: ValueLimits): BoundParameter[] {
  const formatCount = reader.uint16()
  const formats = reader.at
  reader.at = Math.min(reader.end, reader.at + 2 * formatCount)
  const { bytes, end } = reader
  const count = reader.uint16()
  const parameters: BoundParameter[] = []
  for (let index = 0; index < count && !reader.short; index++) {
    const length = reader.int32()
    if (reader.short) break
    // One code holds for all; a missing one is text.
    const formatAt = formats + 2 * (formatCount === 1 ? 0 : index)
    const isBinary = (formatCount === 1 || index < formatCount) && formatAt + 1 < end && bytes[formatAt + 1] === 1
    const start = reader.at
    if (length > reader.left) reader.short = true
    if (length > 0) reader.at = Math.min(end, start + length)
    if (parameters.length >= parametersMax) continue
    parameters.push(boundParameter(encoding, isBinary, length, bytes, start, Math.min(start + parameterBytesMax, end)))
  }
  return parameters
}

/** A value of `length` bytes (negative for NULL) that starts at `start`, of which those before `keptEnd` are kept. */
export function boundParameter(
  encoding: TextEncoding,
  isBinary: boolean,
  length: number,
  bytes: Buffer,
  start: number,
  keptEnd: number,
): BoundParameter {
  const format = isBinary ? 'binary' : 'text'
  if (length < 0) return { typeOid: 0, format, bytes: null, value: null }
  let kept = Math.min(start + length, keptEnd)
  if (!isBinary && kept < start + length) kept = characterBoundary(encoding, bytes, start, kept)
  const value = isBinary ? bytes.toString('base64', start, kept) : decodeText(encoding, bytes, start, kept)
  const parameter: BoundParameter = { typeOid: 0, format, bytes: length, value }
  if (kept < start + length) parameter.truncated = true
  return parameter
}
