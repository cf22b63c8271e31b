/**
 * What does the whole way of a cluster cost a query: agent, sidecar, relay, TLS database? Aim: at least 0.60 of the throughput of one plain HAProxy
 * at 1, 8 and 32 clients; HAProxy twice, with TLS where steno has it, is beside it for what any two proxies cost.
 *
 * `node bench/whole-way.ts`, under 4 minutes; `--help` for less. pgbench, prepared, one row by key; everybody on this machine, over 127.0.0.1, so that
 * all share its cores. The sidecar is `steno sidecar` as a process, recording into a folder; the relay is a process that says yes without a cluster.
 * Each round runs every number of clients on every way, in an order that changes; ratios are of two ways within a round. The first round warms up
 * and is not counted. Towards steno's sidecar pgbench is plain and the sidecar makes the TLS that the database ends; through HAProxy twice pgbench has to
 * make it (`sslmode=require`), so compare *all*, not the proxies' columns alone. CPU includes a run's log-ins, queries/s does not. *after* is the
 * sealing when a load has ended, which the next one waits for, 4 s at most. Not here: a network, a cluster's checks as tunnels open, control. The exit
 * status is 0 when it ran, whether the aim was reached or not.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCommandLine, wholeNumber, type Given } from './command-line.ts'
import { startDatabase } from './database.ts'
import { loads, type Load } from './loads.ts'
import { killEverything } from './processes.ts'
import { commandOf } from './programs.ts'
import { orderOf } from './rounds.ts'
import { measureTurn, type Turn } from './whole-way/cost.ts'
import { aim, drawMeasured } from './whole-way/table.ts'
import { startWays, wayNames, type WayName } from './whole-way/ways.ts'

const clientCounts = [1, 8, 32]
/** From so many on a run lasts twice as long: pgbench logs its clients in one after the other, within the run. */
const manyClients = 32
const usage = `usage: node bench/whole-way.ts [options]
  --clients LIST     comma-separated, of ${clientCounts.join(',')} (all)
  --rounds N         counted rounds (5), after one to warm up
  --seconds S        whole seconds of each pgbench run (2), twice that with ${manyClients} clients
  --minutes-max M    begin no further round after this long (3)
  --help`

type Options = {
  readonly clients: readonly number[]
  readonly rounds: number
  readonly seconds: number
  readonly minutesMax: number
}

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const interruption = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (interruption.signal.aborted) process.exit(130)
    interruption.abort(new Error('interrupted'))
    killEverything()
  })
}
process.on('exit', killEverything)

await main(readCommandLine(usage, { texts: ['clients', 'rounds', 'seconds', 'minutes-max'] }, parseOptions))

async function main({ clients, rounds, seconds, minutesMax }: Options): Promise<void> {
  const begun = performance.now()
  const minutes = (): number => (performance.now() - begun) / 60_000
  const loadAverage = loadavg()[0] ?? 0
  const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const measured = clients.map((count) => ({
    load: loadOf(count),
    seconds: count >= manyClients ? 2 * seconds : seconds,
    turns: new Map<WayName, Turn[]>(wayNames.map((name) => [name, []])),
  }))
  let counted = 0
  try {
    await using database = await startDatabase(0)
    await using ways = await startWays(database, folder)
    const pgbench = await commandOf('pgbench')
    for (let round = 0; round <= rounds && (counted === 0 || minutes() < minutesMax); round++) {
      for (const { load, turns, seconds: runSeconds } of orderOf(measured, round)) {
        for (const name of orderOf(wayNames, round)) {
          interruption.signal.throwIfAborted()
          const turn = await measureTurn(load, ways[name], { pgbench, folder, seconds: runSeconds, bulkBytes: 0 }, database.pid, round)
          say(`round ${round} ${load.name} ${name}: ${turn.perSecond.toFixed(0)} queries/s`)
          if (round > 0) turns.get(name)?.push(turn)
        }
      }
      counted = round
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const lines = [
    `${cpus().length} x ${cpus()[0]?.model ?? '?'}, Node ${process.version}, load average at start ${loadAverage.toFixed(2)}`,
    `${counted} rounds of ${seconds} s (${2 * seconds} s with ${manyClients} clients) after one to warm up, in ${minutes().toFixed(1)} min; median (lowest..highest); aim: ${aim.toFixed(2)} of one HAProxy`,
    ...(counted < rounds ? [`stopped after ${minutesMax} min: ${rounds - counted} rounds were not run`] : []),
    '',
    drawMeasured(measured.map(({ load, turns }) => ({ load: load.name, turns }))),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

function loadOf(clients: number): Load {
  const load = loads.find(({ name }) => name === `prepared-${clients}`)
  if (load === undefined) throw new Error(`no load has ${clients} clients`)
  return load
}

function parseOptions(given: Given): Options {
  const clients = given.text('clients')?.split(',').map(Number) ?? clientCounts
  if (clients.some((count) => !clientCounts.includes(count))) throw new Error(`--clients takes ${clientCounts.join(', ')}`)
  const numberOf = (name: string, fallback: number): number => wholeNumber(given.text(name), { fallback, name: `--${name}` })
  return { clients, rounds: numberOf('rounds', 5), seconds: numberOf('seconds', 2), minutesMax: numberOf('minutes-max', 3) }
}
