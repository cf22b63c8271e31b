/**
 * The highest policy document that this pod took, beside its spool: a container that starts again goes on from there, and not from the
 * snapshot of its admission, and what was replaced once stays replaced.
 *
 * Kept as it was signed, and checked again when it is read. The folder is the pod's own and goes with it.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { systemCodeOf } from '../../../base/errors.ts'
import { replaceFile } from '../../../session/durable-file.ts'

const fileName = 'policy-document'

/** Null when none was kept. Throws what the file system says. */
export async function loadKeptPolicy(spoolFolder: string): Promise<Buffer | null> {
  try {
    return await readFile(path.join(spoolFolder, fileName))
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** Durable when it is done. Throws what the file system says. */
export async function keepPolicy(spoolFolder: string, bytes: Buffer): Promise<void> {
  await replaceFile(path.join(spoolFolder, fileName), bytes, 0o640)
}
