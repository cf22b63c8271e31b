/**
 * COPY data for people: text as lines, binary as its length and a hexadecimal view of its head.
 *
 * Holds at most `linesMax` lines of `lineBytesMax` bytes, whatever passes. A stream that starts with the signature of COPY's
 * binary format is binary; any other is text.
 */
import { counted, printable } from './text.ts'

const binarySignature = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')
const headBytesMax = 256
const bytesPerLine = 16
const lineBytesMax = 64 * 1024

export type CopyViewOptions = {
  readonly direction: 'in' | 'out'
  readonly linesMax: number
  readonly decode: (bytes: Buffer) => string
}

export function createCopyView({ direction, linesMax, decode }: CopyViewOptions) {
  let head: Buffer = Buffer.alloc(0)
  let totalBytes = 0
  let missingBytes = 0
  let lineCount = 0
  let open: Buffer[] = []
  let openBytes = 0
  const lines: string[] = []

  function endLine(): void {
    lineCount++
    if (lines.length < linesMax) lines.push(decode(Buffer.concat(open)) + (openBytes > lineBytesMax ? '…' : ''))
    open = []
    openBytes = 0
  }

  function add(piece: Buffer): void {
    const room = lineBytesMax - openBytes
    if (lines.length < linesMax && room > 0 && piece.length > 0) open.push(Buffer.from(piece.subarray(0, room)))
    openBytes += piece.length
  }

  return {
    /** `data` may be the head of a message of `wholeBytes`; it is copied where it is kept. */
    push(data: Buffer, wholeBytes: number): void {
      if (head.length < headBytesMax) head = Buffer.concat([head, data.subarray(0, headBytesMax - head.length)])
      totalBytes += wholeBytes
      missingBytes += wholeBytes - data.length
      let start = 0
      for (let end = data.indexOf(0x0a); end >= 0; end = data.indexOf(0x0a, start)) {
        add(data.subarray(start, end))
        endLine()
        start = end + 1
      }
      add(data.subarray(start))
    },
    *lines(): Generator<string> {
      if (openBytes > 0) endLine()
      const sent = direction === 'in' ? 'COPY data from the client' : 'COPY data from the server'
      if (head.subarray(0, binarySignature.length).equals(binarySignature)) {
        yield `${sent}: binary, ${counted(totalBytes, 'byte')}`
        yield* hexadecimalLines(head)
        if (totalBytes > head.length) yield `(${counted(head.length, 'byte')} shown of ${totalBytes})`
        return
      }
      yield `${sent}: ${counted(totalBytes, 'byte')}`
      for (const line of lines) yield printable(line)
      if (lineCount > lines.length) yield `(${counted(lines.length, 'line')} shown of ${lineCount}; --rows-max shows more)`
      if (missingBytes > 0) yield `(${counted(missingBytes, 'byte')} of very long messages not shown)`
    },
  }
}

/** `00000000  50 47 43 …  |PGC|`, 16 bytes a line. */
function* hexadecimalLines(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; at += bytesPerLine) {
    const part = bytes.subarray(at, at + bytesPerLine)
    const digits = part.toString('hex').replace(/..(?!$)/g, '$& ')
    const letters = part.toString('latin1').replace(/[^\x20-\x7e]/g, '.')
    yield `${at.toString(16).padStart(8, '0')}  ${digits.padEnd(bytesPerLine * 3 - 1)}  |${letters}|`
  }
}
