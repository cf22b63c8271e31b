/**
 * Goal: what a tracing backend is sent is what happened, joined to the agent's own traces, and never more than may leave.
 * Method: `bin/steno proxy` in front of a real PostgreSQL, with spans sent to an OTLP endpoint that decodes them by Google's Protocol
 * Buffers; each span is compared with the statement's line in the recording.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { assertVerified } from '../nothing-lost/recorded.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import type { WireSpan } from './otlp-decoder.ts'
import { startReceiver } from './receiver.ts'
import { asAgent, recordedStatements, sqlcomment, startTraced, traceparent, type Recorded } from './world.ts'

let server: EmbeddedPostgres
before(async () => {
  server = await startPostgres()
  await server.query('create table orders (id int primary key, buyer text)')
})
after(() => server.stop())

const agentTrace = { traceId: '0af7651916cd43dd8448eb211c80319c', parentSpanId: 'b7ad6b7169203331', sampled: true }
const otherTrace = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', parentSpanId: '00f067aa0ba902b7', sampled: true }
const unsampled = { ...otherTrace, sampled: false }
const secret = 'S3cretValue'

const key = (span: WireSpan): string => `${span.attributes['steno.session']} ${span.attributes['steno.statement.number']}`
const nanosecondsOf = (milliseconds: number): bigint => BigInt(Math.round(milliseconds * 1_000)) * 1_000n

function assertTells(span: WireSpan, statement: Recorded): void {
  const { error, outcome } = statement
  assert.equal(span.kind, 'CLIENT')
  assert.equal(span.startNanoseconds, nanosecondsOf(statement.started))
  assert.equal(span.endNanoseconds, nanosecondsOf(statement.finished))
  if (statement.trace === undefined) assert.equal(span.parentSpanId, '')
  else assert.deepEqual([span.traceId, span.parentSpanId], [statement.trace.traceId, statement.trace.parentSpanId])
  const isError = error !== null || outcome === 'skipped'
  assert.deepEqual(span.status, {
    code: isError ? 'ERROR' : 'UNSET',
    message: error === null ? (isError ? outcome : '') : `SQLSTATE ${error.code}`,
  })
  assert.equal(span.attributes['db.response.status_code'], error?.code)
  assert.equal(span.attributes['error.type'], error?.code ?? (isError ? outcome : undefined))
  assert.equal(span.attributes['steno.statement.fingerprint'], statement.fingerprint)
  assert.equal(span.attributes['steno.statement.outcome'], outcome)
}

/** The first column of the table of attributes. */
function documentedAttributes(): string[] {
  const page = readFileSync(new URL('../../docs/traces.md', import.meta.url), 'utf8')
  const table = /\| attribute \| value \|\n.*\n((?:\|.*\n)+)/.exec(page)?.[1] ?? ''
  return [...table.matchAll(/^\| ([^|]+) \|/gm)]
    .flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
    .sort()
}

