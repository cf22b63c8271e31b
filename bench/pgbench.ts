/**
 * Runs PostgreSQL's own pgbench and reads what it prints: throughput from its summary, latencies from its log of transactions.
 *
 * The log takes one transaction in ten, to keep its cost small; at least a hundred lines are wanted for a p99. A run with a failed
 * transaction, or with none, throws: it must not pass for a fast one.
 */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from './processes.ts'
import { percentile } from './statistics.ts'
import { keyRows } from './database.ts'

export type PgbenchOptions = {
  readonly command: readonly string[]
  readonly environment: NodeJS.ProcessEnv
  readonly port: number
  readonly clients: number
  readonly protocol: 'simple' | 'extended' | 'prepared'
  readonly script: PgbenchScript
  /** Connect anew for each transaction (`-C`). */
  readonly reconnect: boolean
  /** Whole seconds; pgbench knows no others. */
  readonly seconds: number
  /** A folder for the script and the log; they are removed again. */
  readonly folder: string
}

export type PgbenchScript = keyof typeof scripts
const scripts = {
  key: `\\set id random(1, ${keyRows})\nselect id, payload from bench_key where id = :id;\n`,
  rows: `\\set low random(1, ${keyRows - 1000})\nselect id, payload from bench_key where id between :low and :low + 999;\n`,
  one: 'select 1;\n',
}

export type PgbenchResult = {
  readonly transactions: number
  /** Without the first connections; with `reconnect`, with all of them. */
  readonly perSecond: number
  readonly latencyMilliseconds: { readonly p50: number; readonly p99: number } | null
}

const logSamplingRate = 0.1
/** Fewer than this and a p99 is one unlucky moment. */
const latencyLinesMin = 100
const startMillisecondsMax = 10_000

export async function runPgbench(options: PgbenchOptions): Promise<PgbenchResult> {
  const folder = await mkdtemp(join(options.folder, 'pgbench-'))
  try {
    const script = join(folder, 'script.sql')
    await writeFile(script, scripts[options.script])
    const output = await runProgram([...options.command, ...parametersOf(options, script)], {
      environment: options.environment,
      directory: folder,
      millisecondsMax: options.seconds * 1000 + startMillisecondsMax,
    })
    const logs = (await readdir(folder)).filter((name) => name.startsWith('log.'))
    const texts = await Promise.all(logs.map((name) => readFile(join(folder, name), 'latin1')))
    return { ...parseSummary(output), latencyMilliseconds: latenciesOf(texts.join('')) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function parametersOf(options: PgbenchOptions, script: string): string[] {
  const load = ['-n', '-M', options.protocol, '-f', script, '-c', String(options.clients), '-j', '1', '-T', String(options.seconds)]
  const log = ['--log', '--log-prefix=log', `--sampling-rate=${logSamplingRate}`]
  return [...load, ...log, ...(options.reconnect ? ['-C'] : []), '-h', '127.0.0.1', '-p', String(options.port), 'postgres']
}

/** The counts of pgbench's summary. Throws when transactions failed, or none ran, or the text is not a summary. */
export function parseSummary(output: string): Pick<PgbenchResult, 'transactions' | 'perSecond'> {
  const number = (pattern: RegExp): number | null => {
    const found = pattern.exec(output)
    return found === null ? null : Number(found[1])
  }
  const transactions = number(/^number of transactions actually processed: (\d+)/m)
  const failed = number(/^number of failed transactions: (\d+)/m) ?? 0
  const perSecond = number(/^tps = ([\d.]+) \((?:without initial connection time|including reconnection times)\)/m)
  if (transactions === null || perSecond === null) throw new Error(`pgbench printed no summary: ${output.slice(-500)}`)
  if (failed > 0) throw new Error(`${failed} transactions failed`)
  if (transactions === 0 || !(perSecond > 0)) throw new Error('pgbench ran no transaction')
  return { transactions, perSecond }
}

/** Median and 99th percentile of a transaction log: its third column is microseconds. Null when there are too few lines to say. */
export function latenciesOf(log: string): PgbenchResult['latencyMilliseconds'] {
  const microseconds = log.split('\n').flatMap((line) => {
    const columns = line.split(' ')
    const value = Number(columns[2])
    return columns.length >= 6 && Number.isFinite(value) ? [value] : []
  })
  if (microseconds.length < latencyLinesMin) return null
  return { p50: percentile(microseconds, 0.5) / 1000, p99: percentile(microseconds, 0.99) / 1000 }
}
