/**
 * Parts of stored objects, read in pieces of a fixed size of which the last few are kept.
 *
 * For readers that walk through large objects back and forth. Holds at most `piecesMax` pieces, and one part that lies across pieces.
 */
import type { Store } from '../../session/stores/store.ts'
import { accountRead } from './read-account.ts'

const pieceBytes = 512 * 1024
const piecesMax = 8

type Piece = { readonly key: string; readonly number: number; readonly bytes: Buffer }

export function createPieceCache(store: Store) {
  /** The one used last stands last. */
  let pieces: Piece[] = []
  /** The last part that was put together from several pieces. */
  let joined: { readonly key: string; readonly offset: number; readonly bytes: Buffer } | null = null

  function find(key: string, number: number): Piece | null {
    const last = pieces.at(-1)
    if (last !== undefined && last.number === number && last.key === key) return last
    const at = pieces.findIndex((piece) => piece.number === number && piece.key === key)
    if (at < 0) return null
    const piece = pieces[at]!
    pieces.splice(at, 1)
    pieces.push(piece)
    return piece
  }

  async function pieceOf(key: string, number: number): Promise<Piece> {
    const known = find(key, number)
    if (known !== null) return known
    const bytes = (await store.range(key, number * pieceBytes, (number + 1) * pieceBytes)) ?? Buffer.alloc(0)
    accountRead(bytes.length)
    const piece = { key, number, bytes }
    pieces = [...pieces.filter((other) => other.key !== key || other.number !== number).slice(1 - piecesMax), piece]
    return piece
  }

  return {
    /** The bytes, or null when they have to be loaded first. Valid until the next call. */
    peek(key: string, offset: number, length: number): Buffer | null {
      if (joined !== null && joined.key === key && joined.offset === offset && joined.bytes.length === length) return joined.bytes
      const number = Math.floor(offset / pieceBytes)
      const start = offset - number * pieceBytes
      const piece = find(key, number)
      if (piece === null || start + length > piece.bytes.length) return null
      return piece.bytes.subarray(start, start + length)
    },
    /** Makes `peek` answer. False when the object ends before. @throws StoreUnavailable */
    async load(key: string, offset: number, length: number): Promise<boolean> {
      const first = Math.floor(offset / pieceBytes)
      const last = Math.floor((offset + length - 1) / pieceBytes)
      if (first === last) return (await pieceOf(key, first)).bytes.length >= offset + length - first * pieceBytes
      const parts: Buffer[] = []
      for (let number = first; number <= last; number++) {
        const { bytes } = await pieceOf(key, number)
        const from = number === first ? offset - number * pieceBytes : 0
        parts.push(bytes.subarray(from, Math.max(from, Math.min(bytes.length, offset + length - number * pieceBytes))))
      }
      joined = { key, offset, bytes: Buffer.concat(parts) }
      return joined.bytes.length === length
    },
  }
}
