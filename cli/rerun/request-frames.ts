/**
 * Cuts what a client said into its messages and numbers the requests, so that two recordings of the same conversation can be laid
 * side by side: COPY data (`d`, `c`, `f`) has no number of its own, it belongs to the request before it.
 *
 * The first piece of a message holds at least its head (`heldBytesMax`, or all of it when it is shorter); what is longer follows in
 * pieces as it comes. Memory is bounded by `heldBytesMax` and the piece that is pushed.
 */
import { frameLength, headerBytes } from '../../postgres/frame-header.ts'

export type RequestPiece = {
  /** The message's letter, as `Q`. */
  readonly type: string
  /** Of the request, from 0; of COPY data that of the request before it, -1 when there was none. */
  readonly number: number
  /** From the message's header on when `first`; aliases what was pushed. */
  readonly bytes: Buffer
  readonly first: boolean
  readonly last: boolean
  /** Header included. */
  readonly wholeBytes: number
  /** Literals of the message were replaced before it was recorded, as far as that is known up to this piece. */
  readonly redacted: boolean
}

export const copyTypes = new Set(['d', 'c', 'f'])

/** Enough for every name that PostgreSQL itself accepts, and then some. */
const headBytesDefault = 8 * 1024

export function createRequestCutter({ heldBytesMax = headBytesDefault }: { readonly heldBytesMax?: number } = {}) {
  let held: Buffer = Buffer.alloc(0)
  let passing = 0
  let type = ''
  let wholeBytes = 0
  let redacted = false
  let number = -1

  function* cut(chunk: Buffer, isRedacted: boolean): Generator<RequestPiece> {
    // A redacted record holds nothing but (a part of) its message.
    if (passing > 0 || held.length > 0) redacted ||= isRedacted
    const data = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    held = Buffer.alloc(0)
    let at = 0
    while (at < data.length) {
      if (passing > 0) {
        const end = Math.min(data.length, at + passing)
        passing -= end - at
        yield { type, number, bytes: data.subarray(at, end), first: false, last: passing === 0, wholeBytes, redacted }
        at = end
        continue
      }
      const left = data.length - at
      const whole = left < headerBytes ? 0 : frameLength('frontend', data, at)
      const wanted = Math.min(whole, Math.max(headerBytes, heldBytesMax))
      if (whole === 0 || left < wanted) {
        if (at > 0) redacted = isRedacted
        held = Buffer.from(data.subarray(at))
        return
      }
      if (at > 0) redacted = isRedacted
      type = String.fromCharCode(data[at]!)
      wholeBytes = whole
      if (!copyTypes.has(type)) number++
      passing = whole - wanted
      yield { type, number, bytes: data.subarray(at, at + wanted), first: true, last: passing === 0, wholeBytes, redacted }
      at += wanted
    }
  }

  return {
    /** @throws BadFrame when `chunk` cannot be cut into messages; the pieces alias it */
    push(chunk: Buffer, isRedacted: boolean): RequestPiece[] {
      if (held.length === 0 && passing === 0) redacted = isRedacted
      return [...cut(chunk, isRedacted)]
    },
    /** The next byte is a message's first. */
    reset(): void {
      held = Buffer.alloc(0)
      passing = 0
    },
  }
}
