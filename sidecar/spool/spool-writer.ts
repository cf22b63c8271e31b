/**
 * Appends to the spool: one synchronous write per call, so that when `append` says `written` the kernel has the bytes and a
 * SIGKILL of this process cannot take them back.
 *
 * A write that fails or falls short changes nothing: what was written of it is cut off or written over by the next try.
 * Knows nothing of records; the caller appends whole ones. Survives the process, not the machine: the store's copy is synced.
 */
import { closeSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs'
import path from 'node:path'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { createSpoolAge } from './spool-age.ts'
import { spoolFilePath } from './spool-files.ts'
import type { SpoolPosition } from './spool-position.ts'

/** Why nothing can be appended now. `code` is the system's (`ENOSPC`) or `SPOOL_FULL`, `SPOOL_OLD`. */
export type SpoolRefusal = { readonly code: string; readonly message: string }

export type SpoolLimits = {
  /** What may wait for the store before traffic waits. */
  readonly unshippedBytesMax: number
  readonly unshippedMillisecondsMax: number
  /** A spool file is closed at this size; it is deleted as a whole once everything in it is stored. */
  readonly fileBytesMax: number
  readonly reserveBytes: number
}

export const defaultSpoolLimits: SpoolLimits = {
  unshippedBytesMax: 1024 * 1024 * 1024,
  unshippedMillisecondsMax: 24 * 60 * 60 * 1000,
  fileBytesMax: 64 * 1024 * 1024,
  reserveBytes: 1024 * 1024,
}

/** Limits of which two may change while the spool is open. A class, since an object with accessors of its own is slow to read. */
export class LiveSpoolLimits implements SpoolLimits {
  readonly fileBytesMax: number
  readonly reserveBytes: number
  readonly #live: () => Pick<SpoolLimits, 'unshippedBytesMax' | 'unshippedMillisecondsMax'>

  constructor(
    { fileBytesMax, reserveBytes }: SpoolLimits,
    live: () => Pick<SpoolLimits, 'unshippedBytesMax' | 'unshippedMillisecondsMax'>,
  ) {
    this.fileBytesMax = fileBytesMax
    this.reserveBytes = reserveBytes
    this.#live = live
  }
  get unshippedBytesMax(): number {
    return this.#live().unshippedBytesMax
  }
  get unshippedMillisecondsMax(): number {
    return this.#live().unshippedMillisecondsMax
  }
}

const nothing = Buffer.alloc(0)
/** How often a disk that was too full for the reserve is asked again: a try may write all of it but the last block. */
const reserveMilliseconds = 1_000
const noRoom: readonly string[] = ['ENOSPC', 'EDQUOT']

/** What those who write into the spool need of it; what it says of itself is for metrics and probes. */
export type SpoolWriter = Omit<ReturnType<typeof createSpoolWriter>, 'oldestTime' | 'provesRoom'>

export function createSpoolWriter(options: {
  readonly folder: string
  readonly epoch: number
  readonly position: SpoolPosition
  readonly limits: SpoolLimits
  /** Records that a fresh file must begin with, so that it can be understood when the files before it are gone. */
  readonly filePreamble: () => Buffer
  /** The write itself; a test puts a failing disk here. */
  readonly write?: typeof writeSync | undefined
}) {
  const { folder, epoch, position, limits } = options
  const write = options.write ?? writeSync
  const reservePath = path.join(folder, 'reserve')
  const age = createSpoolAge({ millisecondsMax: limits.unshippedMillisecondsMax })
  let file: { readonly descriptor: number; readonly start: number; bytes: number } | null = null
  let reserveHeld = false
  let reserveFailedAt = 0
  let torn = false

  holdReserve()

  /** A refusal by the file system, with whatever of the bytes did arrive cut off again. */
  function failed(error: unknown): SpoolRefusal {
    return { code: systemCodeOf(error) ?? 'UNKNOWN', message: `the spool cannot be written: ${messageOf(error)}` }
  }

  function overLimits(now: number): SpoolRefusal | null {
    const { waitingBytes } = position
    if (waitingBytes > limits.unshippedBytesMax) {
      return { code: 'SPOOL_FULL', message: `${waitingBytes} bytes wait for the store, more than the ${limits.unshippedBytesMax} allowed` }
    }
    const oldest = oldestTime()
    if (oldest !== 0 && now - oldest > limits.unshippedMillisecondsMax) {
      return { code: 'SPOOL_OLD', message: `recordings have waited for the store since ${new Date(oldest).toISOString()}` }
    }
    return null
  }

  /** The sealing thread's own figure stands still while its store is away; what is written meanwhile has its age all the same. */
  function oldestTime(): number {
    return earlier(earlier(age.oldest(position.releasedBytes, position.writtenBytes), position.oldestTime), position.earlierTime)
  }

  function writeWhole(bytes: Buffer, now: number): SpoolRefusal | null {
    try {
      if (file === null || file.bytes >= limits.fileBytesMax) beginFile()
      const target = file!
      const preamble = target.bytes === 0 ? options.filePreamble() : nothing
      if (preamble.length > 0) bytes = Buffer.concat([preamble, bytes])
      torn = true
      for (let done = 0; done < bytes.length;) {
        const count = write(target.descriptor, bytes, done, bytes.length - done, target.bytes + done)
        if (count === 0) throw tookNothing()
        done += count
      }
      torn = false
      age.wrote(position.writtenBytes, now)
      target.bytes += bytes.length
      position.writtenBytes += bytes.length
      return null
    } catch (error) {
      const refusal = failed(error)
      if (noRoom.includes(refusal.code)) leaveFullFile()
      return refusal
    }
  }

  function beginFile(): void {
    const start = position.writtenBytes
    const descriptor = openSync(spoolFilePath(folder, epoch, start), 'wx', 0o600)
    if (file !== null) closeSync(file.descriptor)
    file = { descriptor, start, bytes: 0 }
  }

  /**
   * Only files behind which another begins are deleted once they are stored. On a full disk that must not wait for this one to
   * reach its size, which it never will.
   */
  function leaveFullFile(): void {
    if (file === null || file.bytes === 0) return
    cutTorn()
    try {
      beginFile()
    } catch {
      // No room for a name either: the next append tries again.
    }
  }

  /** Forgets what a failed append left behind the last whole record. */
  function cutTorn(): void {
    if (!torn || file === null) return
    try {
      ftruncateSync(file.descriptor, file.bytes)
      torn = false
    } catch {
      // The next append writes over the same place, and a reader cuts a torn tail off by its checksum.
    }
  }

  function holdReserve(): void {
    if (reserveHeld || limits.reserveBytes === 0) return
    try {
      const descriptor = openSync(reservePath, 'w', 0o600)
      try {
        const zeros = Buffer.alloc(64 * 1024)
        for (let at = 0; at < limits.reserveBytes;) {
          const count = write(descriptor, zeros, 0, Math.min(zeros.length, limits.reserveBytes - at), at)
          if (count === 0) throw tookNothing()
          at += count
        }
        reserveHeld = true
      } finally {
        closeSync(descriptor)
      }
    } catch {
      reserveFailedAt = Date.now()
      // Without room for the reserve there is none to hold; `append` meets the same full disk and says so.
      releaseReserve()
    }
  }

  function releaseReserve(): void {
    reserveHeld = false
    try {
      unlinkSync(reservePath)
    } catch {
      // Already gone, or a file system that refuses everything: the next append reports it.
    }
  }

  return {
    /** Writes whole records. Null when the kernel has all of them, else why it has none. */
    append(bytes: Buffer): SpoolRefusal | null {
      const now = Date.now()
      const refusal = overLimits(now) ?? writeWhole(bytes, now)
      if (refusal === null && !reserveHeld && now - reserveFailedAt >= reserveMilliseconds) holdReserve()
      return refusal
    },
    cutTorn,
    /** When the oldest bytes without a receipt were written, in milliseconds since the epoch; 0 when there are none. */
    oldestTime,
    /** True when the reserve is on the disk, which proves that the folder can be written; tries to bring it there otherwise. */
    provesRoom(): boolean {
      if (!reserveHeld && Date.now() - reserveFailedAt >= reserveMilliseconds) holdReserve()
      return reserveHeld || limits.reserveBytes === 0
    },
    /** For the few records that end sessions while the disk is full: gives the reserve back first, and is not held by the caps. */
    appendFromReserve(bytes: Buffer): SpoolRefusal | null {
      if (reserveHeld) releaseReserve()
      return writeWhole(bytes, Date.now())
    },
    close(): void {
      if (file !== null) closeSync(file.descriptor)
      file = null
      releaseReserve()
    },
  }
}

/** Of two times; 0 is none. */
function earlier(one: number, other: number): number {
  return one === 0 || (other !== 0 && other < one) ? other : one
}

function tookNothing(): Error {
  return Object.assign(new Error('the file system took no bytes'), { code: 'ENOSPC' })
}
