/**
 * Joins the pieces of one side's byte stream into PostgreSQL frames, whatever the network cut.
 *
 * A body up to `heldBytesMax` is given whole, as a view of the piece when it lies in one; of a longer one only its head is
 * given, and the rest is passed over, or given in parts as it comes for the types marked in `inParts`. Types marked in `sizeOnly`
 * are never held. So memory is bounded by `heldBytesMax` whatever length a peer claims, and while memory is scarce a body that comes in several
 * pieces is held no further. Knows lengths, nothing of what a body means.
 */
import { frameLength, headerBytes, type Side } from './frame-header.ts'
import { ampleMemory, scarceFrameBytes, type TrackerMemory } from './statements/memory.ts'

const defaultHeldBytesMax = 1024 * 1024
/** A buffer for split frames is kept between frames up to this size, and grows from it as bytes really come. */
const scratchBytes = 8 * 1024

export type FrameSink = {
  /**
   * A frame is complete. Its body, or the first `heldBytesMax` bytes of it, is `bytes` from `start` to `end`: valid during the
   * call only. `wholeBytes` is the frame's length as it crossed the wire, header included.
   */
  onFrame(type: number, bytes: Buffer, start: number, end: number, wholeBytes: number): void
  /** A frame of a type marked in `sizeOnly` is complete. */
  onSize(type: number, wholeBytes: number): void
  /**
   * The next part of a body longer than `heldBytesMax`, of a type marked in `inParts`. `onFrame` follows the last, without a body.
   * A reset ends them early.
   */
  onPart?(type: number, bytes: Buffer, start: number, end: number): void
}

export type FrameAssembler = {
  /** @throws BadFrame for a header that `side` cannot have sent; every later push throws it again, until `reset`. */
  push(piece: Buffer): void
  /** True while part of a frame came and the rest did not. */
  readonly midFrame: boolean
  /** What is held of a frame that is not whole, beyond a buffer that is always there. */
  readonly heldBytes: number
  /** Forgets what was half read: the next byte is the first of a frame. */
  reset(): void
}

const noTypes = new Uint8Array(256)
const nothing: Buffer = Buffer.alloc(0)

/** `sizeOnly` and `inParts` have 256 flags by type byte, which stay as they are while the assembler is used. */
export function createFrameAssembler(
  side: Side,
  sink: FrameSink,
  {
    heldBytesMax = defaultHeldBytesMax,
    sizeOnly = noTypes,
    inParts = noTypes,
    memory = ampleMemory,
  }: {
    readonly heldBytesMax?: number
    readonly sizeOnly?: Uint8Array
    readonly inParts?: Uint8Array
    readonly memory?: TrackerMemory
  } = {},
): FrameAssembler {
  const header = Buffer.alloc(headerBytes)
  /** Bytes of the header that came, of a frame whose header was cut; 0 or all of them otherwise. */
  let headerHave = 0
  let wholeBytes = 0
  let bodyHave = 0
  /** Of the open frame's body. */
  let keptMax = heldBytesMax
  let held: Buffer = nothing
  let failure: unknown = null

  function comesInParts(type: number, whole: number): boolean {
    return inParts[type] !== 0 && whole - headerBytes > heldBytesMax
  }

  /** How much of the open frame's body is kept. */
  function keptBytes(): number {
    if (sizeOnly[header[0]!] !== 0 || comesInParts(header[0]!, wholeBytes)) return 0
    return Math.min(wholeBytes - headerBytes, keptMax)
  }

  function keep(piece: Buffer, from: number, to: number): void {
    if (to > from && comesInParts(header[0]!, wholeBytes)) sink.onPart?.(header[0]!, piece, from, to)
    if (memory.isScarce) keptMax = Math.min(keptMax, Math.max(bodyHave, scarceFrameBytes))
    const count = Math.min(to - from, keptBytes() - bodyHave)
    if (count <= 0) return
    const needed = bodyHave + count
    if (held.length < needed) {
      // Doubling follows what really came: a claimed length alone allocates nothing.
      const grown = Buffer.allocUnsafeSlow(Math.min(Math.max(scratchBytes, needed, held.length * 2), Math.max(keptBytes(), scratchBytes)))
      held.copy(grown, 0, 0, bodyHave)
      held = grown
    }
    piece.copy(held, bodyHave, from, from + count)
  }

  /** Goes on with the frame that the last piece left open; gives the offset behind what belongs to it. */
  function resume(piece: Buffer): number {
    let at = 0
    if (headerHave < headerBytes) {
      at = Math.min(headerBytes - headerHave, piece.length)
      piece.copy(header, headerHave, 0, at)
      headerHave += at
      if (headerHave < headerBytes) return at
      wholeBytes = frameLength(side, header, 0)
      bodyHave = 0
      keptMax = heldBytesMax
    }
    const to = Math.min(piece.length, at + wholeBytes - headerBytes - bodyHave)
    keep(piece, at, to)
    bodyHave += to - at
    if (bodyHave < wholeBytes - headerBytes) return to
    const type = header[0]!
    headerHave = 0
    if (sizeOnly[type] !== 0) sink.onSize(type, wholeBytes)
    else sink.onFrame(type, held, 0, keptBytes(), wholeBytes)
    if (held.length > scratchBytes) held = nothing
    return to
  }

  function cut(piece: Buffer): void {
    const length = piece.length
    let at = headerHave > 0 ? resume(piece) : 0
    while (at < length) {
      if (length - at < headerBytes) {
        headerHave = piece.copy(header, 0, at)
        return
      }
      const whole = frameLength(side, piece, at)
      const end = at + whole
      if (end > length) {
        headerHave = piece.copy(header, 0, at, at + headerBytes)
        wholeBytes = whole
        bodyHave = 0
        keptMax = heldBytesMax
        keep(piece, at + headerBytes, length)
        bodyHave = length - at - headerBytes
        return
      }
      const type = piece[at]!
      if (sizeOnly[type] !== 0) sink.onSize(type, whole)
      else if (comesInParts(type, whole)) {
        sink.onPart?.(type, piece, at + headerBytes, end)
        sink.onFrame(type, piece, end, end, whole)
      } else sink.onFrame(type, piece, at + headerBytes, Math.min(end, at + headerBytes + heldBytesMax), whole)
      at = end
    }
  }

  return {
    push(piece) {
      if (failure !== null) throw failure
      try {
        cut(piece)
      } catch (error) {
        failure = error
        throw error
      }
    },
    get midFrame() {
      return headerHave > 0
    },
    get heldBytes() {
      return held.length > scratchBytes ? held.length : 0
    },
    reset() {
      headerHave = 0
      held = nothing
      failure = null
    },
  }
}
