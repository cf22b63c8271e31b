/**
 * The shape of a run's results, as `--json` keeps them and `table.ts` draws them, and the budgets they are judged by.
 *
 * Judging is pure: the same file always gives the same verdicts. Version 1; another version is refused by its reader.
 */
import type { ContestantName } from './contestants.ts'
import { pairedRatio, type Spread } from './statistics.ts'
import type { Slot } from './slot.ts'

export type RunResults = {
  readonly version: 1
  readonly machine: {
    readonly cpus: number
    readonly model: string
    readonly memoryBytes: number
    readonly kernel: string
    readonly node: string
    /** Load average of the last minute when the run began: above a few tenths the machine was not quiet. */
    readonly loadAverage: number
  }
  readonly startedAt: string
  readonly tookSeconds: number
  readonly options: { readonly rounds: number; readonly seconds: number; readonly bulkBytes: number; readonly smoke: boolean }
  readonly loads: readonly LoadResults[]
  readonly measures: readonly MeasureResult[]
  /** Everything that went wrong; a run with an entry here has no verdict to give on what is missing. */
  readonly failures: readonly string[]
}

export type LoadResults = {
  readonly name: string
  readonly question: string
  readonly unit: 'query' | 'MB' | 'connect'
  readonly contestants: readonly { readonly name: ContestantName; readonly slots: readonly Slot[] }[]
}

export type MeasureResult = {
  readonly name: string
  readonly contestant: string
  readonly value: number
  readonly unit: 'MB' | 'collections'
  /** The most that is allowed; null where the figure stands beside for comparison. */
  readonly budget: number | null
  /** What must be known to read the figure. */
  readonly note: string
}

/** Throughput of steno beside that of a peer, as a share: the least that is asked. */
export const budgets = { nodeCopy: 0.85, pgbouncerTls: 0.8, pgbouncerTlsAim: 0.95 } as const

export type Judgement = {
  readonly load: string
  readonly contestant: ContestantName
  readonly against: ContestantName
  readonly ratio: Spread
  readonly budget: number
  readonly met: boolean
}

/** Every budgeted ratio of a run, the worst first: lowest by how much of its budget it reaches. */
export function judgeLoads(loads: readonly LoadResults[]): Judgement[] {
  const judgements = loads.flatMap((load) =>
    load.contestants.flatMap(({ name }) => {
      if (!name.startsWith('steno-')) return []
      const tls = name.endsWith('-tls')
      return [
        judge(load, name, tls ? 'node-copy-tls' : 'node-copy', budgets.nodeCopy),
        ...(tls ? [judge(load, name, 'pgbouncer-tls', budgets.pgbouncerTls)] : []),
      ].filter((judgement) => judgement !== null)
    }),
  )
  return judgements.toSorted((left, right) => left.ratio.median / left.budget - right.ratio.median / right.budget)
}

function judge(load: LoadResults, contestant: ContestantName, against: ContestantName, budget: number): Judgement | null {
  const ratio = ratioOf(load, contestant, against)
  return ratio === null ? null : { load: load.name, contestant, against, ratio, budget, met: ratio.median >= budget }
}

/** Throughput of one contestant in shares of another's, paired by round; null when they share no round. */
export function ratioOf(load: LoadResults, contestant: ContestantName, against: ContestantName): Spread | null {
  return pairedRatio(throughputs(load, contestant), throughputs(load, against))
}

function throughputs(load: LoadResults, name: ContestantName): Map<number, number> {
  const slots = load.contestants.find((contestant) => contestant.name === name)?.slots ?? []
  return new Map(slots.map(({ round, perSecond }) => [round, perSecond]))
}

/** True when a measure stays within its budget, or has none. */
export function isWithinBudget({ value, budget }: MeasureResult): boolean {
  return budget === null || value <= budget
}
