/**
 * What the kernel says of a process: CPU time, threads, resident memory, listening sockets.
 *
 * Linux only (`/proc`). CPU time comes in ticks of 10 ms, so a slot should last a second or more. Parsing is apart from reading, for tests.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { invariant } from '../base/invariant.ts'
import { systemCodeOf } from '../base/errors.ts'

/** `USER_HZ`, what `/proc` counts CPU time in: 100 on every Linux ABI. */
const ticksPerSecond = 100

/** CPU time of a process since it started, user and system together. */
export type CpuSeconds = {
  /** All its threads, those that have ended included. */
  readonly all: number
  /** The main thread alone: in a Node proxy the one that moves the bytes. */
  readonly mainThread: number
}

/** Resident memory. `anonymousBytes` is the process's own, without the pages of the binary that others share. */
export type Memory = { readonly residentBytes: number; readonly anonymousBytes: number }

/** User and system seconds from the text of `/proc/PID/stat` or `/proc/PID/task/TID/stat`. */
export function parseCpuSeconds(stat: string): number {
  // The command's name stands in brackets and may itself hold spaces and brackets: only what follows the last one is columns.
  const end = stat.lastIndexOf(')')
  invariant(end > 0, 'a stat line names its command in brackets')
  const columns = stat.slice(end + 2).split(' ')
  const ticks = Number(columns[11]) + Number(columns[12])
  invariant(Number.isFinite(ticks), 'a stat line has utime and stime')
  return ticks / ticksPerSecond
}

/** The parent's id from the text of `/proc/PID/stat`. */
export function parseParent(stat: string): number {
  const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
  invariant(Number.isInteger(parent), 'a stat line has a parent')
  return parent
}

/** Resident and anonymous bytes from the text of `/proc/PID/status`. */
export function parseMemory(status: string): Memory {
  return { residentBytes: kibibytes(status, 'VmRSS') * 1024, anonymousBytes: kibibytes(status, 'RssAnon') * 1024 }
}

function kibibytes(status: string, field: string): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)
  invariant(found !== null, `a live process's status has ${field}`)
  return Number(found[1])
}

/** Inodes of the sockets that listen on an IPv4 port, from the text of `/proc/net/tcp`. */
export function parseListeners(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const listening = '0A'
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[1]?.endsWith(suffix) === true && columns[3] === listening)
    .flatMap((columns) => (columns[9] === undefined ? [] : [columns[9]]))
}

export function readCpu(pid: number): CpuSeconds {
  return {
    all: parseCpuSeconds(readFileSync(`/proc/${pid}/stat`, 'latin1')),
    mainThread: parseCpuSeconds(readFileSync(`/proc/${pid}/task/${pid}/stat`, 'latin1')),
  }
}

/** Whether a thread of it runs or waits for its turn: on a busy machine one that has much to do can be given no CPU time for a while. */
export function isRunnable(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).some((thread) => {
    try {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1')
      return stat[stat.lastIndexOf(')') + 2] === 'R'
    } catch (error) {
      if (['ENOENT', 'ESRCH'].includes(systemCodeOf(error) ?? '')) return false // It ended meanwhile.
      throw error
    }
  })
}

export function readMemory(pid: number): Memory {
  return parseMemory(readFileSync(`/proc/${pid}/status`, 'latin1'))
}

/**
 * Which process of the tree under `root` listens on `port`: a launcher may have started the proxy as its child, and measuring the
 * launcher would show a proxy that costs nothing. Throws when none does.
 */
export function listenerUnder(root: number, port: number): number {
  const tree = treeOf(root)
  if (tree.length === 1) return root
  const wanted = new Set(parseListeners(readFileSync('/proc/net/tcp', 'latin1'), port).map((inode) => `socket:[${inode}]`))
  const found = tree.find((pid) => socketsOf(pid).some((link) => wanted.has(link)))
  invariant(found !== undefined, `process ${root} or a child of it listens on port ${port}`)
  return found
}

function treeOf(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const stat = unlessGone(() => readFileSync(`/proc/${name}/stat`, 'latin1'))
    if (stat !== null) parents.set(Number(name), parseParent(stat))
  }
  const tree = [root]
  for (const member of tree) for (const [pid, parent] of parents) if (parent === member) tree.push(pid)
  return tree
}

function socketsOf(pid: number): string[] {
  const names = unlessGone(() => readdirSync(`/proc/${pid}/fd`)) ?? []
  return names.flatMap((name) => unlessGone(() => readlinkSync(`/proc/${pid}/fd/${name}`)) ?? [])
}

/** A process may end, and a descriptor close, between being listed and being read. */
function unlessGone<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ESRCH') return null
    throw error
  }
}
