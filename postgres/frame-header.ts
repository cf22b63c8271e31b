/**
 * The head of a PostgreSQL message: a type byte and a 32-bit length that counts itself.
 *
 * Knows which types may come from which side and how long each may be, nothing of their bodies.
 * Source: PostgreSQL documentation, "Message Formats" (protocol 3.0 and 3.2).
 */
import { KnownError } from '../base/errors.ts'

export type Side = 'frontend' | 'backend'

export const typeBytes = 1
export const headerBytes = typeBytes + 4

/** PostgreSQL takes no message of 1 GiB or more (`PQ_LARGE_MESSAGE_LIMIT`, `MaxAllocSize`). */
export const frameBytesMax = 0x3fffffff + typeBytes

/** The backend itself refuses longer messages of these frontend types (`PQ_SMALL_MESSAGE_LIMIT`, 10,000 bytes). */
const smallFrameBytesMax = 10_000 + headerBytes

const code = (letter: string): number => letter.charCodeAt(0)

const frontendLarge = 'BFPQdp'
const frontendSmall = 'CDEHSXcf'
const backendTypes = '123ACDEGHIKNRSTVWZcdnstv'

/** The longest whole frame allowed by type, 0 for a type that side may not send. */
const longest = { frontend: new Uint32Array(256), backend: new Uint32Array(256) }
for (const letter of frontendLarge) longest.frontend[code(letter)] = frameBytesMax
for (const letter of frontendSmall) longest.frontend[code(letter)] = smallFrameBytesMax
for (const letter of backendTypes) longest.backend[code(letter)] = frameBytesMax
// CopyFail carries a reason and Describe/Close a name of any length a client likes; the backend allows these large.
for (const letter of 'CDEf') longest.frontend[code(letter)] = frameBytesMax

/** A peer broke the protocol's framing, so nothing after this byte can be understood. */
export class BadFrame extends KnownError {
  readonly code = 'BAD_FRAME'
  readonly remedy = 'Connect with a PostgreSQL client that speaks protocol 3.0 or 3.2.'
  readonly safeToRetry = false
}

/**
 * The length in bytes of the whole frame whose header starts at `at`, type byte included.
 * @throws BadFrame for a type that `side` may not send, or a length that no such message can have
 */
export function frameLength(side: Side, bytes: Buffer, at: number): number {
  const type = bytes[at]!
  const lengthsMax = side === 'backend' ? longest.backend : longest.frontend // By a computed key it would be looked up each time.
  const length = typeBytes + ((bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!)
  if (length < headerBytes || length > lengthsMax[type]!) throw badFrame(side, type, length)
  return length
}

function badFrame(side: Side, type: number, length: number): BadFrame {
  const shown = type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16).padStart(2, '0')}`
  if (longest[side][type] === 0) return new BadFrame(`the ${side} sent a message of unknown type ${shown}`)
  return new BadFrame(`the ${side} sent a message of type ${shown} with the impossible length ${length - typeBytes}`)
}

/** The bytes from `from` to `to`, without an object of their own where that is all of them. */
export function part(bytes: Buffer, from: number, to: number): Buffer {
  return from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)
}
