/**
 * The messages that open a session, from both sides: start-up packets without a type byte, and what follows up to ReadyForQuery.
 *
 * Encodes and decodes whole messages; knows no socket and no state. Every decoder takes bytes from an untrusted peer and throws
 * `BadStartup` for what it does not understand. The authentication messages are in `authentication/messages.ts`.
 * Source: PostgreSQL documentation, "Message Formats" and "Error and Notice Message Fields" (protocol 3.0 and 3.2).
 */
import { KnownError } from '../base/errors.ts'
import { headerBytes } from './frame-header.ts'
import { errorFieldOf } from './error-field-letters.ts'
import type { ErrorFields } from './statement.ts'

/** A peer opened a session with bytes that are not PostgreSQL's protocol. `sqlState` is what to answer an agent with. */
export class BadStartup extends KnownError {
  readonly code = 'BAD_STARTUP'
  readonly remedy = 'Connect with a PostgreSQL client that speaks protocol 3.0 or 3.2.'
  readonly safeToRetry = true
  readonly sqlState: string
  constructor(what: string, { sqlState = '08P01' }: { readonly sqlState?: string } = {}) {
    super(what)
    this.sqlState = sqlState
  }
}

/** The backend takes no longer start-up packet (`MAX_STARTUP_PACKET_LENGTH`). */
export const startupBytesMax = 10_000
const startupBytesMin = 8
const protocolMajor = 3
const requestCode = { cancel: 80_877_102, ssl: 80_877_103, gssenc: 80_877_104 } as const
/** Protocol 3.2 allows cancel keys of up to 256 bytes; 3.0 has exactly 4. */
export const cancelKeyBytesMax = 256
export const cancelKeyBytesMin = 4

export type Startup =
  | { readonly kind: 'startup'; readonly protocolMajor: number; readonly protocolMinor: number; readonly parameters: Map<string, string> }
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gssenc-request' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly key: Buffer }

/**
 * The whole length of the start-up packet that `bytes` begin with, or null when fewer than four are there.
 * @throws BadStartup for a length no such packet has; call it before waiting for more
 */
export function startupLength(bytes: Buffer): number | null {
  if (bytes.length > 0 && bytes[0] !== 0) {
    const start = bytes.subarray(0, 8).toString('latin1')
    if (bytes[0] === 0x16) throw new BadStartup('the client opened with a TLS handshake where a PostgreSQL start-up packet belongs')
    if (/^(GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT|PRI) ?/.test(start))
      throw new BadStartup('the client speaks HTTP, not the PostgreSQL protocol')
    throw new BadStartup('the client did not open with a PostgreSQL start-up packet')
  }
  if (bytes.length < 4) return null
  const length = bytes.readUInt32BE(0)
  if (length < startupBytesMin || length > startupBytesMax)
    throw new BadStartup(`the client sent a start-up packet of the impossible length ${length}`)
  return length
}

/**
 * @param bytes one whole packet, its length included
 * @throws BadStartup
 */
export function decodeStartup(bytes: Buffer): Startup {
  const length = startupLength(bytes)
  if (length === null || length !== bytes.length) throw new BadStartup('the start-up packet does not have the length it claims')
  const version = bytes.readUInt32BE(4)
  switch (version) {
    case requestCode.ssl:
    case requestCode.gssenc:
      if (length !== 8) throw new BadStartup('an encryption request has a body')
      return { kind: version === requestCode.ssl ? 'ssl-request' : 'gssenc-request' }
    case requestCode.cancel: {
      const key = bytes.subarray(12)
      if (length < 12 + cancelKeyBytesMin || key.length > cancelKeyBytesMax)
        throw new BadStartup('a cancel request has an impossible length')
      return { kind: 'cancel', processId: bytes.readInt32BE(8), key: Buffer.from(key) }
    }
    default:
  }
  const major = version >>> 16
  const minor = version & 0xffff
  if (major !== protocolMajor) {
    throw new BadStartup(`unsupported frontend protocol ${major}.${minor}: only 3.0 to 3.2 are supported`, { sqlState: '0A000' })
  }
  return { kind: 'startup', protocolMajor: major, protocolMinor: minor, parameters: decodeParameters(bytes) }
}

