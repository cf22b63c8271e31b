/**
 * Redacts Query, Parse and Bind messages that are too long to hold, piece by piece, keeping every length.
 *
 * Pieces are searched with an overlap, so that a trigger cut by a boundary is found. From a trigger on, and from the first quote of the piece it is
 * in, the text is filled with stars up to its end. What stood in earlier pieces is recorded already: a literal long before its statement's only
 * trigger stays. Of literals only those of the piece with the trigger are remembered for echoes, and none of a Bind.
 */
import { headerBytes } from '../frame-header.ts'
import { createBindFiller } from './bind-parameters.ts'
import { mayCarryCredential, triggerBytesMax, triggerIndex } from './triggers.ts'
import { isSuspicious } from './trigger-scan.ts'

const star = 0x2a
const zero = Buffer.alloc(1)
const nameBytesMax = 1_024
const type = { bind: 0x42, parse: 0x50, query: 0x51 } as const

export type OversizedContext = {
  /** True when SQL's EXECUTE may name a credential-bearing statement. */
  readonly hasMarkedNames: () => boolean
  readonly isMarked: (name: string) => boolean
  /** The statement of this name (undefined: a name too long to keep) is credential-bearing. */
  readonly mark: (name: string | undefined) => void
  /** Text that is about to be filled. */
  readonly remember: (text: string) => void
}

/** Takes a frame's pieces in order, header first; gives the very same Buffer for a piece without anything to fill. */
export function createOversized(head: Buffer, context: OversizedContext): { take(piece: Buffer): Buffer } {
  const frameBytes = head.length >= headerBytes ? 1 + head.readUInt32BE(1) : 0
  switch (head[0]) {
    case type.query:
      return createTextFiller({ names: 0, frameBytes }, context)
    case type.parse:
      return createTextFiller({ names: 1, frameBytes }, context)
    case type.bind:
      return createBindPieces(context)
    default:
      return { take: (piece) => piece }
  }
}

/** Collects null-terminated names that stand in front of what matters. */
function createNames(count: number) {
  const names: string[] = []
  let skip = headerBytes
  let current = ''
  return {
    names,
    /** The offset behind the names, or -1 when this piece ends within them. */
    take(piece: Buffer): number {
      let at = Math.min(skip, piece.length)
      skip -= at
      while (names.length < count) {
        if (at >= piece.length) return -1
        const end = piece.indexOf(0, at)
        const stop = end < 0 ? piece.length : end
        if (current.length <= nameBytesMax) current += piece.toString('latin1', at, Math.min(stop, at + nameBytesMax + 1))
        if (end < 0) return -1
        names.push(current)
        current = ''
        at = end + 1
      }
      return at
    },
  }
}

const keptName = (name: string): string | undefined => (name.length > nameBytesMax ? undefined : name)

function createTextFiller({ names, frameBytes }: { names: number; frameBytes: number }, context: OversizedContext) {
  const front = createNames(names)
  let passed = 0
  let ended = false
  let filling = false
  /** The end of the text so far, copied, behind a byte that the scan may look back at. */
  let tail = zero

  /** Where to start filling in the text between `start` and `end`, or -1. */
  function fillFrom(piece: Buffer, start: number, end: number): number {
    const text = piece.subarray(start, end)
    const seam = Buffer.concat([tail, text.subarray(0, triggerBytesMax)])
    const executes = context.hasMarkedNames()
    let trigger = -1
    if (executes || isSuspicious(seam, 1, seam.length) || isSuspicious(piece, start, end)) {
      const seen = tail.toString('latin1') + text.toString('latin1')
      if (mayCarryCredential(seen)) trigger = Math.max(0, triggerIndex(seen) - tail.length)
      else if (executes && /execute/i.test(seen)) trigger = 0
    }
    if (trigger < 0) {
      const recent = text.length < triggerBytesMax ? Buffer.concat([tail.subarray(1), text]) : text
      tail = Buffer.concat([zero, recent.subarray(-triggerBytesMax)])
      return -1
    }
    const quote = text.toString('latin1').search(/['"$]/)
    const from = quote < 0 ? trigger : Math.min(trigger, quote)
    context.remember(text.toString('latin1', from))
    return start + from
  }

  return {
    take(piece: Buffer): Buffer {
      const before = passed
      passed += piece.length
      const start = front.take(piece)
      if (start < 0) return piece
      if (ended) return piece
      // A Query's text is all up to its last byte; a Parse goes on behind its text.
      const zeroAt = names > 0 ? piece.indexOf(0, start) : frameBytes - 1 - before
      const end = zeroAt < 0 || zeroAt > piece.length ? piece.length : zeroAt
      ended = zeroAt >= 0 && zeroAt < piece.length
      const from = filling ? start : fillFrom(piece, start, end)
      if (from < 0) return piece
      if (!filling && names > 0) context.mark(keptName(front.names[0]!))
      filling = true
      return Buffer.from(piece).fill(star, from, Math.max(from, end))
    },
  }
}

function createBindPieces({ isMarked }: OversizedContext) {
  const front = createNames(2)
  const filler = createBindFiller()
  return {
    take(piece: Buffer): Buffer {
      const start = front.take(piece)
      if (start < 0 || start >= piece.length) return piece
      const name = keptName(front.names[1]!)
      if (name !== undefined && !isMarked(name)) return piece
      const filled = Buffer.from(piece)
      filler.fill(filled, start)
      return filled
    },
  }
}
