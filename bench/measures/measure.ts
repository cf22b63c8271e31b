/**
 * What every measure besides throughput is given, and how each starts its contestant: fresh, since memory remembers.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { startContestant, type ContestantName, type Running } from '../contestants.ts'
import type { LoadContext } from '../loads.ts'
import type { MeasureResult } from '../results.ts'

export type MeasureContext = LoadContext & {
  readonly database: EmbeddedPostgres
  readonly contestants: readonly ContestantName[]
  /** Shorter and smaller, to show that it works; the figures then say little, and carry no budget. */
  readonly smoke: boolean
}

/** A measure of one contestant. Throws when it could not be taken. */
export type Measure = {
  readonly name: string
  /** Measured beside steno for comparison, without a budget. */
  readonly peers: readonly ContestantName[]
  /** The forms of steno that are measured. */
  readonly contestants: readonly ContestantName[]
  take(contestant: ContestantName, context: MeasureContext): Promise<MeasureResult[]>
}

/** The forms whose memory is measured: pass-through does less than custody, and holds no more. */
export const measuredForms: readonly ContestantName[] = ['steno-custody', 'steno-custody-tls']

const startedBefore = new Set<ContestantName>()

/**
 * Starts a contestant alone, hands it to `work`, and stops it. It is not the first start: that one compiles what later ones find compiled
 * (NODE_COMPILE_CACHE), and shows 30 MB more.
 */
export async function withContestant<T>(
  name: ContestantName,
  { database, folder }: MeasureContext,
  measure: string,
  work: (running: Running, pid: number, folder: string) => Promise<T>,
  environment: Readonly<Record<string, string>> = {},
): Promise<T> {
  const own = join(folder, `${measure}-${name}`)
  if (!startedBefore.has(name)) {
    startedBefore.add(name)
    const first = await startContestant(name, { database, folder: `${own}-first`, freshServerConnections: false })
    await first.stop()
  }
  const running = await startContestant(name, { database, folder: own, freshServerConnections: false, environment })
  try {
    if (running.proxy === null) throw new Error(`${name} has no proxy to measure`)
    return await work(running, running.proxy.pid, own)
  } finally {
    await running.stop()
    for (const used of [own, `${own}-first`]) await rm(used, { recursive: true, force: true })
  }
}

/** A budget for steno in full runs; peers and smoke runs have none. */
export function budgetOf(name: ContestantName, budget: number, { smoke }: MeasureContext): number | null {
  return name.startsWith('steno-') && !smoke ? budget : null
}
