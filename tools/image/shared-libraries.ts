/**
 * Which files a program of Linux loads when it starts: its interpreter and, transitively, the shared libraries that it needs.
 *
 * Reads ELF headers and runs nothing, so it also answers for programs of another processor. Looks where the C library's loader looks
 * without configuration; knows nothing of RPATH, LD_LIBRARY_PATH and what a program opens by dlopen. 64-bit little-endian only, which
 * amd64 and arm64 are.
 *
 * Source: System V ABI, "Object Files" and "Dynamic Linking"; ld.so(8).
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KnownError } from '../../base/errors.ts'

const programHeaderDynamic = 2
const programHeaderInterpreter = 3
const programHeaderLoad = 1
const tagNull = 0n
const tagNeeded = 1n
const tagStringTable = 5n
const dynamicEntryBytes = 16

/** The processor as OCI names it, and the Debian folder of its libraries. */
export const processors = {
  amd64: { elfMachine: 62, libraryFolder: 'x86_64-linux-gnu' },
  arm64: { elfMachine: 183, libraryFolder: 'aarch64-linux-gnu' },
} as const
export type Processor = keyof typeof processors

/** A program or library cannot go into an image: it is missing, or for another processor. */
export class LibraryUnusable extends KnownError {
  readonly code = 'LIBRARY_UNUSABLE'
  readonly remedy =
    'Build on a glibc Linux of that processor, or name with --system-root a folder that such a system was unpacked into (libc6, libstdc++6, libgcc-s1).'
  readonly safeToRetry = true
}

/**
 * Paths, from the root of the system, of all files that `program` needs beside itself; sorted. Libraries are looked for below `systemRoot`.
 *
 * @throws LibraryUnusable
 */
export function librariesOf(program: string, processor: Processor, systemRoot: string): string[] {
  const found = new Set<string>()
  const waiting = [readElf(program, processor)]
  for (let elf = waiting.pop(); elf !== undefined; elf = waiting.pop()) {
    const paths = elf.needed.map((name) => find(name, processor, systemRoot))
    if (elf.interpreter !== null) paths.push(elf.interpreter)
    for (const path of paths) {
      if (found.has(path)) continue
      found.add(path)
      waiting.push(readElf(join(systemRoot, path), processor))
    }
  }
  return [...found].sort()
}

function find(name: string, processor: Processor, systemRoot: string): string {
  const { libraryFolder } = processors[processor]
  const folders = [`/lib/${libraryFolder}`, `/usr/lib/${libraryFolder}`, '/lib64', '/usr/lib64', '/lib', '/usr/lib']
  const folder = folders.find((candidate) => existsSync(join(systemRoot, candidate, name)))
  if (folder === undefined) throw new LibraryUnusable(`${name} is in none of ${folders.join(', ')} below ${systemRoot}`)
  return `${folder}/${name}`
}

type Elf = { readonly interpreter: string | null; readonly needed: readonly string[] }

function readElf(path: string, processor: Processor): Elf {
  if (!existsSync(path)) throw new LibraryUnusable(`there is no ${path}`)
  const bytes = readFileSync(path)
  const isElf = bytes.length > 64 && bytes.toString('latin1', 0, 4) === '\x7fELF' && bytes[4] === 2 && bytes[5] === 1
  if (!isElf || bytes.readUInt16LE(18) !== processors[processor].elfMachine)
    throw new LibraryUnusable(`${path} is no program or library for ${processor}`)
  const headers = programHeaders(bytes)
  const interpreter = headers.find(({ type }) => type === programHeaderInterpreter)
  const dynamic = headers.find(({ type }) => type === programHeaderDynamic)
  return {
    interpreter: interpreter === undefined ? null : textAt(bytes, interpreter.offset),
    needed: dynamic === undefined ? [] : neededOf(bytes, dynamic, headers),
  }
}

type ProgramHeader = { readonly type: number; readonly offset: number; readonly address: number; readonly bytes: number }

function programHeaders(bytes: Buffer): ProgramHeader[] {
  const start = Number(bytes.readBigUInt64LE(32))
  const each = bytes.readUInt16LE(54)
  return Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => {
    const at = start + index * each
    return {
      type: bytes.readUInt32LE(at),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      address: Number(bytes.readBigUInt64LE(at + 16)),
      bytes: Number(bytes.readBigUInt64LE(at + 32)),
    }
  })
}

function neededOf(bytes: Buffer, dynamic: ProgramHeader, headers: readonly ProgramHeader[]): string[] {
  const names: number[] = []
  let tableAddress: number | undefined
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.bytes; at += dynamicEntryBytes) {
    const tag = bytes.readBigUInt64LE(at)
    const value = Number(bytes.readBigUInt64LE(at + 8))
    if (tag === tagNull) break
    if (tag === tagNeeded) names.push(value)
    if (tag === tagStringTable) tableAddress = value
  }
  if (tableAddress === undefined) return []
  const address = tableAddress
  const segment = headers.find(
    (header) => header.type === programHeaderLoad && address >= header.address && address < header.address + header.bytes,
  )
  if (segment === undefined) return []
  const table = segment.offset + address - segment.address
  return names.map((offset) => textAt(bytes, table + offset))
}

function textAt(bytes: Buffer, offset: number): string {
  return bytes.toString('latin1', offset, bytes.indexOf(0, offset))
}
