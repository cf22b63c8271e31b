/**
 * What both ends of SCRAM-SHA-256 share: the keys behind a password and the grammar of the messages.
 *
 * Source: RFC 5802, RFC 7677, and PostgreSQL's src/common/scram-common.c for what happens to a password that SASLprep rejects.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import type saslprepFunction from '@mongodb-js/saslprep'
import { KnownError } from '../../base/errors.ts'
import type { Secret } from './secret.ts'

export const scramSha256 = 'SCRAM-SHA-256'
export const scramSha256Plus = 'SCRAM-SHA-256-PLUS'
export const digestBytes = 32

/** The other end broke SCRAM's rules, or could not prove that it knows the password. */
export class ScramFailed extends KnownError {
  readonly code = 'SCRAM_FAILED'
  readonly remedy = 'Check that the address is the database you mean: another server, or something in between, answered.'
  readonly safeToRetry = true
}

/** As PostgreSQL does it: ASCII as it is, the rest prepared, and what cannot be prepared as it is. */
export function preparePassword(password: string): string {
  if (/^[\x00-\x7f]*$/.test(password)) return password
  // Its tables take 4 MB: loaded when the first such password comes.
  const saslprep = createRequire(import.meta.url)('@mongodb-js/saslprep') as typeof saslprepFunction
  try {
    return saslprep(password) || password
  } catch {
    // Prohibited, unassigned or wrongly mixed code points: the server stored the raw text too.
    return password
  }
}

export type ScramKeys = { readonly clientKey: Buffer; readonly storedKey: Buffer; readonly serverKey: Buffer }

export const hmac = (key: Buffer, ...pieces: (string | Buffer)[]): Buffer => {
  const result = createHmac('sha256', key)
  for (const piece of pieces) result.update(piece)
  return result.digest()
}
export const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

const deriveBytes = promisify(pbkdf2)
/** Derives off the event loop: 4,096 rounds cost about 2 ms of a thread. */
export async function deriveKeys(password: string, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await deriveBytes(preparePassword(password), salt, iterations, digestBytes, 'sha256')
  const clientKey = hmac(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: hmac(salted, 'Server Key') }
}

/**
 * Remembers derived keys, since each session signs in with the same password, salt and rounds. Holds no password: entries are found by a
 * keyed digest whose key lives in this process only. Bounded; the entry longest unused goes first.
 */
export function createKeyCache({ entriesMax = 64 }: { readonly entriesMax?: number } = {}) {
  const digestKey = randomBytes(digestBytes)
  const entries = new Map<string, Promise<ScramKeys>>()
  return {
    keysOf(password: Secret, salt: Buffer, iterations: number): Promise<ScramKeys> {
      const lengths = Buffer.alloc(12)
      lengths.writeUInt32BE(salt.length, 0)
      lengths.writeDoubleBE(iterations, 4)
      const name = hmac(digestKey, lengths, salt, password.reveal()).toString('base64')
      const known = entries.get(name)
      const keys = known ?? deriveKeys(password.reveal(), salt, iterations)
      entries.delete(name)
      entries.set(name, keys)
      if (entries.size > entriesMax) entries.delete(entries.keys().next().value!)
      // A derivation that failed (no memory) must not be handed out again.
      if (known === undefined) keys.catch(() => entries.delete(name))
      return keys
    },
    get size(): number {
      return entries.size
    },
  }
}

export function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.from(left)
  for (let at = 0; at < result.length; at++) result[at]! ^= right[at]!
  return result
}

/**
 * The values of `a=…,b=…` in exactly the order of `names`; what follows them is returned as `extensions` and may be ignored.
 * @throws ScramFailed
 */
export function readAttributes(text: string, names: string, what: string): { readonly values: string[]; readonly extensions: string[] } {
  const pieces = text.split(',')
  const values = names.split('').map((name, index) => {
    const piece = pieces[index]
    if (piece === undefined || !piece.startsWith(`${name}=`))
      throw new ScramFailed(`${what} does not hold the attribute "${name}" in its place`)
    return piece.slice(2)
  })
  return { values, extensions: pieces.slice(names.length) }
}

/** Strict: `Buffer.from(…, 'base64')` takes anything. @throws ScramFailed */
export function readBase64(text: string, what: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (text === '' || bytes.toString('base64') !== text) throw new ScramFailed(`${what} is not base64`)
  return bytes
}
