/** Writes lines to a stream no faster than it takes them; a reader that has seen enough (`| head`) ends it quietly. */
import type { Writable } from 'node:stream'
import { systemCodeOf } from '../base/errors.ts'

const pieceCharacters = 16 * 1024

/** @throws whatever writing throws, but for a reader that went away */
export async function printLines(lines: AsyncIterable<string> | Iterable<string>, stream: Writable = process.stdout): Promise<void> {
  let failure: Error | null = null
  const note = (error: Error | null | undefined): void => {
    failure ??= error ?? null
  }
  stream.on('error', note) // It would end the process; the callback below tells the same.
  const write = async (piece: string): Promise<void> => {
    note(await new Promise<Error | null | undefined>((resolve) => stream.write(piece, resolve)))
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
    stream.off('error', note)
  }
  if (failure !== null && systemCodeOf(failure) !== 'EPIPE') throw failure
}
