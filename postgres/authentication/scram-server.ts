/**
 * The server's end of SCRAM-SHA-256: how steno asks an agent for its token without the token ever being on the wire.
 *
 * Any user name is taken, the secret alone counts. The salt is random once per process, so that it tells nothing and clients may cache their
 * keys. A wrong secret takes the same steps as the right one and ends in the same error as any other.
 * Source: RFC 5802, RFC 7677.
 */
import { pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto'
import { KnownError } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import { digestBytes, hmac, preparePassword, readAttributes, readBase64, ScramFailed, scramSha256, sha256, xor } from './scram.ts'
import type { Secret } from './secret.ts'

const iterations = 4096
const saltBytes = 16
const nonceBytes = 18
const salt = randomBytes(saltBytes)
const messageBytesMax = 4096

/** The agent does not know the token. Answer it with SQLSTATE 28P01, as PostgreSQL answers a wrong password. */
export class TokenRefused extends KnownError {
  readonly code = 'TOKEN_REFUSED'
  readonly remedy = 'Give the token of the agent token file as the password.'
  readonly safeToRetry = true
  readonly sqlState = '28P01'
}

export type ScramExchange = {
  /** Takes the client's first message, gives the challenge. @throws ScramFailed (SQLSTATE 08P01) for bytes that are not SCRAM */
  challenge(clientFirst: Buffer): Buffer
  /** Takes the client's proof, gives the server's. @throws TokenRefused for a wrong secret, ScramFailed for bytes that are not SCRAM */
  verify(clientFinal: Buffer): Buffer
}

/** Derives the keys once (2 ms); `start` opens one exchange per connection. */
export function createScramServer({ secret }: { readonly secret: Secret }) {
  const salted = pbkdf2Sync(preparePassword(secret.reveal()), salt, iterations, digestBytes, 'sha256')
  const storedKey = sha256(hmac(salted, 'Client Key'))
  const serverKey = hmac(salted, 'Server Key')
  return {
    mechanisms: [scramSha256] as readonly string[],
    start(): ScramExchange {
      let header = ''
      let firstMessages: string | null = null
      let nonce = ''
      return {
        challenge(clientFirst) {
          const text = readText(clientFirst)
          const match = /^([yn],(?:a=[^,]*)?,)(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]{1,1024})(?:,.*)?)$/s.exec(text)
          if (match === null) throw new ScramFailed("the client's first SCRAM message is malformed or asks for channel binding")
          header = match[1]!
          nonce = match[3]! + randomBytes(nonceBytes).toString('base64')
          const serverFirst = `r=${nonce},s=${salt.toString('base64')},i=${iterations}`
          firstMessages = `${match[2]!},${serverFirst}`
          return Buffer.from(serverFirst)
        },
        verify(clientFinal) {
          invariant(firstMessages !== null, 'a challenge comes before its proof')
          const text = readText(clientFinal)
          const { values } = readAttributes(text, 'cr', "the client's last SCRAM message")
          const proofAt = text.lastIndexOf(',p=')
          if (proofAt < 0) throw new ScramFailed("the client's last SCRAM message has no proof")
          if (values[0] !== Buffer.from(header, 'latin1').toString('base64'))
            throw new ScramFailed('the client binds the SCRAM exchange to another channel')
          if (values[1] !== nonce) throw new ScramFailed('the client answered another SCRAM exchange: the nonce is wrong')
          const proof = readBase64(text.slice(proofAt + 3), "the client's SCRAM proof")
          if (proof.length !== digestBytes) throw new ScramFailed("the client's SCRAM proof has a wrong length")
          const authMessage = Buffer.from(`${firstMessages},${text.slice(0, proofAt)}`, 'latin1')
          const clientKey = xor(proof, hmac(storedKey, authMessage))
          if (!timingSafeEqual(sha256(clientKey), storedKey)) throw new TokenRefused('password authentication failed')
          return Buffer.from(`v=${hmac(serverKey, authMessage).toString('base64')}`)
        },
      }
    },
  }
}

/** Latin-1 keeps each byte, so the signed text is the one that came. */
function readText(message: Buffer): string {
  if (message.length > messageBytesMax) throw new ScramFailed('a SCRAM message is too long')
  return message.toString('latin1')
}
