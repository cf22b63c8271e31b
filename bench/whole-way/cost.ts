/**
 * One load on one way, once: throughput, and the processor time of everybody who takes part, so that it can be seen where two cores went.
 *
 * The agent is this process's ended children (pgbench; nothing else may end meanwhile), the database its server process with all of its sessions, living
 * and ended. The kernel counts in ticks of 10 ms.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { systemCodeOf } from '../../base/errors.ts'
import type { Load, LoadContext, LoadResult } from '../loads.ts'
import { parseCpuSeconds, parseParent, readCpu } from '../proc.ts'
import { waitUntilQuiet } from '../slot.ts'
import type { Way } from './ways.ts'

export type Turn = {
  readonly round: number
  readonly perSecond: number
  readonly latencyMilliseconds: LoadResult['latencyMilliseconds']
  /** Microseconds of processor time per query, all threads. */
  readonly agent: number
  /** As `Way.pids`. */
  readonly proxies: readonly number[]
  readonly database: number
  /** What the recorder does once the load has ended; null for who records nothing. */
  readonly after: { readonly microseconds: number; readonly isAll: boolean } | null
}

const afterMillisecondsMax = 4_000
/** `USER_HZ`: 100 on every Linux ABI. */
const ticksPerSecond = 100

export async function measureTurn(load: Load, way: Way, context: LoadContext, databasePid: number, round: number): Promise<Turn> {
  const read = (): { agent: number; proxies: number[]; database: number } => ({
    agent: endedChildrenSeconds(process.pid),
    proxies: way.pids.map((pid) => readCpu(pid).all),
    database: treeSeconds(databasePid),
  })
  const before = read()
  const { perSecond, units, latencyMilliseconds } = await load.run(way.target, context)
  const then = read()
  const perQuery = (seconds: number): number => (seconds * 1e6) / units
  let after: Turn['after'] = null
  if (way.recorder !== null) {
    const cpu = readCpu(way.recorder)
    const rested = await waitUntilQuiet(way.recorder, cpu, afterMillisecondsMax)
    after = { microseconds: perQuery(rested.cpu.all - cpu.all), isAll: rested.drained }
  }
  return {
    ...{ round, perSecond, latencyMilliseconds, after },
    agent: perQuery(then.agent - before.agent),
    proxies: then.proxies.map((seconds, at) => perQuery(seconds - before.proxies[at]!)),
    database: perQuery(then.database - before.database),
  }
}

/** Of a process's children that have ended and were waited for, with theirs: cutime and cstime of proc(5). */
function endedChildrenSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const columns = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(columns[13]) + Number(columns[14])) / ticksPerSecond
}

/** Of a process and its children, living and ended. */
function treeSeconds(root: number): number {
  for (;;) {
    const ended = endedChildrenSeconds(root)
    const living = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => childSeconds(name, root))
      .reduce((sum, seconds) => sum + seconds, 0)
    // A child that ended in between is in both, or in neither.
    if (endedChildrenSeconds(root) === ended) return ended + living + readCpu(root).all
  }
}

function childSeconds(pid: string, parent: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return parseParent(stat) === parent ? parseCpuSeconds(stat) : 0
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ESRCH') return 0
    throw error
  }
}
