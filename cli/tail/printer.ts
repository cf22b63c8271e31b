/** Lines to a stream that somebody watches: gathered only until the next pause, written no faster than they are taken. */
import type { Writable } from 'node:stream'
import { systemCodeOf } from '../../base/errors.ts'

const pieceCharacters = 16 * 1024

export function createPrinter(stream: Writable) {
  let held = ''
  let isClosed = false
  /** It would end the process; the callback of `write` tells the same. */
  const ignore = (): void => undefined
  stream.on('error', ignore)

  async function flush(): Promise<void> {
    if (held === '' || isClosed) return
    const piece = held
    held = ''
    const error = await new Promise<Error | null | undefined>((resolve) => stream.write(piece, resolve))
    if (error === null || error === undefined) return
    isClosed = true
    if (systemCodeOf(error) !== 'EPIPE') throw error
  }

  return {
    async line(text: string): Promise<void> {
      held += `${text}\n`
      if (held.length >= pieceCharacters) await flush()
    },
    flush,
    /** True once the reader went away, which is no failure: it has seen enough. */
    get isClosed(): boolean {
      return isClosed
    },
    end(): void {
      stream.off('error', ignore)
    },
  }
}
