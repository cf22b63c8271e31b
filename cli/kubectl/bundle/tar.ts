/**
 * Writes a tar archive in memory: regular files in the format `ustar` (POSIX.1-1988), which every tar reads. Nothing but files, owned by nobody.
 *
 * Limits: a path of at most 100 bytes behind its last fitting slash and 155 before it, in ASCII; 8 GiB a file.
 */
import { invariant } from '../../../base/invariant.ts'

const blockBytes = 512
const nameBytesMax = 100
const prefixBytesMax = 155

export type ArchiveFile = { readonly path: string; readonly bytes: Buffer }

/** `time` is that of all files, in milliseconds since the epoch. */
export function tarOf(files: readonly ArchiveFile[], time: number): Buffer {
  const pieces = files.flatMap(({ path, bytes }) => [
    headerOf(path, bytes.length, Math.floor(time / 1000)),
    bytes,
    Buffer.alloc((blockBytes - (bytes.length % blockBytes)) % blockBytes),
  ])
  return Buffer.concat([...pieces, Buffer.alloc(2 * blockBytes)]) // Two empty blocks end an archive.
}

function headerOf(path: string, bytes: number, seconds: number): Buffer {
  const { prefix, name } = splitPath(path)
  const header = Buffer.alloc(blockBytes)
  const octal = (value: number, at: number, length: number): void =>
    void header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  header.write(name, 0, 'latin1')
  octal(0o600, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(bytes, 124, 12)
  octal(seconds, 136, 12)
  header.fill(' ', 148, 156) // The checksum counts itself as spaces.
  header.write('0', 156, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  header.write(prefix, 345, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

function splitPath(path: string): { readonly prefix: string; readonly name: string } {
  invariant(/^[\x21-\x7e]+$/.test(path) && !path.startsWith('/'), 'a path in an archive is ASCII and relative')
  if (path.length <= nameBytesMax) return { prefix: '', name: path }
  const slash = path.indexOf('/', path.length - nameBytesMax - 1)
  invariant(slash > 0 && slash <= prefixBytesMax, 'a path in an archive can be cut at a slash')
  return { prefix: path.slice(0, slash), name: path.slice(slash + 1) }
}
