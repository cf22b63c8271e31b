/**
 * Does a sidecar fit beside an agent? Budgets: ready within 1 s of its process's start; at most 96 MiB in everyday use, which is what it
 * requests, and 200 MiB under everything, both as the kubelet counts (working set).
 *
 * `e2e/cluster/exec node bench/sidecar.ts [rounds [state…]]` on a cluster whose node is this machine, with steno installed: a pod as its developer
 * writes it, with the sidecar that the webhook gives it, over TLS to the database. Each state is a pod of its own, so that none pays for the
 * one before. Columns, in MiB, each the median of the rounds: the working set at its most while the load lasts, own pages at their most, the
 * most that was resident with the pages of the program that all containers of the image share, and the working set when it has been quiet.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf, type ContainerMemory } from '../e2e/kubernetes/support/memory.ts'
import { kubectl, ran } from '../e2e/kubernetes/support/kubectl.ts'
import { agentPod, openShop, startAgent, type Shop } from '../e2e/kubernetes/support/shop.ts'
import { orTold, readCommandLine, wholeNumber } from './command-line.ts'
import { median } from './statistics.ts'

const everydayBytesMax = 96 * 1024 * 1024
const worstBytesMax = 200 * 1024 * 1024
const readyMillisecondsMax = 1_000
const sampleMilliseconds = 100
const settleMilliseconds = 10_000

type State = {
  readonly name: string
  /** What the agent does, for a shell; null for nothing. */
  readonly script: string | null
  readonly bytesMax: number
}

const psql = 'psql "$DATABASE_URL" -qAt'
/** Keeps sessions busy with small queries for ten seconds. */
const chatting = (sessions: number): string =>
  `for n in $(seq ${sessions}); do (for i in $(seq 50); do echo "select * from orders where id = $i;"; sleep 0.2; done | ${psql} >/dev/null) & done; wait`

const states: readonly State[] = [
  { name: 'nothing said yet', script: null, bytesMax: everydayBytesMax },
  { name: '1 session, small queries', script: chatting(1), bytesMax: everydayBytesMax },
  { name: '20 sessions, small queries', script: chatting(20), bytesMax: everydayBytesMax },
  { name: '90 sessions, small queries', script: chatting(90), bytesMax: worstBytesMax },
  {
    name: 'ten results of 20 MB at once',
    script: `for n in $(seq 10); do ${psql} -c "select repeat('x', 1000) from generate_series(1, 20000)" >/dev/null & done; wait`,
    bytesMax: worstBytesMax,
  },
  {
    name: 'a result of 100 MB in rows of 1 kB',
    script: `${psql} -c "select repeat('x', 1000) from generate_series(1, 100000)" >/dev/null`,
    bytesMax: worstBytesMax,
  },
  { name: 'a result of 100 MB in one row', script: `${psql} -c "select repeat('x', 100000000)" >/dev/null`, bytesMax: worstBytesMax },
  {
    name: 'COPY of 100 MB into the database',
    script: `yes 0123456789012345678901234567890123456789 | head -c 100000000 | ${psql} -c "create temp table big (line text)" -c "copy big from stdin"`,
    bytesMax: worstBytesMax,
  },
]

const usage = `usage: node bench/sidecar.ts [ROUNDS [STATE...]]
  ROUNDS    pods for each state (3), about 40 s each
  STATE     only these (all):
${states.map(({ name }, number) => `            ${number}  ${name}`).join('\n')}
  --help
Wants a cluster with steno in it whose node is this machine.`

type Measured = { readonly readyMilliseconds: number; readonly most: ContainerMemory; readonly after: ContainerMemory }

let podNumber = 0

