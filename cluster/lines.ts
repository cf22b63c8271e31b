/** Cuts a byte stream into lines of UTF-8. Holds one unfinished line, at most `bytesMax` of it. */
import type { Readable } from 'node:stream'
import { ClusterUnreachable } from './errors.ts'

/** Empty lines are left out; `onBytes` is called for each piece that comes. @throws ClusterUnreachable for a line that is too long */
export async function* linesOf(
  stream: Readable,
  { bytesMax, onBytes }: { readonly bytesMax: number; readonly onBytes: () => void },
): AsyncGenerator<string> {
  let held: Buffer[] = []
  let heldBytes = 0
  try {
    for await (const piece of stream) {
      onBytes()
      const chunk = piece as Buffer
      let start = 0
      for (let end = chunk.indexOf(lineFeed); end >= 0; end = chunk.indexOf(lineFeed, start)) {
        held.push(chunk.subarray(start, end))
        const line = Buffer.concat(held).toString('utf8')
        held = []
        heldBytes = 0
        start = end + 1
        if (line !== '') yield line
      }
      if (start === chunk.length) continue
      held.push(chunk.subarray(start))
      heldBytes += chunk.length - start
      if (heldBytes > bytesMax) throw new ClusterUnreachable(`the API server sent a line of more than ${bytesMax} bytes`)
    }
  } finally {
    stream.destroy()
  }
}

const lineFeed = 0x0a
