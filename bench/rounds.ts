/**
 * Alternating rounds of one load: each round runs every contestant once, in an order that changes, so that no one always goes first
 * or always follows the same neighbour.
 *
 * Every proxy is started fresh for each load and warmed up by a round that is not counted. A contestant that fails drops out of its load
 * with a line in `failures`; the others go on.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { messageOf } from '../base/errors.ts'
import { isRecorder, startContestant, type ContestantName, type Running } from './contestants.ts'
import type { Load, LoadContext } from './loads.ts'
import { measureSlot, type Slot } from './slot.ts'
import type { LoadResults } from './results.ts'

export type RoundsOptions = {
  readonly contestants: readonly ContestantName[]
  readonly rounds: number
  readonly warmUp: boolean
  /** How long a recorder's sealing is waited for after each of its slots. */
  readonly drainMillisecondsMax: number
  readonly database: EmbeddedPostgres
  readonly context: LoadContext
  /** Ends the run between two slots. */
  readonly signal: AbortSignal
  readonly onFailure: (text: string) => void
  readonly onProgress: (text: string) => void
}

export async function runRounds(load: Load, options: RoundsOptions): Promise<LoadResults> {
  const { contestants, rounds, context, signal } = options
  const running = new Map<ContestantName, Running>()
  const slots = new Map<ContestantName, Slot[]>(contestants.map((name) => [name, []]))
  try {
    for (const name of contestants) {
      if (signal.aborted) break
      await attempt(name, async () => {
        const folder = join(context.folder, `${load.name}-${name}`)
        const { database } = options
        running.set(name, await startContestant(name, { database, folder, freshServerConnections: load.freshServerConnections }))
      })
    }
    for (let round = options.warmUp ? 0 : 1; round <= rounds; round++) {
      for (const name of orderOf(contestants, round)) {
        const contestant = running.get(name)
        if (contestant === undefined || signal.aborted) continue
        await attempt(name, async () => {
          const slot = await measureSlot(load, contestant, context, {
            round,
            drainMillisecondsMax: isRecorder(name) ? options.drainMillisecondsMax : 0,
          })
          options.onProgress(`${load.name} round ${round} ${name}: ${slot.perSecond.toFixed(1)} ${load.unit}/s`)
          if (round > 0) slots.get(name)?.push(slot)
        })
      }
    }
  } finally {
    await Promise.all([...running.values()].map((contestant) => contestant.stop()))
    for (const name of contestants) await rm(join(context.folder, `${load.name}-${name}`), { recursive: true, force: true })
  }
  const measured = contestants.map((name) => ({ name, slots: slots.get(name) ?? [] })).filter((entry) => entry.slots.length > 0)
  return { name: load.name, question: load.question, unit: load.unit, contestants: measured }

  async function attempt(name: ContestantName, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const contestant = running.get(name)
      running.delete(name)
      await contestant?.stop()
      options.onFailure(`${load.name}, ${name}: ${messageOf(error)}`)
    }
  }
}

/** The order of one round: it begins one place further each time, and every other round runs backwards. */
export function orderOf<T>(contestants: readonly T[], round: number): T[] {
  const start = contestants.length === 0 ? 0 : round % contestants.length
  const rotated = [...contestants.slice(start), ...contestants.slice(0, start)]
  return round % 2 === 0 ? rotated : rotated.toReversed()
}