test('each statement of a real run is a span that says what the recording says, joined to the trace of its comment', async () => {
  await using receiver = await startReceiver()
  await using proxy = await startTraced(server.url, {
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${secret}`,
    OTEL_SERVICE_NAME: 'shop-agent-database',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,team=a%2Cb',
  })
  await asAgent(proxy, async (client) => {
    await client.query(`insert into orders values (1, '${secret}') ${sqlcomment(agentTrace)}`)
    await client.query(`select buyer from orders where id = $1 /*traceparent=${traceparent(otherTrace)}*/`, [1])
    await client.query({ name: 'by-buyer', text: 'select id from orders where buyer = $1', values: [secret] })
    await client.query(`select '/*traceparent=${traceparent(agentTrace)}*/'`)
    await client.query(`select 1 ${sqlcomment(unsampled)}`)
    await client.query(`begin; update orders set id = 2; commit; ${sqlcomment(agentTrace)}`)
    await assert.rejects(client.query(`insert into orders values (2, '${secret}') ${sqlcomment(agentTrace)}`), { code: '23505' })
    await assert.rejects(client.query(`select '${secret}'::int; select 2`), { code: '22P02' })
    await assert.rejects(client.query(`selec '${secret}`), { code: '42601' })
  })
  await receiver.until((spans) => spans.length >= 11)
  assert.equal(await proxy.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)

  const statements = await recordedStatements(proxy.storeUrl)
  assert.deepEqual(
    statements.map(({ trace }) => (trace === undefined ? null : traceparent(trace))),
    [agentTrace, otherTrace, null, null, unsampled, agentTrace, agentTrace, agentTrace, agentTrace, null, null, null].map((trace) =>
      trace === null ? null : traceparent(trace),
    ),
    'the recording has the trace of each statement',
  )
  const told = statements.filter(({ trace }) => trace?.sampled !== false)
  assert.equal(receiver.spans.length, told.length, 'each has one span, but for the one that the agent does not sample')
  for (const statement of told) {
    const span = receiver.spans.find((candidate) => key(candidate) === `${statement.session} ${statement.number}`)
    assert.ok(span !== undefined, `statement ${statement.number} has a span`)
    assertTells(span, statement)
    assert.deepEqual(span.scope.name, 'steno')
    assert.equal(span.resource['service.name'], 'shop-agent-database')
    assert.equal(span.resource['deployment.environment.name'], 'test')
    assert.equal(span.resource['team'], 'a,b')
    assert.equal(span.attributes['server.address'], server.host)
    assert.equal(span.attributes['server.port'], server.port)
    assert.equal(span.attributes['db.namespace'], 'postgres')
    assert.equal(span.attributes['db.system.name'], 'postgresql')
  }
  assert.deepEqual(
    receiver.spans.map(({ name, attributes }) => [
      name,
      attributes['db.operation.name'],
      attributes['db.query.text'],
      attributes['db.response.returned_rows'],
    ]),
    [
      ['INSERT orders', 'INSERT', 'insert into orders values (?, ?)', undefined],
      ['SELECT orders', 'SELECT', 'select buyer from orders where id = $1', 1],
      ['SELECT orders', 'SELECT', 'select id from orders where buyer = $1', 1],
      ['SELECT', 'SELECT', 'select ?', 1],
      ['BEGIN', 'BEGIN', 'begin', undefined],
      ['UPDATE orders', 'UPDATE', 'update orders set id = ?', undefined],
      ['COMMIT', 'COMMIT', 'commit', undefined],
      ['INSERT orders', 'INSERT', 'insert into orders values (?, ?)', undefined],
      ['SELECT', 'SELECT', 'select ?::int', undefined],
      ['SELECT', 'SELECT', 'select ?', undefined],
      ['postgres', undefined, undefined, undefined],
    ],
  )
  const sentNames = new Set(receiver.spans.flatMap(({ attributes }) => Object.keys(attributes)))
  assert.deepEqual([...sentNames].sort(), documentedAttributes(), 'docs/traces.md lists what a span has')
  assert.equal(new Set(receiver.spans.map(({ spanId }) => spanId)).size, receiver.spans.length, 'no two spans have the same id')

  assert.deepEqual(receiver.faults, [])
  for (const headers of receiver.requests) assert.equal(headers.authorization, `Bearer ${secret}`)
  const sent = JSON.stringify(receiver.spans, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
  assert.ok(!sent.includes(secret), 'no value leaves with a span')
  assert.ok(!proxy.log().includes(secret), 'the log has no header')
})

test('samplers and compression are the standard ones', async () => {
  await using receiver = await startReceiver()
  await using proxy = await startTraced(server.url, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.endpoint}/v1/traces`,
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
    OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
    OTEL_TRACES_SAMPLER: 'parentbased_always_off',
  })
  await asAgent(proxy, async (client) => {
    await client.query('select 1')
    await client.query(`select 2 ${sqlcomment(unsampled)}`)
    await client.query(`select 3 ${sqlcomment(agentTrace)}`)
  })
  await receiver.until((spans) => spans.length > 0)
  assert.equal(await proxy.stop(), 0)
  assert.deepEqual(
    receiver.spans.map(({ attributes }) => attributes['steno.statement.number']),
    [3],
  )
  assert.equal(receiver.requests[0]?.['content-encoding'], 'gzip')
  assert.deepEqual(receiver.faults, [])
})

test('no SQL leaves when --trace-query-text says so', async () => {
  await using receiver = await startReceiver()
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint }
  await using proxy = await startTraced(server.url, environment, { arguments: ['--trace-query-text', 'none'] })
  await asAgent(proxy, (client) => client.query('select id from orders where id = 5'))
  await receiver.until((spans) => spans.length > 0)
  assert.equal(await proxy.stop(), 0)
  assert.deepEqual(
    receiver.spans.map(({ name, attributes }) => [name, attributes['db.query.text']]),
    [['SELECT orders', undefined]],
  )
})

test('a statement that is told again after a crash is the same span', async () => {
  await using receiver = await startReceiver()
  const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint }
  // Nothing is stored before the crash, so the next start reads it from the spool and tells it again.
  await using killed = await startTraced(server.url, environment, { arguments: ['--segment-milliseconds', '600000'] })
  await asAgent(killed, async (client) => {
    await client.query('select 1')
    await receiver.until((spans) => spans.length === 1)
    await killed.kill()
  }).catch(() => undefined) // The agent's connection ends with the proxy.
  await using next = await startTraced(server.url, environment, { folder: killed.folder })
  await receiver.until((spans) => spans.length === 2)
  const [first, again] = receiver.spans
  assert.deepEqual({ ...again, scope: null }, { ...first, scope: null })
  assert.equal(await next.stop(), 0)
})
