/**
 * The client's end of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: three messages, and the proof that the server knows the password too.
 *
 * Knows no socket. One object per sign-in; a step out of order is a defect of the caller.
 * Source: RFC 5802, RFC 7677, RFC 5929 (tls-server-end-point).
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { invariant } from '../../base/invariant.ts'
import { createKeyCache, digestBytes, hmac, readAttributes, readBase64, ScramFailed, scramSha256, scramSha256Plus, xor } from './scram.ts'
import type { Secret } from './secret.ts'

/** About a second of a thread; PostgreSQL's default is 4,096. A hostile server could otherwise keep threads busy for hours. */
export const iterationsMax = 2_000_000
const nonceBytes = 18
const nonceCharactersMax = 1024
const saltBytesMax = 1024

/** `bound`: over TLS with the certificate's hash. `unused`: we could, but the server does not offer it. `impossible`: we cannot. */
export type ChannelBinding =
  | { readonly kind: 'bound'; readonly certificateHash: Buffer }
  | { readonly kind: 'unused' }
  | { readonly kind: 'impossible' }

const cache = createKeyCache()

export function createScramClient({
  password,
  channelBinding,
  nonce = randomBytes(nonceBytes).toString('base64'),
}: {
  readonly password: Secret
  readonly channelBinding: ChannelBinding
  readonly nonce?: string
}) {
  const header = { bound: 'p=tls-server-end-point,,', unused: 'y,,', impossible: 'n,,' }[channelBinding.kind]
  // PostgreSQL takes the user from the start-up packet and ignores this one.
  const firstBare = `n=,r=${nonce}`
  let expected: Buffer | null = null
  return {
    mechanism: channelBinding.kind === 'bound' ? scramSha256Plus : scramSha256,
    first(): Buffer {
      return Buffer.from(header + firstBare)
    },
    /** Answers the server's challenge. @throws ScramFailed */
    async final(serverFirst: Buffer): Promise<Buffer> {
      const challenge = serverFirst.toString('latin1')
      if (challenge.startsWith('m=')) throw new ScramFailed('the server demands a SCRAM extension that does not exist')
      const { values } = readAttributes(challenge, 'rsi', "the server's SCRAM challenge")
      const [serverNonce, saltText, iterationsText] = values as [string, string, string]
      if (
        !serverNonce.startsWith(nonce) ||
        serverNonce.length <= nonce.length ||
        serverNonce.length > nonceCharactersMax ||
        !/^[\x21-\x7e]+$/.test(serverNonce)
      ) {
        throw new ScramFailed('the server answered another SCRAM exchange: its nonce does not continue ours')
      }
      const salt = readBase64(saltText, "the server's SCRAM salt")
      if (salt.length > saltBytesMax) throw new ScramFailed("the server's SCRAM salt is too long")
      if (!/^[1-9]\d{0,9}$/.test(iterationsText)) throw new ScramFailed("the server's SCRAM iteration count is not a number")
      const iterations = Number(iterationsText)
      if (iterations > iterationsMax)
        throw new ScramFailed(`the server asks for ${iterations} SCRAM iterations, more than the ${iterationsMax} that are allowed`)
      const binding =
        channelBinding.kind === 'bound' ? Buffer.concat([Buffer.from(header), channelBinding.certificateHash]) : Buffer.from(header)
      const finalBare = `c=${binding.toString('base64')},r=${serverNonce}`
      const authMessage = `${firstBare},${challenge},${finalBare}`
      const { clientKey, storedKey, serverKey } = await cache.keysOf(password, salt, iterations)
      expected = hmac(serverKey, Buffer.from(authMessage, 'latin1'))
      const proof = xor(clientKey, hmac(storedKey, Buffer.from(authMessage, 'latin1')))
      return Buffer.from(`${finalBare},p=${proof.toString('base64')}`, 'latin1')
    },
    /** Checks that the server knows the password. @throws ScramFailed */
    verify(serverFinal: Buffer): void {
      invariant(expected !== null, 'the challenge was answered before its verification')
      const text = serverFinal.toString('latin1')
      if (text.startsWith('e=')) throw new ScramFailed(`the server ended the SCRAM exchange: ${text.slice(2, 60).replace(/[^a-z-]/g, '?')}`)
      const { values } = readAttributes(text, 'v', "the server's last SCRAM message")
      const signature = readBase64(values[0]!, "the server's SCRAM signature")
      if (signature.length !== digestBytes || !timingSafeEqual(signature, expected))
        throw new ScramFailed('the server does not know the password: its SCRAM signature is wrong')
    },
  }
}
