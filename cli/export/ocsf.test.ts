import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { datastoreActivity, objects, type Requirements } from './test-ocsf-requirements.ts'
import { testEpoch, testIdentity, testSessionId } from '../../session/test-recording.ts'
import type { StatementLine } from '../statement-line.ts'
import { ocsfEvent, ocsfVersion } from './ocsf.ts'

const session = testSessionId(testEpoch, 1)
const identity = testIdentity(session, testEpoch, 'a'.repeat(32))

function statement(fields: Partial<StatementLine> & { readonly sql: string }): StatementLine {
  return {
    session,
    segment: 1,
    number: 1,
    kind: 'query',
    sqlBytes: 1,
    parameters: [],
    columns: null,
    outcome: 'completed',
    tag: null,
    rows: 0,
    resultBytes: 0,
    error: null,
    notices: [],
    transactionBefore: 'I',
    started: testEpoch + 0.25,
    finished: testEpoch + 2.75,
    place: { first: 1, last: 2 },
    fingerprint: 'l1:0000000000000000',
    decision: { kind: 'allow', rule: '' },
    ...fields,
  }
}

/** Every attribute that is required, at every depth, with a code that is listed. */
function check(value: unknown, requirements: Requirements, where: string): void {
  assert.ok(typeof value === 'object' && value !== null, where)
  const fields = value as Record<string, unknown>
  for (const name of requirements.required) assert.ok(fields[name] !== undefined && fields[name] !== null, `${where}.${name} is required`)
  const { atLeastOne } = requirements
  if (atLeastOne !== undefined)
    assert.ok(
      atLeastOne.some((name) => fields[name] !== undefined),
      `${where} needs one of ${atLeastOne.join(', ')}`,
    )
  for (const [name, codes] of Object.entries(requirements.enumerations ?? {})) {
    if (fields[name] !== undefined) assert.ok(codes.includes(fields[name] as number), `${where}.${name} is ${JSON.stringify(fields[name])}`)
  }
  for (const [name, object] of Object.entries(requirements.objects ?? {})) {
    if (fields[name] !== undefined) check(fields[name], objects[object], `${where}.${name}`)
  }
}

const tags = [null, 'SELECT 1', 'INSERT 0 1', 'COPY 5', 'CREATE TABLE', 'BEGIN', 'LISTEN', '', 'VACUUM', 'toString', '__proto__']
const outcomes = ['completed', 'failed', 'skipped', 'suspended', 'unfinished'] as const

test('every event has what the published schema requires', () => {
  const error = { severity: 'ERROR', code: '23505', message: 'no' }
  fc.assert(
    fc.property(
      fc.constantFrom(...tags),
      fc.constantFrom(...outcomes),
      fc.string({ unit: 'binary' }),
      fc.constantFrom('127.0.0.1', '::1', '', '/run/postgresql', 'db.example'),
      fc.boolean(),
      (tag, outcome, sql, address, withError) => {
        const line = statement({ sql, tag, outcome, error: withError ? error : null })
        const who = { ...identity, client: { ...identity.client, address }, asserted: withError ? {} : identity.asserted }
        const event = JSON.parse(JSON.stringify(ocsfEvent({ identity: who, line }))) as Record<string, unknown>
        check(event, datastoreActivity, 'event')
        assert.equal(event['type_uid'], 600_500 + Number(event['activity_id']))
        assert.equal((event['metadata'] as { version: string }).version, ocsfVersion)
        for (const name of ['time', 'start_time', 'end_time', 'duration']) assert.ok(Number.isSafeInteger(event[name]), name)
      },
    ),
  )
})

test('the activity is what the command does, by its tag, else by its first word', () => {
  const activity = (sql: string, fields: Partial<StatementLine> = {}): unknown => {
    const { activity_id: id, activity_name: name } = ocsfEvent({ identity, line: statement({ sql, ...fields }) }) as Record<string, unknown>
    return [id, name]
  }
  assert.deepEqual(activity('select 1', { tag: 'SELECT 1' }), [4, 'Query'])
  assert.deepEqual(activity('with x as (delete from a returning 1) select 1', { tag: 'DELETE 1' }), [7, 'Delete'])
  assert.deepEqual(activity('/* hello */ Insert into a values (1)', { outcome: 'failed' }), [5, 'Write'])
  assert.deepEqual(activity('copy a from stdin', { tag: 'COPY 1', copy: { direction: 'in', messages: 1, bytes: 1 } }), [5, 'Write'])
  assert.deepEqual(activity('copy a to stdout', { tag: 'COPY 1', copy: { direction: 'out', messages: 1, bytes: 1 } }), [1, 'Read'])
  assert.deepEqual(activity('vacuum'), [99, 'VACUUM'])
  assert.deepEqual(activity("'x"), [0, 'Unknown'])
})

test('a failure is told with its SQLSTATE, and a trace by its id', () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  const line = statement({
    sql: 'insert into a values (1)',
    outcome: 'failed',
    error: { severity: 'ERROR', code: '23505', message: 'duplicate key' },
    trace: { traceId, parentSpanId: '00f067aa0ba902b7', sampled: true },
  })
  const event = ocsfEvent({ identity, line }) as Record<string, unknown>
  assert.deepEqual([event['status_id'], event['status_code'], event['status_detail']], [2, '23505', 'duplicate key'])
  assert.equal((event['metadata'] as { correlation_uid: string }).correlation_uid, traceId)
})
