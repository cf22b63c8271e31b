import assert from 'node:assert/strict'
import { test } from 'node:test'
import { latenciesOf, parseSummary } from './pgbench.ts'

const summary = `pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: script.sql
scaling factor: 1
query mode: prepared
number of clients: 8
number of threads: 1
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 59213
number of failed transactions: 0 (0.000%)
latency average = 0.270 ms
initial connection time = 12.345 ms
tps = 29640.123456 (without initial connection time)
`

test('throughput and count are those that pgbench states', () => {
  assert.deepEqual(parseSummary(summary), { transactions: 59213, perSecond: 29640.123456 })
})

test('with a connection per transaction the rate includes connecting', () => {
  const reconnecting = summary
    .replace('initial connection time = 12.345 ms', 'average connection time = 7.1 ms')
    .replace('(without initial connection time)', '(including reconnection times)')
  assert.equal(parseSummary(reconnecting).perSecond, 29640.123456)
})

test('a run whose transactions failed, or that ran none, is not taken for a fast one', () => {
  assert.throws(() => parseSummary(summary.replace('failed transactions: 0', 'failed transactions: 7')), /7 transactions failed/)
  assert.throws(() => parseSummary(summary.replace('processed: 59213', 'processed: 0')), /ran no transaction/)
  assert.throws(() => parseSummary('pgbench: error: connection lost'), /no summary/)
})

test('latencies come from the third column, in microseconds', () => {
  const lines = Array.from({ length: 200 }, (_, index) => `3 ${index} ${(index + 1) * 10} 0 1795262141 ${index}`)
  assert.deepEqual(latenciesOf(`${lines.join('\n')}\n`), { p50: 1, p99: 1.98 })
})

test('too few lines give no percentile, and broken lines are not counted', () => {
  assert.equal(latenciesOf(''), null)
  assert.equal(latenciesOf('0 1 500 0 1795262141 1\n'.repeat(99)), null)
  assert.equal(latenciesOf(`${'0 1 500 0 1795262141 1\n'.repeat(99)}0 1 fail`), null)
  assert.deepEqual(latenciesOf(`${'0 1 500 0 1795262141 1\n'.repeat(100)}0 1 9999`), { p50: 0.5, p99: 0.5 })
})
