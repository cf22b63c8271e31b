/** The body of an upload, read whole into memory that was reserved for it. */
import type { IncomingMessage } from 'node:http'
import { invariant } from '../../base/invariant.ts'
import { Refusal } from './refusal.ts'

/** What a body may hold: the largest segment, and the largest manifest. */
export const objectBytesMax = 64 * 1024 * 1024

/** What the request says its body has. @throws Refusal LENGTH_MISSING, OBJECT_TOO_LONG */
export function bodyLength({ headers }: IncomingMessage, bytesMax = objectBytesMax): number {
  const text = headers['content-length']
  // Node refuses a request that says it twice or not as a number.
  if (text === undefined || headers['transfer-encoding'] !== undefined)
    throw new Refusal('LENGTH_MISSING', 'the upload does not say how long it is')
  const length = Number(text)
  if (length > bytesMax) throw new Refusal('OBJECT_TOO_LONG', `the upload has ${length} bytes, and may have ${bytesMax}`)
  return length
}

/** The memory of a body is reserved before it comes: what trickles in holds room that others wait for. */
const graceMilliseconds = 10_000
const bytesPerMillisecondMin = 256

/** Exactly `length` bytes. @throws Refusal BAD_REQUEST when the connection ends before them, or takes too long */
export async function readBody(request: IncomingMessage, length: number, grace = graceMilliseconds): Promise<Buffer> {
  const body = Buffer.allocUnsafeSlow(length)
  let at = 0
  const timer = setTimeout(() => request.destroy(new Error('it came too slowly')), grace + length / bytesPerMillisecondMin)
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      at += piece.copy(body, at)
    }
  } catch (error) {
    throw new Refusal('BAD_REQUEST', `the upload ended after ${at} of ${length} bytes`, { cause: error })
  } finally {
    clearTimeout(timer)
  }
  invariant(at === length, 'Node ends a request where its content-length says, or fails')
  return body
}
