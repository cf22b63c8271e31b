/**
 * Reads one process's spool files from the front, whole records at a time, as far as they are known to be written.
 *
 * Knows where each record ends in the spool, which is what a segment's header repeats; knows nothing of sessions.
 */
import { closeSync, openSync, readSync, unlinkSync } from 'node:fs'
import { BadRecord, decodeRecord, recordHeaderBytes, recordLength, recordPayloadBytesMax, type SessionRecord } from '../../session/records.ts'
import { listSpoolFiles, type SpoolFile } from '../spool/spool-files.ts'

const readBytes = 1024 * 1024

export type SpooledRecord = {
  readonly record: SessionRecord
  /** The record as it stands in the spool. */
  readonly bytes: Buffer
  /** Spool positions of its first byte and behind its last. */
  readonly start: number
  readonly end: number
}

export type SpoolDamage = { readonly path: string; readonly position: number; readonly lostBytes: number; readonly what: string; readonly isTail: boolean }

export function createSpoolReader({ folder, epoch }: { readonly folder: string; readonly epoch: number }) {
  let open: { readonly file: SpoolFile; readonly descriptor: number } | null = null
  let position: number | null = null

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
     * The next whole records, up to about 1 MiB of them, none beyond `limit`. Empty at the limit. They alias one buffer of their own.
     * @throws BadRecord at damage when nothing sound lies before it
     */
    next(limit: number): SpooledRecord[] {
      const at = this.position
      if (at >= limit) return []
      let current = open
      if (current === null || at < current.file.start || nextStart(current.file) <= at) current = fileAt(at)
      if (current === null) return []
      const boundary = Math.min(limit, nextStart(current.file))
      let bytes = read(current, at, Math.min(readBytes, boundary - at))
      const first = recordLength(bytes, 0)
      // A record larger than one read; its own claim says how much it takes.
      if (first === null && bytes.length >= recordHeaderBytes) {
        const whole = recordHeaderBytes + Math.min(bytes.readUInt32LE(4), recordPayloadBytesMax)
        if (whole > bytes.length) bytes = read(current, at, Math.min(whole, boundary - at))
      }
      const records: SpooledRecord[] = []
      for (let offset = 0; offset < bytes.length; ) {
        let length: number | null
        let record: SessionRecord
        try {
          length = recordLength(bytes, offset)
          if (length === null) {
            if (records.length === 0) throw new BadRecord(offset, 'the bytes end inside a record')
            break
          }
          record = decodeRecord(bytes, offset)
        } catch (error) {
          if (records.length > 0) break // What lies before the damage is given first; the next call meets it again.
          throw error
        }
        records.push({ record, bytes: bytes.subarray(offset, offset + length), start: at + offset, end: at + offset + length })
        offset += length
      }
      position = records.at(-1)?.end ?? at
      return records
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

  function read(from: { readonly file: SpoolFile; readonly descriptor: number }, at: number, count: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(count)
    let done = 0
    while (done < count) {
      const got = readSync(from.descriptor, bytes, done, count - done, at - from.file.start + done)
      if (got === 0) break
      done += got
    }
    return bytes.subarray(0, done)
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