function decodeParameters(bytes: Buffer): Map<string, string> {
  const parameters = new Map<string, string>()
  let at = 8
  const text = (): string => {
    const end = bytes.indexOf(0, at)
    if (end < 0) throw new BadStartup('the start-up packet has a parameter that does not end')
    const value = utf8(bytes.subarray(at, end), 'a start-up parameter')
    at = end + 1
    return value
  }
  for (;;) {
    const name = text()
    if (name === '') break
    parameters.set(name, text())
  }
  if (at !== bytes.length) throw new BadStartup('the start-up packet goes on behind its terminator')
  return parameters
}

/** @throws BadStartup when it would be longer than a server takes, or a parameter holds a zero byte */
export function encodeStartup({
  protocolMinor,
  parameters,
}: {
  readonly protocolMinor: number
  readonly parameters: Iterable<readonly [string, string]>
}): Buffer {
  const pieces: Buffer[] = []
  for (const [name, value] of parameters) {
    if (name === '' || name.includes('\0') || value.includes('\0'))
      throw new BadStartup('a start-up parameter has no name or holds a zero byte')
    pieces.push(Buffer.from(`${name}\0${value}\0`))
  }
  const packet = request((protocolMajor << 16) | protocolMinor, ...pieces, Buffer.alloc(1))
  if (packet.length > startupBytesMax)
    throw new BadStartup(`the start-up parameters take ${packet.length} bytes, more than the ${startupBytesMax} a server allows`)
  return packet
}

export const encodeSslRequest = (): Buffer => request(requestCode.ssl)
export const encodeGssencRequest = (): Buffer => request(requestCode.gssenc)
export function encodeCancelRequest(processId: number, key: Buffer): Buffer {
  const id = Buffer.alloc(4)
  id.writeInt32BE(processId)
  return request(requestCode.cancel, id, key)
}

function request(code: number, ...body: Buffer[]): Buffer {
  const packet = Buffer.concat([Buffer.alloc(8), ...body])
  packet.writeUInt32BE(packet.length, 0)
  packet.writeUInt32BE(code, 4)
  return packet
}

/** A message with its type byte and length. */
export function encodeMessage(type: string, ...body: Buffer[]): Buffer {
  const message = Buffer.concat([Buffer.alloc(headerBytes), ...body])
  message.write(type, 0, 'latin1')
  message.writeUInt32BE(message.length - 1, 1)
  return message
}

export const encodeReadyForQuery = (status: 'I' | 'T' | 'E'): Buffer => encodeMessage('Z', Buffer.from(status))
export const encodeParameterStatus = (name: string, value: string): Buffer => encodeMessage('S', Buffer.from(`${name}\0${value}\0`))
export function encodeBackendKeyData(processId: number, key: Buffer): Buffer {
  const id = Buffer.alloc(4)
  id.writeInt32BE(processId)
  return encodeMessage('K', id, key)
}

/** @param minor the newest minor version of protocol 3 spoken here; @param unknownOptions the `_pq_.` parameters that were not understood */
export function encodeNegotiateProtocolVersion(minor: number, unknownOptions: readonly string[]): Buffer {
  const numbers = Buffer.alloc(8)
  numbers.writeUInt32BE((protocolMajor << 16) | minor, 0)
  numbers.writeUInt32BE(unknownOptions.length, 4)
  return encodeMessage('v', numbers, ...unknownOptions.map((option) => Buffer.from(`${option}\0`)))
}