async function measure(shop: Shop, { name: state, script }: State): Promise<Measured> {
  const name = `measured-${podNumber++}`
  const load = `while [ ! -e /tmp/go ]; do sleep 0.1; done; (${script}) && touch /tmp/done || touch /tmp/failed; sleep 3600`
  await startAgent(shop.namespace, agentPod(name, script === null ? {} : { command: ['sh', '-c', load] }))
  const readyMilliseconds = await readyOf(shop.namespace, name)
  const inAgent = (command: string) => ran('kubectl', ['-n', shop.namespace, 'exec', name, '-c', 'agent', '--', 'sh', '-c', command])
  let most = await memoryOf(shop.namespace, name, 'steno')
  const sample = async (): Promise<ContainerMemory> => {
    const now = await memoryOf(shop.namespace, name, 'steno')
    most = {
      ownBytes: Math.max(most.ownBytes, now.ownBytes),
      programBytes: now.programBytes,
      peakBytes: now.peakBytes,
      workingSetBytes: Math.max(most.workingSetBytes, now.workingSetBytes),
    }
    return now
  }
  if (script !== null) {
    let ended: string | null = null
    const waiting = inAgent('touch /tmp/go; while [ ! -e /tmp/done ] && [ ! -e /tmp/failed ]; do sleep 0.1; done; ls /tmp').then(
      ({ stdout }) => (ended = stdout),
    )
    while (ended === null) {
      await sample()
      await sleep(sampleMilliseconds)
    }
    if (!/^done$/m.test(await waiting)) throw new Error(`the load failed: ${state}`)
  }
  await sleep(settleMilliseconds)
  const after = await sample()
  await kubectl(['-n', shop.namespace, 'delete', 'pod', name, '--wait=false'])
  return { readyMilliseconds, most, after }
}

/** From the process's start, which Kubernetes knows to the second only, to the line of its log that says that it records. */
async function readyOf(namespace: string, name: string): Promise<number> {
  const log = await kubectl(['-n', namespace, 'logs', name, '-c', 'steno'])
  const milliseconds = /"startMilliseconds":(\d+)/.exec(log)?.[1]
  if (milliseconds === undefined) throw new Error(`the sidecar does not say that it records:\n${log}`)
  return Number(milliseconds)
}

const nameCharacters = 36
const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(0)

async function main(): Promise<void> {
  const { rounds, chosen } = readCommandLine(usage, { positionals: true }, ({ positionals: [count, ...numbers] }) => ({
    rounds: wholeNumber(count, { fallback: 3, name: 'ROUNDS' }),
    chosen: numbers.map((text) => {
      const number = wholeNumber(text, { fallback: 0, name: 'STATE', least: 0 })
      if (number >= states.length) throw new Error(`there is no state ${number}`)
      return number
    }),
  }))
  await using shop = await orTold('bench/sidecar', openShop)
  const failures: string[] = []
  console.log(`${'MiB'.padEnd(nameCharacters)} | working set | own | resident | when quiet | budget | ready after ms`)
  for (const state of states.filter((_, number) => chosen.length === 0 || chosen.includes(number))) {
    const measured: Measured[] = []
    for (let round = 0; round < rounds; round++) measured.push(await measure(shop, state))
    const of = (pick: (one: Measured) => number): number => median(measured.map(pick))
    const workingSet = of(({ most }) => most.workingSetBytes)
    const ready = of(({ readyMilliseconds }) => readyMilliseconds)
    if (workingSet > state.bytesMax) failures.push(`${state.name}: ${mebibytes(workingSet)} MiB`)
    if (ready > readyMillisecondsMax) failures.push(`${state.name}: ready after ${ready} ms`)
    const cells: readonly [string, number][] = [
      [mebibytes(workingSet), 11],
      [mebibytes(of(({ most }) => most.ownBytes)), 3],
      [mebibytes(of(({ most }) => most.peakBytes)), 8],
      [mebibytes(of(({ after }) => after.workingSetBytes)), 10],
      [mebibytes(state.bytesMax), 6],
      [ready.toFixed(0), 14],
    ]
    console.log([state.name.padEnd(nameCharacters), ...cells.map(([text, width]) => text.padStart(width))].join(' | '))
  }
  for (const failure of failures) console.log(`over budget: ${failure}`)
  process.exitCode = failures.length === 0 ? 0 : 1
}

await main()
