/**
 * One process at a time writes a spool. The lock is a Unix socket that its holder listens on: the kernel lets go of it however the
 * process ends, and a leftover name is told from a living holder by trying to connect, whatever process numbers say (containers
 * all have 1).
 */
import { once } from 'node:events'
import { unlinkSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { KnownError, systemCodeOf } from '../../base/errors.ts'

/** `sun_path` holds 107 bytes and a terminator on Linux, 103 on macOS. */
const socketPathBytesMax = 103

export class SpoolInUse extends KnownError {
  readonly code = 'SPOOL_IN_USE'
  readonly remedy = 'Stop the other proxy, or give this one a folder of its own with --spool.'
  readonly safeToRetry = true
}

export class SpoolPathTooLong extends KnownError {
  readonly code = 'SPOOL_PATH_TOO_LONG'
  readonly remedy = `Choose a folder with a shorter name with --spool: its lock needs a path of at most ${socketPathBytesMax} bytes.`
  readonly safeToRetry = true
}

/** @throws SpoolInUse, SpoolPathTooLong, or what the file system says */
export async function lockSpool(folder: string): Promise<{ release(): void }> {
  const lockPath = path.join(folder, 'lock')
  if (Buffer.byteLength(lockPath) > socketPathBytesMax) throw new SpoolPathTooLong(`the spool folder ${folder} has too long a name`)
  for (let attempt = 0; attempt < 3; attempt++) {
    const server = net.createServer((socket) => socket.destroy())
    server.listen(lockPath)
    try {
      await once(server, 'listening')
      server.unref()
      return { release: () => void server.close() }
    } catch (error) {
      if (systemCodeOf(error) !== 'EADDRINUSE') throw error
    }
    if (await isHeld(lockPath)) break
    try {
      unlinkSync(lockPath)
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error
    }
  }
  throw new SpoolInUse(`another proxy writes the spool ${folder}`)
}

async function isHeld(lockPath: string): Promise<boolean> {
  const socket = net.connect(lockPath)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
