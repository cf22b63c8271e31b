/**
 * Small files that are there whole or not at all, also after a crash of the machine.
 *
 * For local state (keys, heads). Stores have their own way of writing, in `stores/`.
 */
import { randomBytes } from 'node:crypto'
import { link, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCodeOf } from '../base/errors.ts'

/** Makes the names in `folder` survive a crash of the machine. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function writeBeside(path: string, bytes: Buffer, mode: number): Promise<string> {
  const beside = `${path}.${randomBytes(6).toString('hex')}.tmp`
  const handle = await open(beside, 'wx', mode)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
  return beside
}

/** Replaces the file at `path`: a reader sees the one before or this one, whole. */
export async function replaceFile(path: string, bytes: Buffer, mode: number): Promise<void> {
  await rename(await writeBeside(path, bytes, mode), path)
  await syncFolder(dirname(path))
}

/** Makes the file at `path` unless there is one. */
export async function createFile(path: string, bytes: Buffer, mode: number): Promise<'created' | 'exists'> {
  const beside = await writeBeside(path, bytes, mode)
  try {
    await link(beside, path)
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return 'exists'
    throw error
  } finally {
    await unlink(beside)
  }
  await syncFolder(dirname(path))
  return 'created'
}
