/**
 * Where messages end in a stream of backend bytes, however it is cut: a result that stops may only be followed by an error between two
 * of them.
 *
 * Takes bytes whose heads were checked already (`postgres/backend-scanner.ts`). Holds a few numbers and no bytes.
 */
import { headerBytes, typeBytes } from '../../postgres/frame-header.ts'

const lengthBytes = headerBytes - typeBytes

export class FrameWalk {
  /** What is still to come of the message under way, behind its head. */
  #bodyBytes = 0
  /** What has come of a head, and of the length in it. */
  #headBytes = 0
  #length = 0

  /** The offset behind the last message that ends in `bytes`, or -1 when none does. */
  push(bytes: Uint8Array): number {
    let edge = -1
    for (let at = 0; at < bytes.length;) {
      if (this.#bodyBytes > 0) {
        const taken = Math.min(this.#bodyBytes, bytes.length - at)
        at += taken
        this.#bodyBytes -= taken
        if (this.#bodyBytes === 0) edge = at
        continue
      }
      if (this.#headBytes >= typeBytes) this.#length = this.#length * 256 + bytes[at]!
      at++
      if (++this.#headBytes < headerBytes) continue
      this.#bodyBytes = Math.max(0, this.#length - lengthBytes)
      this.#headBytes = 0
      this.#length = 0
      if (this.#bodyBytes === 0) edge = at
    }
    return edge
  }
}
