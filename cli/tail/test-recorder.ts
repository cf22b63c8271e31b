/** A recorder for this folder's tests: stores sessions part by part with real headers, indexes and a ledger, and can enter a part twice. */
import { sha256Of } from '../../session/digest.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { createLedger, type LedgerEvent } from '../../session/ledger.ts'
import { sealManifest, type ManifestSegment } from '../../session/manifest.ts'
import { manifestKey, segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { encodeRecord, recordType } from '../../session/records.ts'
import { sealSegment } from '../../session/segment.ts'
import { encodeStatementIndex } from '../../session/statement-index.ts'
import type { Store } from '../../session/stores/store.ts'
import { payloadOf, testEpoch, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'
import type { StatementSummary } from '../../postgres/statement.ts'

export type TestStatement = Partial<StatementSummary> & { readonly sql: string }

export function createTailRecorder(store: Store, seed: number) {
  const key = testKey(seed)
  const ledger = createLedger({ key, head: null })
  let sessions = 0

  /** `time` in milliseconds behind the epoch of tests. */
  async function enter(events: readonly LedgerEvent[], time: number): Promise<void> {
    const { objectKey, bytes } = ledger.entry(events, testEpoch + time)
    await store.putIfAbsent(objectKey, bytes)
  }

  function session({ time = 0, user = 'agent' }: { readonly time?: number; readonly user?: string } = {}) {
    const id = testSessionId(testEpoch + time, seed * 100_000 + ++sessions)
    const identity: SessionIdentity = { ...testIdentity(id, testEpoch + time, key.id), user }
    const segments: ManifestSegment[] = []
    const stored: LedgerEvent[] = []
    let statements = 0

    return {
      id,
      identity,
      /** Stores a part that holds these statements and enters it. */
      async part(of: readonly TestStatement[], at = time, { damaged = false } = {}): Promise<void> {
        const number = segments.length + 1
        const records = { from: number - 1, to: number }
        const summaries = of.map((given): StatementSummary => {
          statements++
          return { ...statementOf(statements, records.from, testEpoch + at), ...given, sqlBytes: given.sql.length }
        })
        const record = { type: recordType.sessionOpen, flags: 0, session: sessions, time: testEpoch + at, payload: payloadOf(identity) }
        const previous = segments.at(-1)?.sha256 ?? null
        const times = { firstTime: testEpoch + at, lastTime: testEpoch + at }
        const sealed = sealSegment(
          {
            ...{ session: id, number, recorder: key.id, previous, records, ...times },
            ...{ spoolEnd: { file: 1, offset: number }, last: false, recovered: false, identity },
          },
          [encodeRecord(record)],
        )
        const indexBytes = damaged ? Buffer.from('{"session":\n') : encodeStatementIndex(id, number, summaries)
        const index = { key: statementIndexKey(id, number), sha256: sha256Of(indexBytes), bytes: indexBytes.length, statements: of.length }
        await store.putIfAbsent(segmentKey(id, number), sealed.bytes)
        await store.putIfAbsent(index.key, indexBytes)
        const segment: ManifestSegment = {
          ...{ number, key: segmentKey(id, number), sha256: sealed.sha256, bytes: sealed.bytes.length, rawBytes: sealed.rawBytes },
          ...{ records, index },
        }
        segments.push(segment)
        const { rawBytes: _, ...entered } = segment
        const event: LedgerEvent = { kind: 'segment-stored', session: id, ...entered, last: false }
        const events: LedgerEvent[] = number === 1 ? [{ kind: 'session-opened', session: id, opened: identity.opened }, event] : [event]
        stored.push(...events)
        await enter(events, at)
      },
      /** Enters all that was entered before, as a recorder does that was killed before it could know. */
      again: (at = time): Promise<void> => enter(stored, at),
      async close(at = time): Promise<void> {
        const close = { closed: testEpoch + at, reason: 'terminated', recovered: false } as const
        const manifest = sealManifest(
          { session: id, identity, opened: identity.opened, closed: close.closed, close, segments, statements, gaps: [], recovered: false },
          key,
        )
        await store.putIfAbsent(manifestKey(id), manifest.bytes)
        const event: LedgerEvent = {
          kind: 'session-closed',
          session: id,
          manifest: { key: manifestKey(id), sha256: manifest.sha256 },
          segments: segments.length,
        }
        stored.push(event)
        await enter([event], at)
      },
    }
  }
  return { key, session, enter }
}

function statementOf(number: number, record: number, time: number): StatementSummary {
  return {
    ...{ number, kind: 'query', sql: '', sqlBytes: 0, parameters: [], columns: null, outcome: 'completed', tag: 'SELECT 1', rows: 1 },
    ...{ resultBytes: 12, error: null, notices: [], transactionBefore: 'I', started: time, finished: time + 1 },
    ...{ place: { first: record, last: record }, fingerprint: 'l1:0', decision: { kind: 'allow', rule: '(none)' } },
  }
}
