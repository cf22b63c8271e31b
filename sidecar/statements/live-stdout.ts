/**
 * Standard output for a thread that must not wait for its reader: written without blocking, and never through the main thread.
 *
 * On Linux a pipe or a terminal is opened once more by its name in /proc, so that only steno's own way to it does not block. A socket
 * cannot be opened twice, nor can a pipe that belongs to somebody else: there the descriptor itself stops blocking, as it does in every
 * Node program that writes to a pipe. A file is written as it is. A terminal elsewhere than on Linux is written blocking: a reader who
 * stops the terminal stops sealing too.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { systemCodeOf } from '../../base/errors.ts'

const standardOutput = 1
/** A reader that does not read, or a disk that is full: both may pass. */
const passing = ['EAGAIN', 'EWOULDBLOCK', 'EINTR', 'ENOSPC', 'EDQUOT']

export type StandardOutput = {
  /** How many bytes were taken; 0 when nothing can be written now. @throws when nobody will ever read again */
  write(bytes: Buffer): number
  close(): void
}

export function openStandardOutput(): StandardOutput {
  const status = fstatSync(standardOutput)
  const own = status.isFIFO() || status.isCharacterDevice() ? reopened() : null
  const socket = own === null && (status.isFIFO() || status.isSocket()) ? unblocked() : null
  const descriptor = own ?? standardOutput
  return {
    write(bytes) {
      try {
        return writeSync(descriptor, bytes)
      } catch (error) {
        if (passing.includes(systemCodeOf(error) ?? '')) return 0
        throw error
      }
    },
    close() {
      if (own !== null) closeSync(own)
      socket?.destroy() // libuv leaves descriptors 0 to 2 open.
    },
  }
}

function reopened(): number | null {
  if (process.platform !== 'linux') return null
  try {
    return openSync(`/proc/self/fd/${standardOutput}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    return null // Somebody else's pipe, as behind `sudo -u`.
  }
}

/** Node sets O_NONBLOCK on a descriptor that it makes a socket of. */
function unblocked(): Socket {
  const socket = new Socket({ fd: standardOutput, readable: false, writable: true })
  socket.on('error', () => undefined) // Nothing is written by it; writes tell of errors themselves.
  return socket.unref()
}
