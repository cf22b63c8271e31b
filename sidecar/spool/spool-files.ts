/**
 * The names of a spool's files. A spool is a folder that one process at a time writes:
 *
 *   spool-<epoch>-<start>.log   records; `epoch` is the process's start in milliseconds, `start` the position of its first byte
 *   reserve                     room that is given back to the file system when it is full, so that sessions can be sealed
 *   set-aside-<session>.log   records of a session that the store cannot take any more; steno deletes none
 *   scarce-<epoch>              that memory was scarce in that process; see sealing/scarce-memory.ts
 *   lock, lock.1, lock.2…       see spool-lock.ts
 *   recorder-key.pem, ledger-head.json, policy-document
 */
import { readdirSync, statSync } from 'node:fs'
import path from 'node:path'

export type SpoolFile = {
  readonly path: string
  /** Milliseconds since the epoch at which the process that wrote it began. */
  readonly epoch: number
  /** The spool position of the file's first byte. */
  readonly start: number
  readonly bytes: number
  /** When it was written last, in milliseconds since the epoch. */
  readonly changedAt: number
}

export function spoolFilePath(folder: string, epoch: number, start: number): string {
  return path.join(folder, `spool-${String(epoch).padStart(15, '0')}-${String(start).padStart(16, '0')}.log`)
}

/** All spool files of a folder, oldest process first and in the order they were written. */
export function listSpoolFiles(folder: string): SpoolFile[] {
  const files: SpoolFile[] = []
  for (const name of readdirSync(folder).sort()) {
    const match = /^spool-(\d{15})-(\d{16})\.log$/.exec(name)
    if (match === null) continue
    const filePath = path.join(folder, name)
    const { size, mtimeMs } = statSync(filePath)
    files.push({ path: filePath, epoch: Number(match[1]), start: Number(match[2]), bytes: size, changedAt: mtimeMs })
  }
  return files
}
