/**
 * The benchmark: steno beside direct connections, a bare Node copy loop, HAProxy and PgBouncer, in alternating rounds on this machine.
 *
 * Starts a database of its own, runs the loads and the measures that were asked for, prints the results. Everything it starts it stops by its
 * process id, also on Ctrl-C. The exit status is 1 when a contestant failed, or, in a full run, when a budget was missed. `bench/README.md` says how to read it.
 */
import { writeFile, mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../base/errors.ts'
import type { EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { orUsage } from './command-line.ts'
import { startDatabase } from './database.ts'
import { loads } from './loads.ts'
import { measures } from './measures/all.ts'
import { parseOptions, usage, type Options } from './options.ts'
import { killEverything } from './processes.ts'
import { commandOf } from './programs.ts'
import { isWithinBudget, judgeLoads, type LoadResults, type MeasureResult, type RunResults } from './results.ts'
import { runRounds } from './rounds.ts'
import { drawResults } from './table.ts'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const interruption = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    // What runs now is cut short and everything is stopped; a second signal does not wait for that.
    if (interruption.signal.aborted) process.exit(130)
    say('interrupted: stopping what was started')
    interruption.abort()
    killEverything()
  })
}
process.on('exit', killEverything)

process.exitCode = await main(orUsage(usage, () => parseOptions(process.argv.slice(2))))

async function main(options: Options): Promise<number> {
  const startedAt = new Date()
  const loadAverage = loadavg()[0] ?? 0
  const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const outOfTime = AbortSignal.timeout(options.minutesMax * 60_000)
  const signal = AbortSignal.any([interruption.signal, outOfTime])
  const failures: string[] = []
  const onFailure = (text: string): void => {
    if (interruption.signal.aborted) return
    failures.push(text)
    say(`FAILED ${text}`)
  }
  try {
    say('starting a database and filling it')
    await using database = await startDatabase(options.bulkBytes)
    const run = { options, database, folder, signal, onFailure }
    const measured = await runMeasures(run)
    const loaded = await runLoads(run)
    if (outOfTime.aborted) onFailure(`stopped after ${options.minutesMax} minutes: what is missing was not measured`)
    if (interruption.signal.aborted) return 130
    const results = describeRun(options, startedAt, loadAverage, loaded, measured, failures)
    if (options.jsonFile !== null) await writeFile(options.jsonFile, `${JSON.stringify(results, null, 1)}\n`)
    process.stdout.write(drawResults(results))
    const missed = judgeLoads(loaded).some(({ met }) => !met) || !measured.every(isWithinBudget)
    return failures.length > 0 || (missed && !options.smoke) ? 1 : 0
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

type Run = {
  readonly options: Options
  readonly database: EmbeddedPostgres
  readonly folder: string
  readonly signal: AbortSignal
  readonly onFailure: (text: string) => void
}

async function runLoads({ options, database, folder, signal, onFailure }: Run): Promise<LoadResults[]> {
  const context = { pgbench: await commandOf('pgbench'), folder, seconds: options.seconds, bulkBytes: options.bulkBytes }
  const { contestants, rounds, smoke } = options
  const results: LoadResults[] = []
  for (const load of loads) {
    if (!options.loads.includes(load.name) || signal.aborted) continue
    const drainMillisecondsMax = smoke ? 2_000 : 15_000
    const how = { contestants, rounds, warmUp: !smoke, drainMillisecondsMax, signal }
    results.push(await runRounds(load, { ...how, database, context, onFailure, onProgress: say }))
  }
  return results
}

async function runMeasures({ options, database, folder, signal, onFailure }: Run): Promise<MeasureResult[]> {
  const { contestants, smoke, seconds, bulkBytes } = options
  const context = { pgbench: await commandOf('pgbench'), folder, seconds, bulkBytes, database, contestants, smoke }
  const results: MeasureResult[] = []
  for (const measure of measures) {
    if (!options.measures.includes(measure.name)) continue
    for (const contestant of smoke ? measure.contestants : [...measure.peers, ...measure.contestants]) {
      if (!contestants.includes(contestant) || signal.aborted) continue
      say(`${measure.name} ${contestant}`)
      try {
        results.push(...(await measure.take(contestant, context)))
      } catch (error) {
        onFailure(`${measure.name}, ${contestant}: ${messageOf(error)}`)
      }
    }
  }
  return results
}

function describeRun(
  options: Options,
  startedAt: Date,
  loadAverage: number,
  loaded: readonly LoadResults[],
  measured: readonly MeasureResult[],
  failures: readonly string[],
): RunResults {
  const { rounds, seconds, bulkBytes, smoke } = options
  return {
    version: 1,
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model.trim() ?? 'unknown',
      memoryBytes: totalmem(),
      kernel: release(),
      node: process.version,
      loadAverage,
    },
    startedAt: startedAt.toISOString(),
    tookSeconds: (Date.now() - startedAt.getTime()) / 1000,
    options: { rounds, seconds, bulkBytes, smoke },
    loads: loaded,
    measures: measured,
    failures,
  }
}
