/**
 * Writes tar archives (POSIX ustar, with pax records for long names) whose bytes depend on nothing but what is given.
 *
 * Times are 0, owners are numbers, entries come in the order of their paths with each folder before what lies in it. Holds the archive in
 * memory. Knows regular files, folders and symbolic links, up to 8 GiB each; nothing else belongs into an image.
 *
 * Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header".
 */
import { KnownError } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'

const blockBytes = 512
const nameBytesMax = 100
const fileBytesMax = 8 ** 11

/** A path is relative, with slashes and without a leading or trailing one. */
export type ArchiveEntry = { readonly path: string; readonly owner?: number } & (
  | { readonly kind: 'file'; readonly content: Buffer; readonly mode: 0o644 | 0o755 }
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'link'; readonly target: string }
)

/** What was given cannot be an archive: two entries of one name, or one that leads out of it. */
export class BadArchive extends KnownError {
  readonly code = 'BAD_ARCHIVE'
  readonly remedy = 'This is a defect of tools/image: report it with the message.'
  readonly safeToRetry = true
}

/** The archive, its end blocks included. Folders that no entry names are made, mode 0755. @throws BadArchive */
export function writeTar(entries: readonly ArchiveEntry[]): Buffer {
  const byPath = new Map<string, ArchiveEntry>()
  for (const entry of entries) {
    if (!isPlainPath(entry.path)) throw new BadArchive(`${entry.path} is no path inside an archive`)
    if (byPath.has(entry.path)) throw new BadArchive(`two entries are called ${entry.path}`)
    byPath.set(entry.path, entry)
  }
  for (const { path } of entries) {
    for (const folder of foldersAbove(path)) {
      const present = byPath.get(folder)
      if (present === undefined) byPath.set(folder, { kind: 'folder', path: folder, mode: 0o755 })
      else if (present.kind !== 'folder') throw new BadArchive(`${path} lies in ${folder}, which is no folder`)
    }
  }
  const sorted = [...byPath.values()].sort((one, other) => (one.path < other.path ? -1 : 1))
  return Buffer.concat([...sorted.flatMap(pieces), Buffer.alloc(2 * blockBytes)])
}

function isPlainPath(path: string): boolean {
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..') && !path.includes('\0')
}

function foldersAbove(path: string): string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

function pieces(entry: ArchiveEntry): Buffer[] {
  const name = entry.kind === 'folder' ? `${entry.path}/` : entry.path
  const target = entry.kind === 'link' ? entry.target : ''
  const content = entry.kind === 'file' ? entry.content : Buffer.alloc(0)
  invariant(content.length < fileBytesMax, 'a file fits into the size field')
  const long = [...(Buffer.byteLength(name) > nameBytesMax ? [paxRecord('path', name)] : [])]
  if (Buffer.byteLength(target) > nameBytesMax) long.push(paxRecord('linkpath', target))
  const extended = Buffer.from(long.join(''))
  const mode = entry.kind === 'link' ? 0o777 : entry.mode
  const type = { file: '0', folder: '5', link: '2' }[entry.kind]
  const before = long.length === 0 ? [] : [header({ name: 'pax', size: extended.length, type: 'x', mode: 0o644 }), ...padded(extended)]
  return [...before, header({ name, size: content.length, type, mode, owner: entry.owner ?? 0, target }), ...padded(content)]
}

function padded(content: Buffer): Buffer[] {
  return [content, Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)]
}

type Header = { name: string; size: number; type: string; mode: number; owner?: number; target?: string }

function header({ name, size, type, mode, owner = 0, target = '' }: Header): Buffer {
  const block = Buffer.alloc(blockBytes)
  const octal = (value: number, offset: number, length: number): void => {
    block.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1')
  }
  // A longer name is in the pax record before; what is cut here is not read.
  Buffer.from(name).copy(block, 0, 0, nameBytesMax)
  octal(mode, 100, 8)
  octal(owner, 108, 8)
  octal(owner, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12)
  block.write('        ', 148, 'latin1')
  block.write(type, 156, 'latin1')
  Buffer.from(target).copy(block, 157, 0, nameBytesMax)
  block.write('ustar\x0000', 257, 'latin1')
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** `LENGTH key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`
  let length = Buffer.byteLength(body)
  while (String(length).length + Buffer.byteLength(body) !== length) length = String(length).length + Buffer.byteLength(body)
  return `${length}${body}`
}
