/** Writes lines to a stream no faster than it takes them; a reader that has seen enough (`| head`) ends it quietly. */
import type { Writable } from 'node:stream'
import { systemCodeOf } from '../base/errors.ts'

const pieceCharacters = 16 * 1024

/** @throws whatever writing throws, but for a reader that went away */
export async function printLines(lines: AsyncIterable<string> | Iterable<string>, stream: Writable = process.stdout): Promise<void> {
  let failure: Error | null = null
  const onError = (error: Error): void => {
    failure ??= error
  }
  stream.on('error', onError)
  const write = async (piece: string): Promise<void> => {
    await new Promise<void>((resolve) => stream.write(piece, () => resolve())) // The callback comes for failures as well.
  }
  try {
    let held = ''
    for await (const line of lines) {
      held += `${line}\n`
      if (held.length < pieceCharacters) continue
      await write(held)
      held = ''
      if (failure !== null) break
    }
    if (failure === null && held !== '') await write(held)
  } finally {
    stream.off('error', onError)
  }
  if (failure !== null && systemCodeOf(failure) !== 'EPIPE') throw failure
}
