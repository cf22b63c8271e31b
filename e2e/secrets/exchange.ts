/** Listens to a sign-in with SCRAM on the wire and names everything in it that must not be kept. */
import { pbkdf2Sync } from 'node:crypto'
import { framesOf } from '../notices-nothing/raw-client.ts'

/** Both directions of one connection, in order. */
export type Tapped = { readonly client: Buffer[]; readonly server: Buffer[] }

const attribute = (text: string, name: string): string | null => new RegExp(`(?:^|,)${name}=([^,]*)`).exec(text)?.[1] ?? null

/** The nonces, salt, proof and signature, as text and as the bytes that the text stands for. Empty when no SCRAM was spoken. */
export function scramSecrets(who: string, tapped: Tapped, password: string): Map<string, string | Buffer> {
  const secrets = new Map<string, string | Buffer>()
  const keep = (what: string, text: string | null, isBase64 = true): void => {
    if (text === null || text === '') return
    secrets.set(`${who}: ${what}`, text)
    if (isBase64) secrets.set(`${who}: ${what}, decoded`, Buffer.from(text, 'base64'))
  }
  let challenge = ''
  for (const { type, body } of framesOf(Buffer.concat(tapped.server))) {
    if (type !== 'R') continue
    const text = body.toString('latin1', 4)
    if (body.readUInt32BE() === 11) {
      challenge = text
      keep('server nonce', attribute(text, 'r'), false)
      keep('salt', attribute(text, 's'))
    }
    if (body.readUInt32BE() === 12) keep('server signature', attribute(text, 'v'))
  }
  const start = Buffer.concat(tapped.client)
  const messages = framesOf(start.subarray(start.readUInt32BE())).filter(({ type }) => type === 'p')
  for (const { body } of messages) {
    const text = body.toString('latin1')
    const from = text.indexOf('n,,')
    if (from >= 0) keep('client nonce', attribute(text.slice(from + 3), 'r'), false)
    keep('proof', attribute(text, 'p'))
  }
  const salt = attribute(challenge, 's')
  const iterations = Number(attribute(challenge, 'i'))
  if (salt !== null) secrets.set(`${who}: salted password`, pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, 32, 'sha256'))
  return secrets
}
