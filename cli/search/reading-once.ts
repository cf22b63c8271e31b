/**
 * A store as the reader of one session sees it: who asks for an object's size has its beginning read, and gets it without another read.
 *
 * A manifest is asked for by each step of reading, and most manifests and indexes are smaller than a piece: so two reads a session do
 * instead of seven. Holds the beginning of one object. Objects never change once they are stored, so nothing can be out of date; one
 * that was not there is asked for again.
 */
import type { Store } from '../../session/stores/store.ts'

/** As `object-pieces.ts` reads. */
const pieceBytes = 1024 * 1024

export function readingOnce(store: Store): Store {
  let held: { readonly key: string; readonly piece: Buffer } | null = null
  const beginning = async (key: string): Promise<Buffer | null> => {
    if (held?.key === key) return held.piece
    const piece = await store.range(key, 0, pieceBytes)
    if (piece !== null) held = { key, piece }
    return piece
  }
  return {
    ...store,
    async head(key) {
      const piece = await beginning(key)
      return piece === null || piece.length === pieceBytes ? store.head(key) : { key, bytes: piece.length }
    },
    async get(key) {
      const piece = held?.key === key ? held.piece : null
      return piece === null || piece.length === pieceBytes ? store.get(key) : piece
    },
    range: (key, start, end) => (start === 0 && end === pieceBytes ? beginning(key) : store.range(key, start, end)),
  }
}
