/**
 * One process at a time writes a spool. Its holder listens on a Unix socket in the folder: the kernel lets go of it however the
 * process ends, and a leftover name is told from a living holder by trying to connect, whatever process numbers say (containers
 * all have 1).
 *
 * No name is used twice, because nothing removes a name only if it is still the one that was found dead. The first holder links `lock`, each
 * later one the next of `lock.1`, `lock.2` (numbers in base 36), and the highest name is the lock: it is never removed, also not on release.
 * It is linked from a socket that listens already, so it never looks dead while its process lives. Who linked a name behind which it then finds
 * a higher one came too late and takes its own back; the holder removes what is below its own.
 *
 * Needs a file system with hard links and with Unix sockets, as local ones are. Guards against processes that keep to this; not against
 * somebody who removes files of the spool.
 */
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { linkSync, readdirSync, unlinkSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { KnownError, systemCodeOf } from '../../base/errors.ts'

/** `sun_path` holds 107 bytes and a terminator on Linux, 103 on macOS. */
const socketPathBytesMax = 103
/** `lock-` or `lock.` and up to seven digits: more starts than a folder will see. */
const lockNameBytesMax = 12
const digits = 36
const offerNames = digits ** 7
/** Each further one means that another process took or gave up the lock meanwhile. */
const attemptsMax = 50

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

/** How many bytes too long the folder's name is for a lock in it; 0 when it fits. */
export function spoolPathExcessBytes(folder: string): number {
  return Math.max(0, Buffer.byteLength(path.join(folder, 'x'.repeat(lockNameBytesMax))) - socketPathBytesMax)
}

/** @throws SpoolInUse, SpoolPathTooLong, or what the file system says */
export async function lockSpool(folder: string): Promise<{ release(): void }> {
  if (spoolPathExcessBytes(folder) > 0) throw new SpoolPathTooLong(`the spool folder ${folder} has too long a name`)
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const highest = highestOf(readdirSync(folder))
    if (highest !== null && (await isHeld(lockPath(folder, highest)))) break
    const server = await takeNumber(folder, highest === null ? 0 : highest + 1)
    if (server === null) continue
    await removeLeftovers(folder)
    return { release: () => void server.close() }
  }
  throw new SpoolInUse(`another proxy writes the spool ${folder}`)
}

/**
 * True when a process holds the lock of a folder.
 * @throws what the file system says; ENOENT where there is no folder
 */
export async function isSpoolLocked(folder: string): Promise<boolean> {
  const highest = highestOf(readdirSync(folder))
  return highest !== null && (await isHeld(lockPath(folder, highest)))
}

/** Listens, and then takes the lock's name of this number; null when another process was faster. */
async function takeNumber(folder: string, number: number): Promise<net.Server | null> {
  const offered = path.join(folder, `lock-${randomInt(offerNames).toString(digits)}`)
  const server = net.createServer((socket) => socket.destroy())
  server.listen(offered)
  await once(server, 'listening')
  server.unref()
  try {
    const own = lockPath(folder, number)
    if (linkUnlessTaken(offered, own)) {
      // Between what was seen and the link others may have held numbers from this one on, and removed the lower of them.
      if (highestOf(readdirSync(folder)) === number) return server
      removeIfThere(own)
    }
    server.close()
    return null
  } catch (error) {
    server.close()
    throw error
  } finally {
    removeIfThere(offered)
  }
}

/** Called by the holder alone. An offer that looks dead may be about to listen: who made it then finds the lock held. */
async function removeLeftovers(folder: string): Promise<void> {
  const names = readdirSync(folder)
  const highest = highestOf(names)
  for (const name of names) {
    const number = numberOf(name)
    if (number !== null && number !== highest) removeIfThere(path.join(folder, name))
    else if (/^lock-[0-9a-z]+$/.test(name) && !(await isHeld(path.join(folder, name)))) removeIfThere(path.join(folder, name))
  }
}

function lockPath(folder: string, number: number): string {
  return path.join(folder, number === 0 ? 'lock' : `lock.${number.toString(digits)}`)
}

function numberOf(name: string): number | null {
  if (name === 'lock') return 0
  const match = /^lock\.([1-9a-z][0-9a-z]{0,6})$/.exec(name)
  return match === null ? null : Number.parseInt(match[1]!, digits)
}

function highestOf(names: readonly string[]): number | null {
  let highest: number | null = null
  for (const name of names) {
    const number = numberOf(name)
    if (number !== null && (highest === null || number > highest)) highest = number
  }
  return highest
}

/** False when the name is taken, or when a holder has removed what was offered. */
function linkUnlessTaken(offered: string, own: string): boolean {
  try {
    linkSync(offered, own)
    return true
  } catch (error) {
    const code = systemCodeOf(error)
    if (code !== 'EEXIST' && code !== 'ENOENT') throw error
    return false
  }
}

function removeIfThere(filePath: string): void {
  try {
    unlinkSync(filePath)
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
}

/** What a connection is refused at only because its holder has too many to take is held. */
async function isHeld(socketPath: string): Promise<boolean> {
  const socket = net.connect(socketPath)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'EACCES' || code === 'EPERM') throw error // Whether another user's process lives cannot be told.
    return code !== 'ECONNREFUSED' && code !== 'ENOENT' && code !== 'ENOTSOCK'
  } finally {
    socket.destroy()
  }
}