/** @param body the message behind its length. @throws BadStartup */
export function decodeNegotiateProtocolVersion(body: Buffer): { readonly minor: number; readonly unknownOptions: string[] } {
  if (body.length < 8) throw new BadStartup('NegotiateProtocolVersion is too short')
  const version = body.readUInt32BE(0)
  // A few servers send the minor number alone; the documentation once said so.
  if (version >>> 16 !== protocolMajor && version >>> 16 !== 0) throw new BadStartup('NegotiateProtocolVersion names another major version')
  const unknownOptions = strings(body.subarray(8), 'NegotiateProtocolVersion')
  if (unknownOptions.length !== body.readUInt32BE(4)) throw new BadStartup('NegotiateProtocolVersion does not hold the options it counts')
  return { minor: version & 0xffff, unknownOptions }
}

/** @param body the message behind its length. @throws BadStartup */
export function decodeParameterStatus(body: Buffer): { readonly name: string; readonly value: string } {
  const [name, value, ...rest] = strings(body, 'ParameterStatus')
  if (name === undefined || value === undefined || rest.length > 0) throw new BadStartup('ParameterStatus does not hold a name and a value')
  return { name, value }
}

/** @param body the message behind its length. @throws BadStartup */
export function decodeBackendKeyData(body: Buffer): { readonly processId: number; readonly key: Buffer } {
  const key = body.subarray(4)
  if (body.length < 4 + cancelKeyBytesMin || key.length > cancelKeyBytesMax) throw new BadStartup('BackendKeyData has an impossible length')
  return { processId: body.readInt32BE(0), key: Buffer.from(key) }
}

/** @param body the message behind its length. @throws BadStartup */
export function decodeReadyForQuery(body: Buffer): 'I' | 'T' | 'E' {
  const status = body.toString('latin1')
  if (status !== 'I' && status !== 'T' && status !== 'E') throw new BadStartup('ReadyForQuery has an unknown transaction status')
  return status
}

/** An ErrorResponse. A zero byte, which no field can hold, becomes U+FFFD. */
export function encodeErrorResponse(fields: ErrorFields): Buffer {
  const pieces: Buffer[] = []
  const add = (letter: string, value: string): number => pieces.push(Buffer.from(`${letter}${value.replaceAll('\0', '\ufffd')}\0`))
  for (const [letter, name] of Object.entries(errorFieldOf)) {
    const value = fields[name]
    if (value !== undefined) add(letter, value)
    // "V" is the severity in English whatever the server's language; clients since 9.6 look for it.
    if (letter === 'S') add('V', fields.severity)
  }
  return encodeMessage('E', ...pieces, Buffer.alloc(1))
}

/**
 * The fields of an ErrorResponse or NoticeResponse. Unknown field types are skipped, as the protocol asks; text that is not UTF-8 (a server
 * that fails before the encoding is agreed) is shown with U+FFFD.
 * @param body the message behind its length. @throws BadStartup when it is not a list of terminated fields
 */
export function decodeErrorResponse(body: Buffer): ErrorFields {
  const found: Partial<Record<keyof ErrorFields, string>> = {}
  let severity: string | undefined
  let at = 0
  while (body[at] !== 0) {
    const end = body.indexOf(0, at)
    if (end < 0) throw new BadStartup('an ErrorResponse does not end')
    const letter = String.fromCharCode(body[at]!)
    const value = body.toString('utf8', at + 1, end)
    if (letter === 'V') severity = value
    else if (Object.hasOwn(errorFieldOf, letter)) found[errorFieldOf[letter]!] = value
    at = end + 1
  }
  return { ...found, severity: severity ?? found.severity ?? 'ERROR', code: found.code ?? 'XX000', message: found.message ?? '' }
}

/** Zero-terminated texts that fill the whole of `body`. @throws BadStartup */
export function strings(body: Buffer, message: string): string[] {
  const found: string[] = []
  for (let at = 0; at < body.length;) {
    const end = body.indexOf(0, at)
    if (end < 0) throw new BadStartup(`${message} holds a text that does not end`)
    found.push(utf8(body.subarray(at, end), message))
    at = end + 1
  }
  return found
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
function utf8(bytes: Buffer, what: string): string {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    throw new BadStartup(`${what} is not UTF-8`, { sqlState: '22021' })
  }
}
