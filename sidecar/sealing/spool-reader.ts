/**
 * Reads one process's spool files from the front, whole records at a time, as far as they are known to be written.
 *
 * Knows where each record ends in the spool, which is what a segment's header repeats; knows nothing of sessions.
 */
import { closeSync, fstatSync, openSync, readSync, unlinkSync } from 'node:fs'
import { recordHeaderBytes, recordLength } from '../../session/records.ts'
import { listSpoolFiles, type SpoolFile } from '../spool/spool-files.ts'

const readBytes = 256 * 1024
const nothing: Buffer = Buffer.alloc(0)

export type SpoolDamage = {
  readonly path: string
  readonly position: number
  readonly lostBytes: number
  readonly what: string
  readonly isTail: boolean
}

/** `start`: the position to begin at; null for the first byte of the first file. */
export function createSpoolReader({
  folder,
  epoch,
  start,
}: {
  readonly folder: string
  readonly epoch: number
  readonly start: number | null
}) {
  type OpenFile = { readonly file: SpoolFile; readonly descriptor: number }
  let open: OpenFile | null = null
  let position = start
  let buffer = nothing
  /** As they were when a file was opened last; looking at the folder for each read would cost more than the read. */
  let known: SpoolFile[] = []

  const files = (): SpoolFile[] => listSpoolFiles(folder).filter((file) => file.epoch === epoch)

  /** Opens the file that holds the position `at`; null when there is none yet. */
  function openAt(at: number): OpenFile | null {
    known = files()
    const file = known.findLast((candidate) => candidate.start <= at)
    if (file === undefined) return null
    if (open?.file.path === file.path) return open
    if (open !== null) closeSync(open.descriptor)
    open = { file, descriptor: openSync(file.path, 'r') }
    return open
  }

  /** The position behind the last byte that the file has now. */
  const endOf = ({ file, descriptor }: OpenFile): number => file.start + fstatSync(descriptor).size

  return {
    /** Where the next record begins. */
    get position(): number {
      position ??= files()[0]?.start ?? 0
      return position
    },
    /**
     * What stands at `position`: up to 256 KiB, or one record if that is larger, and nothing beyond `limit`. Empty at the limit.
     * The last record may be cut. Valid until the next call; `advance` says how much of it was whole.
     * @throws BadRecord when the first record claims more than any has
     */
    read(limit: number): Buffer {
      const at = this.position
      if (at >= limit) return nothing
      const current = open !== null && at >= open.file.start && at < endOf(open) ? open : openAt(at)
      if (current === null) return nothing
      const boundary = Math.min(limit, endOf(current))
      if (at >= boundary) return nothing
      const bytes = fill(current, at, Math.min(readBytes, boundary - at))
      if (recordLength(bytes, 0) !== null || bytes.length < recordHeaderBytes) return bytes
      const whole = recordHeaderBytes + bytes.readUInt32LE(4)
      return whole > bytes.length ? fill(current, at, Math.min(whole, boundary - at)) : bytes
    },
    advance(bytes: number): void {
      position = this.position + bytes
    },
    /** Goes on behind damage at the present position: at the next file, or nowhere when this is the last. */
    skipDamage(what: string): SpoolDamage {
      const at = this.position
      const current = openAt(at)
      const next = known.find((candidate) => candidate.start > at)
      const isTail = next === undefined
      const end = isTail ? Math.max(at, this.end) : next.start
      position = end
      return { path: current?.file.path ?? folder, position: at, lostBytes: end - at, what, isTail }
    },
    /** The position behind the last byte of the last file. */
    get end(): number {
      const last = files().at(-1)
      return last === undefined ? 0 : last.start + last.bytes
    },
    /** Deletes every file that lies wholly before `released`. */
    release(released: number): void {
      if (open !== null && released >= endOf(open)) known = files() // Behind the file that is read, another may have begun.
      while (known[1] !== undefined && known[1].start <= released) remove(known.shift()!)
    },
    /** Deletes all files of this process; for when everything in them is stored and nobody writes any more. */
    releaseAll(): void {
      for (const file of files()) remove(file)
    },
    close(): void {
      if (open !== null) closeSync(open.descriptor)
      open = null
    },
  }

  function fill(from: OpenFile, at: number, count: number): Buffer {
    if (buffer.length < count) buffer = Buffer.allocUnsafeSlow(count)
    let done = 0
    while (done < count) {
      const got = readSync(from.descriptor, buffer, done, count - done, at - from.file.start + done)
      if (got === 0) break
      done += got
    }
    return buffer.subarray(0, done)
  }

  function remove(file: SpoolFile): void {
    if (open?.file.path === file.path) {
      closeSync(open.descriptor)
      open = null
    }
    unlinkSync(file.path)
  }
}
export type SpoolReader = ReturnType<typeof createSpoolReader>
