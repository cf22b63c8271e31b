/**
 * Reads one process's spool files from the front, whole records at a time, as far as they are known to be written.
 *
 * Knows where each record ends in the spool, which is what a segment's header repeats; knows nothing of sessions.
 */
import { closeSync, openSync, readSync, unlinkSync } from 'node:fs'
import { recordHeaderBytes, recordLength } from '../../session/records.ts'
import { listSpoolFiles, type SpoolFile } from '../spool/spool-files.ts'

const readBytes = 1024 * 1024
const nothing: Buffer = Buffer.alloc(0)

export type SpoolDamage = { readonly path: string; readonly position: number; readonly lostBytes: number; readonly what: string; readonly isTail: boolean }

/** `start`: the position to begin at; null for the first byte of the first file. */
export function createSpoolReader({ folder, epoch, start }: { readonly folder: string; readonly epoch: number; readonly start: number | null }) {
  let open: { readonly file: SpoolFile; readonly descriptor: number } | null = null
  let position = start
  let buffer = nothing

  const files = (): SpoolFile[] => listSpoolFiles(folder).filter((file) => file.epoch === epoch)

  /** Opens the file that holds `position`; null when there is none yet. */
  function fileAt(at: number): { readonly file: SpoolFile; readonly descriptor: number } | null {
    const candidates = files()
    const index = candidates.findLastIndex((candidate) => candidate.start <= at)
    const file = candidates[index]
    if (file === undefined) return null
    if (open?.file.path !== file.path) {
      if (open !== null) closeSync(open.descriptor)
      open = { file, descriptor: openSync(file.path, 'r') }
    }
    return open!
  }

  return {
    /** Where the next record begins. */
    get position(): number {
      position ??= files()[0]?.start ?? 0
      return position
    },
    /**
     * What stands at `position`: up to 1 MiB, or one record if that is larger, and nothing beyond `limit`. Empty at the limit.
     * The last record may be cut. Valid until the next call; `advance` says how much of it was whole.
     * @throws BadRecord when the first record claims more than any has
     */
    read(limit: number): Buffer {
      const at = this.position
      if (at >= limit) return nothing
      let current = open
      if (current === null || at < current.file.start || nextStart(current.file) <= at) current = fileAt(at)
      if (current === null) return nothing
      const boundary = Math.min(limit, nextStart(current.file))
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
      const current = fileAt(at)
      const next = current === null ? Number.POSITIVE_INFINITY : nextStart(current.file)
      const isTail = !Number.isFinite(next)
      const end = isTail ? Math.max(at, this.end) : next
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
      const all = files()
      for (const [index, file] of all.entries()) {
        const end = all[index + 1]?.start
        if (end === undefined || end > released) break
        remove(file)
      }
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

  function nextStart(file: SpoolFile): number {
    const all = files()
    return all.find((candidate) => candidate.start > file.start)?.start ?? Number.POSITIVE_INFINITY
  }

  function fill(from: { readonly file: SpoolFile; readonly descriptor: number }, at: number, count: number): Buffer {
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
