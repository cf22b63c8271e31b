/**
 * The authentication messages: what a server asks for and what a client answers.
 *
 * Bodies hold secrets: nothing here is logged or recorded, and no error repeats a byte of one.
 * Source: PostgreSQL documentation, "Message Formats" and "SASL Authentication".
 */
import { BadStartup, encodeMessage, strings } from '../startup-messages.ts'

const requestType = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const
const otherRequests: Readonly<Record<number, string>> = { 2: 'Kerberos V5', 6: 'SCM credentials', 7: 'GSSAPI', 8: 'GSSAPI', 9: 'SSPI' }

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Buffer }
  | { readonly kind: 'sasl-final'; readonly data: Buffer }
  | { readonly kind: 'unsupported'; readonly name: string }

/** @param body an 'R' message behind its length. @throws BadStartup */
export function decodeAuthenticationRequest(body: Buffer): AuthenticationRequest {
  if (body.length < 4) throw new BadStartup('an authentication request is too short')
  const type = body.readUInt32BE(0)
  const data = body.subarray(4)
  const exactly = (bytes: number): void => {
    if (data.length !== bytes) throw new BadStartup('an authentication request has an impossible length')
  }
  switch (type) {
    case requestType.ok:
      exactly(0)
      return { kind: 'ok' }
    case requestType.cleartext:
      exactly(0)
      return { kind: 'cleartext' }
    case requestType.md5:
      exactly(4)
      return { kind: 'md5', salt: Buffer.from(data) }
    case requestType.sasl: {
      const names = strings(data, 'the list of SASL mechanisms')
      if (names.pop() !== '' || names.includes('')) throw new BadStartup('the list of SASL mechanisms does not end')
      return { kind: 'sasl', mechanisms: names }
    }
    case requestType.saslContinue:
      return { kind: 'sasl-continue', data: Buffer.from(data) }
    case requestType.saslFinal:
      return { kind: 'sasl-final', data: Buffer.from(data) }
    default:
      return { kind: 'unsupported', name: otherRequests[type] ?? `method ${type}` }
  }
}

const authentication = (type: number, ...data: Buffer[]): Buffer => {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(type)
  return encodeMessage('R', number, ...data)
}
export const encodeAuthenticationOk = (): Buffer => authentication(requestType.ok)
export const encodeAuthenticationCleartextPassword = (): Buffer => authentication(requestType.cleartext)
export const encodeAuthenticationSasl = (mechanisms: readonly string[]): Buffer =>
  authentication(requestType.sasl, Buffer.from(`${mechanisms.map((name) => `${name}\0`).join('')}\0`))
export const encodeAuthenticationSaslContinue = (data: Buffer): Buffer => authentication(requestType.saslContinue, data)
export const encodeAuthenticationSaslFinal = (data: Buffer): Buffer => authentication(requestType.saslFinal, data)

/** @throws BadStartup when the password holds a zero byte, which cannot be sent */
export function encodePasswordMessage(password: string): Buffer {
  if (password.includes('\0')) throw new BadStartup('the password holds a zero byte')
  return encodeMessage('p', Buffer.from(`${password}\0`))
}
export function encodeSaslInitialResponse(mechanism: string, data: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(data.length)
  return encodeMessage('p', Buffer.from(`${mechanism}\0`), length, data)
}
export const encodeSaslResponse = (data: Buffer): Buffer => encodeMessage('p', data)

/** @param body a 'p' message behind its length. @throws BadStartup */
export function decodeSaslInitialResponse(body: Buffer): { readonly mechanism: string; readonly data: Buffer } {
  const end = body.indexOf(0)
  if (end < 0 || body.length < end + 5) throw new BadStartup('the SASL initial response is too short')
  const data = body.subarray(end + 5)
  const length = body.readInt32BE(end + 1)
  if (length !== data.length && !(length === -1 && data.length === 0))
    throw new BadStartup('the SASL initial response does not have the length it claims')
  return { mechanism: body.toString('latin1', 0, end), data: Buffer.from(data) }
}
