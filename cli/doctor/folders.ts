/** What the folders of store and spool have in common: made for a check and taken away again, room, and the kind of file system. */
import { mkdirSync, rmdirSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import path from 'node:path'
import { systemCodeOf } from '../../base/errors.ts'

/** Leaves folders as they were found: what did not exist is gone afterwards, unless something was put there meanwhile. */
export function borrowFolder(folder: string, mode: number): { giveBack(emptied: readonly string[]): void } {
  const made = mkdirSync(folder, { recursive: true, mode })
  return {
    /** @param emptied folders below that the check may have made, deepest first */
    giveBack(emptied) {
      if (made === undefined) return
      for (const inner of emptied) removeEmpty(path.join(folder, inner))
      for (let at = folder; at.length >= made.length; at = path.dirname(at)) if (!removeEmpty(at)) return
    },
  }
}

function removeEmpty(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    if (['ENOTEMPTY', 'ENOENT', 'EEXIST', 'EBUSY'].includes(systemCodeOf(error) ?? '')) return false
    throw error
  }
}

/** The folder, or what exists of its path. */
export function existing(folder: string): string {
  for (let at = folder; ; at = path.dirname(at)) {
    if (statSync(at, { throwIfNoEntry: false })?.isDirectory() === true || at === path.dirname(at)) return at
  }
}

/** Bytes that this user may still write there. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(existing(folder))
  return bavail * bsize
}

/** Source: Linux, `statfs(2)` and `include/uapi/linux/magic.h`. */
const fileSystems: Readonly<Record<number, { readonly name: string; readonly kind: 'network' | 'memory' | 'container' | 'user space' }>> = {
  0x6969: { name: 'NFS', kind: 'network' },
  0x517b: { name: 'SMB', kind: 'network' },
  0xff534d42: { name: 'CIFS', kind: 'network' },
  0xfe534d42: { name: 'SMB', kind: 'network' },
  0x01021997: { name: '9P', kind: 'network' },
  0x00c36400: { name: 'Ceph', kind: 'network' },
  0x0bd00bd0: { name: 'Lustre', kind: 'network' },
  0x5346414f: { name: 'AFS', kind: 'network' },
  0x01161970: { name: 'GFS2', kind: 'network' },
  0x01021994: { name: 'tmpfs', kind: 'memory' },
  0x858458f6: { name: 'ramfs', kind: 'memory' },
  0x794c7630: { name: 'overlay', kind: 'container' },
  0x65735546: { name: 'FUSE', kind: 'user space' },
}

/** Null for what counts as local, and where numbers mean something else. */
export async function specialFileSystem(folder: string): Promise<(typeof fileSystems)[number] | null> {
  if (process.platform !== 'linux') return null
  const { type } = await statfs(existing(folder))
  return fileSystems[type >>> 0] ?? null
}

export function shownBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
