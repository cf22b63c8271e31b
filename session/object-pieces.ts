/** An object read in pieces, so that its size is nobody's memory. */
import type { Store } from './stores/store.ts'

const pieceBytes = 1024 * 1024

/** The object's bytes in order; none when there is no such object. `look` sees each piece first. */
export async function* objectPieces(store: Store, key: string, look: (piece: Buffer) => void): AsyncGenerator<Buffer> {
  for (let at = 0; ; at += pieceBytes) {
    const piece = await store.range(key, at, at + pieceBytes)
    if (piece === null || piece.length === 0) return
    look(piece)
    yield piece
    if (piece.length < pieceBytes) return
  }
}
