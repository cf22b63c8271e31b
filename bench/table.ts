/**
 * Draws a run's results as text: one table of loads, verdicts with the worst first, and the further measures.
 *
 * Pure but for the command line at the end: `node bench/table.ts FILE` draws a file that `--json` wrote. Figures with too few rounds
 * behind them are drawn as they are; the header says how many rounds there were.
 */
import { readFile } from 'node:fs/promises'
import { budgets, isWithinBudget, judgeLoads, ratioOf, type Judgement, type LoadResults, type RunResults } from './results.ts'
import { contestantNames, type ContestantName } from './contestants.ts'
import { drawSpread, median, spread } from './statistics.ts'
import type { ProxyCost, Slot } from './slot.ts'

const megabyte = 1e6

/** The whole of a run, ready to print. */
export function drawResults(results: RunResults): string {
  const { machine, options } = results
  const judgements = options.smoke ? [] : judgeLoads(results.loads)
  const head = [
    `${machine.cpus} x ${machine.model}, ${(machine.memoryBytes / 2 ** 30).toFixed(0)} GiB, Linux ${machine.kernel}, Node ${machine.node}, load average at start ${machine.loadAverage.toFixed(2)}`,
    `${results.startedAt}, ${options.rounds} rounds of ${options.seconds} s after ${options.smoke ? 'no warm-up' : 'one to warm up'}, large transfers of ${(options.bulkBytes / megabyte).toFixed(0)} MB, took ${(results.tookSeconds / 60).toFixed(1)} min`,
    ...(options.smoke ? ['A smoke run: it shows that everything works. Its figures are of cold programs and judge nothing.'] : []),
  ]
  const parts = [
    head.join('\n'),
    drawVerdicts(judgements),
    drawMeasures(results),
    drawLoads(results.loads, judgements),
    results.failures.length === 0 ? '' : `FAILED\n${results.failures.map((failure) => `  ${failure}`).join('\n')}`,
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function drawVerdicts(judgements: readonly Judgement[]): string {
  if (judgements.length === 0) return ''
  const rows = judgements.map(({ load, contestant, against, ratio, budget, met }) => {
    const aim = against === 'pgbouncer-tls' ? `${budget.toFixed(2)} (aim ${budgets.pgbouncerTlsAim})` : budget.toFixed(2)
    return [load, contestant, against, drawSpread(ratio, 2), aim, met ? 'pass' : 'FAIL']
  })
  const missed = judgements.filter(({ met }) => !met).length
  const title = `Throughput budgets, worst first: ${judgements.length - missed} of ${judgements.length} met`
  return `${title}\n${drawTable(['load', 'contestant', 'against', 'ratio (min..max)', 'at least', ''], rows)}`
}

function drawMeasures({ measures }: RunResults): string {
  if (measures.length === 0) return ''
  const rows = measures.map((measure) => {
    const value = measure.unit === 'MB' ? measure.value.toFixed(1) : measure.value.toFixed(0)
    const verdict = measure.budget === null ? '' : isWithinBudget(measure) ? 'pass' : 'FAIL'
    return [measure.name, measure.contestant, `${value} ${measure.unit}`, measure.budget?.toFixed(0) ?? '', verdict, measure.note]
  })
  return `Memory and collections\n${drawTable(['measure', 'contestant', 'value', 'at most', '', 'note'], rows)}`
}

function drawLoads(loads: readonly LoadResults[], judgements: readonly Judgement[]): string {
  const worst = [...new Set(judgements.map(({ load }) => load))]
  const place = (name: string): number => (worst.includes(name) ? worst.indexOf(name) : worst.length)
  const sorted = loads.toSorted((left, right) => place(left.name) - place(right.name))
  return sorted.map((load) => drawLoad(load, judgements)).join('\n\n')
}

function drawLoad(load: LoadResults, judgements: readonly Judgement[]): string {
  const rows = contestantNames.flatMap((name) => {
    const slots = load.contestants.find((contestant) => contestant.name === name)?.slots ?? []
    if (slots.length === 0) return []
    const own = judgements.filter((judgement) => judgement.load === load.name && judgement.contestant === name)
    const verdict = own.length === 0 ? '' : own.every(({ met }) => met) ? 'pass' : 'FAIL'
    return [[name, ...drawSlots(slots), ...drawRatios(load, name), verdict]]
  })
  const header = [
    '',
    `${load.unit}/s (min..max)`,
    'p50 ms',
    'p99 ms',
    `CPU us/${load.unit}`,
    'its main thread',
    'sealing after',
    'RSS MB',
    'own MB',
    'of node-copy',
    'of pgbouncer-tls',
    'of haproxy',
    'budget',
  ]
  return `${load.name}: ${load.question}\n${drawTable(header, rows)}`
}

function drawSlots(slots: readonly Slot[]): string[] {
  const latency = (pick: 'p50' | 'p99'): string => {
    const values = slots.flatMap(({ latencyMilliseconds }) => (latencyMilliseconds === null ? [] : [latencyMilliseconds[pick]]))
    return values.length === 0 ? '' : median(values).toFixed(2)
  }
  const costs = slots.flatMap(({ proxy }) => (proxy === null ? [] : [proxy]))
  const cost = (pick: (proxy: ProxyCost) => number): number | null => (costs.length === 0 ? null : median(costs.map(pick)))
  const after = cost((proxy) => proxy.afterMicroseconds)
  return [
    drawSpread(spread(slots.map(({ perSecond }) => perSecond)), 0),
    latency('p50'),
    latency('p99'),
    cost((proxy) => proxy.cpuMicroseconds)?.toFixed(1) ?? '',
    cost((proxy) => proxy.mainThreadMicroseconds)?.toFixed(1) ?? '',
    // Still busy when the wait ended: what is known is a lower bound, and is drawn as one.
    after === null ? '' : `${costs.every(({ drained }) => drained) ? '' : '>'}${after.toFixed(1)}`,
    costs.length === 0 ? '' : (Math.max(...costs.map((proxy) => proxy.residentBytesPeak)) / megabyte).toFixed(0),
    costs.length === 0 ? '' : (Math.max(...costs.map((proxy) => proxy.anonymousBytesPeak)) / megabyte).toFixed(0),
  ]
}

function drawRatios(load: LoadResults, name: ContestantName): string[] {
  const sameTransport: ContestantName = name.endsWith('-tls') ? 'node-copy-tls' : 'node-copy'
  return ([sameTransport, 'pgbouncer-tls', 'haproxy'] as const).map((against) => {
    const ratio = against === name ? null : ratioOf(load, name, against)
    return ratio === null ? '' : ratio.median.toFixed(2)
  })
}

/** Columns as wide as their widest cell; those that hold figures are aligned to the right. */
export function drawTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const isFigure = header.map((_, column) => rows.length > 0 && rows.every((row) => /^[\d>(]|^$/.test(row[column] ?? '')))
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, column) => (isFigure[column] === true ? (cells[column] ?? '').padStart(width) : (cells[column] ?? '').padEnd(width)))
      .join('  ')
      .trimEnd()
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

/** Reads a file of results. Throws when it is not one, or is of another version. */
export async function readResults(file: string): Promise<RunResults> {
  const value: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (typeof value !== 'object' || value === null || !('version' in value) || !('loads' in value) || !('measures' in value)) {
    throw new Error(`${file} holds no benchmark results`)
  }
  if (value.version !== 1) throw new Error(`${file} is of version ${String(value.version)}, and version 1 is what can be read`)
  return value as RunResults // Written by `run.ts` of the same version.
}

if (import.meta.main) {
  const [file] = process.argv.slice(2)
  if (file === undefined) throw new Error('usage: node bench/table.ts FILE')
  process.stdout.write(drawResults(await readResults(file)))
}
