/**
 * Sessions whose recording in the store cannot be gone on with, because an object of it is damaged or somebody else's: their
 * records are kept in a file beside the spool, `set-aside-<session id>.log`, as they stood in the spool.
 *
 * A session that has such a file is never sealed again: its later segments would leave out in silence what lies here. A process
 * that is killed between writing here and letting go of the spool sets the same records aside twice.
 */
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'

/** The file that holds what is set aside of `session`. */
export function setAsidePath(folder: string, session: string): string {
  return path.join(folder, `set-aside-${session}.log`)
}

export function createSetAside(folder: string) {
  const files = new Map<number, { readonly path: string; waiting: Buffer[]; end: number | null; isOpen: boolean }>()

  return {
    /** True when an earlier process set the session aside. */
    isKnown: (session: string): boolean => existsSync(setAsidePath(folder, session)),
    /** From now on the session of this number in the spool is set aside. */
    begin(number: number, session: string): string {
      const file = setAsidePath(folder, session)
      files.set(number, { path: file, waiting: [], end: null, isOpen: true })
      return file
    },
    holds: (number: number): boolean => files.has(number),
    /** Takes whole records, which must stay as they are until `write`. */
    add(number: number, records: readonly Buffer[]): void {
      files.get(number)!.waiting.push(...records)
    },
    ended(number: number): void {
      files.get(number)!.isOpen = false
    },
    /** Sessions that are set aside and not closed. */
    get openSessions(): number {
      let count = 0
      for (const { isOpen } of files.values()) if (isOpen) count++
      return count
    },
    /** Brings what was added to the disk. Safe to call again when it threw. */
    async write(): Promise<void> {
      for (const file of files.values()) {
        if (file.waiting.length === 0) continue
        const bytes = Buffer.concat(file.waiting)
        // Not opened to append: what a failed try left behind is written over.
        const handle = await open(file.path, 'r+').catch(() => open(file.path, 'wx+', 0o600))
        try {
          file.end ??= (await handle.stat()).size
          for (let done = 0; done < bytes.length;) {
            done += (await handle.write(bytes, done, bytes.length - done, file.end + done)).bytesWritten
          }
          await handle.sync()
          file.end += bytes.length
          file.waiting = []
        } finally {
          await handle.close()
        }
      }
    },
  }
}
