/**
 * A stored session of as many statements as wanted, in the recorder's own format: real segments, indexes and a signed manifest,
 * written segment by segment, with conversations that the tracker reads as the index says.
 *
 * Every statement is a simple query with one row; one in `failsEvery` fails, and every tenth changes the table `audit`.
 */
import { statementJson } from '../../postgres/statement-json.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { sha256Of } from '../../session/digest.ts'
import type { SessionClose, SessionIdentity } from '../../session/identity.ts'
import { sealManifest, type ManifestSegment } from '../../session/manifest.ts'
import { manifestKey, segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { encodeRecord, recordType, type SessionRecord } from '../../session/records.ts'
import { sealSegment } from '../../session/segment.ts'
import { indexLineOf } from '../../session/statement-index.ts'
import type { Store } from '../../session/stores/store.ts'
import { payloadOf, queryFrame, testEpoch, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'

const statementsPerSegment = 10_000
export const millisecondsBetween = 10

export type TestSessionOptions = {
  readonly statements: number
  readonly failsEvery: number
  readonly perSegment?: number
  /** False leaves the session open: no close, no manifest. Default true. */
  readonly closed?: boolean
}

/** Returns the session's id. */
export async function writeTestSession(
  store: Store,
  { statements, failsEvery, perSegment = statementsPerSegment, closed = true }: TestSessionOptions,
): Promise<string> {
  const key = testKey(7)
  const session = testSessionId(testEpoch, statements)
  const identity: SessionIdentity = testIdentity(session, testEpoch, key.id)
  const segments: ManifestSegment[] = []
  let previous: string | null = null
  let from = 0
  let number = 0
  let now = testEpoch
  for (let segment = 1; number < statements; segment++) {
    const records: Buffer[] = []
    const lines: string[] = []
    const firstTime = now
    const add = (type: number, payload: Buffer): void => {
      const record: SessionRecord = { type, flags: 0, session: 1, time: now, payload }
      records.push(encodeRecord(record))
    }
    if (segment === 1) add(recordType.sessionOpen, payloadOf(identity))
    for (let made = 0; made < perSegment && number < statements; made++) {
      number++
      now += millisecondsBetween
      const first = from + records.length
      const { sql, answer, summary } = statementOf(number, number % failsEvery === 0)
      add(recordType.frontend, queryFrame(sql))
      add(recordType.backend, answer)
      const line: StatementSummary = { ...summary, started: now, finished: now + 1, place: { first, last: first + 1 } }
      lines.push(indexLineOf(session, segment, statementJson(line)))
    }
    const last = closed && number === statements
    const close: SessionClose = { closed: now, reason: 'terminated', recovered: false }
    if (last) add(recordType.sessionClose, payloadOf(close))
    const to = from + records.length
    const sealed = sealSegment(
      {
        ...{ session, number: segment, recorder: key.id, previous, records: { from, to }, firstTime, lastTime: now },
        ...{ spoolEnd: { file: 1, offset: to }, last, recovered: false, identity },
      },
      records,
    )
    const index = Buffer.from(lines.join(''))
    const reference = { key: statementIndexKey(session, segment), sha256: sha256Of(index), bytes: index.length, statements: lines.length }
    await store.putIfAbsent(segmentKey(session, segment), sealed.bytes)
    await store.putIfAbsent(reference.key, index)
    segments.push({
      ...{ number: segment, key: segmentKey(session, segment), sha256: sealed.sha256, bytes: sealed.bytes.length },
      ...{ rawBytes: sealed.rawBytes, records: { from, to }, index: reference },
    })
    previous = sealed.sha256
    from = to
    if (!last) continue // Only a session that has ended has a manifest.
    const fields = { session, identity, opened: testEpoch, closed: now, close, segments, statements, gaps: [], recovered: false }
    await store.putIfAbsent(manifestKey(session), sealManifest(fields, key).bytes)
  }
  return session
}

function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

const columns = [
  { name: 'id', typeOid: 23, typeModifier: -1, format: 'text' },
  { name: 'note', typeOid: 25, typeModifier: -1, format: 'text' },
] as const
const description = message(
  'T',
  Buffer.from(
    `\0\x02${columns.map(({ name, typeOid }) => `${name}\0\0\0\0\0\0\0\0\0\0${String.fromCharCode(typeOid)}\0\x04\xff\xff\xff\xff\0\0`).join('')}`,
    'latin1',
  ),
)
const selected = message('C', Buffer.from('SELECT 1\0'))
const ready = message('Z', Buffer.from('I'))
const failure = message('E', Buffer.from('SERROR\0C22012\0Mdivision by zero\0\0'))

function dataRow(values: readonly string[]): Buffer {
  const parts = values.flatMap((value) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(Buffer.byteLength(value))
    return [length, Buffer.from(value)]
  })
  return message('D', Buffer.concat([Buffer.from([0, values.length]), ...parts]))
}

type Made = { readonly sql: string; readonly answer: Buffer; readonly summary: Omit<StatementSummary, 'started' | 'finished' | 'place'> }

function statementOf(number: number, fails: boolean): Made {
  const table = number % 10 === 0 ? 'audit' : 'orders'
  const sql = `select id, note from ${table} where id = ${number}${fails ? ' / 0' : ''} -- asked by the agent`
  const row = dataRow([String(number), `note ${number}`])
  const summary = {
    number,
    kind: 'query',
    sql,
    sqlBytes: sql.length,
    parameters: [],
    notices: [],
    transactionBefore: 'I',
    fingerprint: '5a05cf2c5ad2fcb0',
    decision: { kind: 'allow', rule: '(none)' },
  } as const
  if (fails) {
    const error = { severity: 'ERROR', code: '22012', message: 'division by zero' }
    return {
      sql,
      answer: Buffer.concat([failure, ready]),
      summary: { ...summary, columns: null, outcome: 'failed', tag: null, rows: 0, resultBytes: 0, error },
    }
  }
  return {
    sql,
    answer: Buffer.concat([description, row, selected, ready]),
    summary: { ...summary, columns, outcome: 'completed', tag: 'SELECT 1', rows: 1, resultBytes: row.length, error: null },
  }
}
