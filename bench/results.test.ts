import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ContestantName } from './contestants.ts'
import { parseCollections } from './measures/mark-compacts.ts'
import { parseOptions } from './options.ts'
import { isWithinBudget, judgeLoads, type LoadResults, type MeasureResult, type RunResults } from './results.ts'
import { orderOf } from './rounds.ts'
import { drawResults, drawTable } from './table.ts'

function loadOf(name: string, throughputs: Partial<Record<ContestantName, readonly number[]>>): LoadResults {
  const contestants = Object.entries(throughputs).map(([contestant, values]) => ({
    name: contestant as ContestantName,
    slots: values.map((perSecond, index) => ({ round: index + 1, perSecond, latencyMilliseconds: null, proxy: null })),
  }))
  return { name, question: 'Is it fast?', unit: 'query', contestants }
}

const runOf = (loads: readonly LoadResults[], measures: readonly MeasureResult[] = [], failures: readonly string[] = []): RunResults => ({
  version: 1,
  machine: { cpus: 2, model: 'a machine', memoryBytes: 2 ** 33, kernel: '6.1', node: 'v24.0.0', loadAverage: 0.1 },
  startedAt: '2026-01-01T00:00:00.000Z',
  tookSeconds: 60,
  options: { rounds: 3, seconds: 2, bulkBytes: 2e8, smoke: false },
  loads,
  measures,
  failures,
})

const memory = (value: number, budget: number | null): MeasureResult => ({
  name: 'idle, resident',
  contestant: 'steno-custody',
  value,
  unit: 'MB',
  budget,
  note: '',
})

test('steno is judged against the copy loop of the same transport, and with TLS against PgBouncer too', () => {
  const judged = judgeLoads([
    loadOf('simple-8', {
      'node-copy': [100],
      'node-copy-tls': [50],
      'pgbouncer-tls': [100],
      'steno-custody': [84],
      'steno-custody-tls': [43],
    }),
  ])
  assert.deepEqual(
    judged.map(({ contestant, against, met }) => [contestant, against, met]),
    [
      ['steno-custody-tls', 'pgbouncer-tls', false],
      ['steno-custody', 'node-copy', false],
      ['steno-custody-tls', 'node-copy-tls', true],
    ],
  )
})

test('a ratio exactly at its budget is met, and a hair below is not', () => {
  const met = (steno: number): boolean | undefined => judgeLoads([loadOf('x', { 'node-copy': [100], 'steno-custody': [steno] })])[0]?.met
  assert.equal(met(85), true)
  assert.equal(met(84.99), false)
})

test('the worst load is named first', () => {
  const text = drawResults(
    runOf([
      loadOf('simple-1', { 'node-copy': [100], 'steno-custody': [99] }),
      loadOf('copy-in', { 'node-copy': [100], 'steno-custody': [30] }),
      loadOf('result', { 'node-copy': [100], 'steno-custody': [90] }),
    ]),
  )
  assert.ok(text.indexOf('copy-in') < text.indexOf('result') && text.indexOf('result') < text.indexOf('simple-1'))
  assert.ok(text.indexOf('copy-in:') < text.indexOf('result:') && text.indexOf('result:') < text.indexOf('simple-1:'))
  assert.match(text, /2 of 3 met/)
  assert.match(text, /copy-in +steno-custody +node-copy +0\.30 \(0\.30\.\.0\.30\) +0\.85 +FAIL/)
})

test('without the peer there is no verdict, rather than a good one', () => {
  assert.deepEqual(judgeLoads([loadOf('simple-1', { haproxy: [100], 'steno-custody': [1] })]), [])
})

test('a smoke run gives no verdict, good or bad', () => {
  const run = runOf([loadOf('simple-1', { 'node-copy': [100], 'steno-custody': [1] })])
  assert.doesNotMatch(drawResults({ ...run, options: { ...run.options, smoke: true } }), /pass|FAIL/)
  assert.match(drawResults(run), /FAIL/)
})

test('a measure is within its budget up to it, and one without a budget always', () => {
  assert.equal(isWithinBudget(memory(80, 80)), true)
  assert.equal(isWithinBudget(memory(80.1, 80)), false)
  assert.equal(isWithinBudget(memory(500, null)), true)
  assert.match(drawResults(runOf([], [memory(80.1, 80)])), /80\.1 MB +80 +FAIL/)
})

test('what failed stands in the drawing', () => {
  assert.match(drawResults(runOf([], [], ['simple-1, haproxy: it ended'])), /FAILED\n {2}simple-1, haproxy: it ended/)
})

test('a recorder that was still sealing is drawn with a lower bound', () => {
  const proxy = {
    cpuMicroseconds: 20,
    mainThreadMicroseconds: 18,
    afterMicroseconds: 7,
    drained: false,
    residentBytesPeak: 7e7,
    anonymousBytesPeak: 2e7,
  }
  const slots = [{ round: 1, perSecond: 5, latencyMilliseconds: { p50: 1, p99: 2 }, proxy }]
  const text = drawResults(runOf([{ name: 'x', question: 'Is it fast?', unit: 'query', contestants: [{ name: 'steno-custody', slots }] }]))
  assert.match(text, /steno-custody +5 \(5\.\.5\) +1\.00 +2\.00 +20\.0 +18\.0 +>7\.0 +70 +20/)
})

test('columns line up', () => {
  assert.equal(
    drawTable(
      ['who', 'count'],
      [
        ['a', '1'],
        ['bcde', '100'],
      ],
    ),
    'who   count\n----  -----\na         1\nbcde    100',
  )
})

// Goal: nobody profits from a place in the order. Method: over as many rounds as contestants, each has each place once per direction.
test('over a cycle of rounds every contestant goes first, and all run in every round', () => {
  const names = ['a', 'b', 'c', 'd', 'e']
  const orders = Array.from({ length: 10 }, (_, round) => orderOf(names, round))
  for (const order of orders) assert.deepEqual(order.toSorted(), names)
  assert.deepEqual(new Set(orders.map(([first]) => first)), new Set(names))
  assert.deepEqual(orderOf([], 3), [])
})

test('an observer that saw nothing is a failure, not a proof that nothing was collected', () => {
  assert.throws(() => parseCollections(''), /no collection/)
  assert.deepEqual(parseCollections('1000 other\n1001 mark-compact\n10'), [
    { atMilliseconds: 1000, isMarkCompact: false },
    { atMilliseconds: 1001, isMarkCompact: true },
  ])
})

test('an unknown load, contestant or number is refused with what is known', () => {
  assert.throws(() => parseOptions(['--only', 'simple-9']), /simple-9/)
  assert.throws(() => parseOptions(['--contestants', 'steno']), /steno-custody/)
  assert.throws(() => parseOptions(['--rounds', '0']), /--rounds/)
  assert.throws(() => parseOptions(['--seconds', '1.5']), /--seconds/)
  assert.throws(() => parseOptions(['--round', '1']))
  assert.deepEqual(parseOptions(['--only', 'result,simple-1', '--measures', 'none']).loads, ['simple-1', 'result'])
})
