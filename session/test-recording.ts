/**
 * A small recorder for this folder's tests: real segments, indexes, ledger and manifest, no sockets and no spool.
 *
 * Everything is deterministic (key, ids, times), so that golden files and worked examples can be made again.
 */
import { createPrivateKey } from 'node:crypto'
import type { Gap, PolicyChange, SessionIdentity } from './identity.ts'
import { createLedger, type LedgerEvent, type LedgerHead } from './ledger.ts'
import { sealManifest, type ManifestSegment } from './manifest.ts'
import { ledgerKey, manifestKey, segmentKey, statementIndexKey } from './object-keys.ts'
import { putOnce } from './put-once.ts'
import { publishRecorder, recorderKeyOf, type RecorderKey } from './recorder-key.ts'
import { encodeRecord, recordType, type SessionRecord } from './records.ts'
import { sealSegment, type SegmentFields } from './segment.ts'
import { encodeStatementIndex, type IndexedStatement } from './statement-index.ts'
import { sha256Of } from './digest.ts'
import type { Store } from './stores/store.ts'

/** 2026-11-21T09:00:00Z. */
export const testEpoch = Date.UTC(2026, 10, 21, 9)

/** The Ed25519 key whose 32 secret bytes all are `seed`. */
export function testKey(seed: number): RecorderKey {
  const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex')
  return recorderKeyOf(createPrivateKey({ key: Buffer.concat([pkcs8Head, Buffer.alloc(32, seed)]), format: 'der', type: 'pkcs8' }))
}

/** A valid id of the time `milliseconds` whose random part is `seed`. */
export function testSessionId(milliseconds: number, seed: number): string {
  const time = Math.trunc(milliseconds).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${seed.toString(16).padStart(12, '0')}`
}

export function testIdentity(session: string, opened: number, recorder: string): SessionIdentity {
  return {
    version: 1,
    session,
    engine: 'postgresql',
    mode: 'custody',
    opened,
    recorder,
    client: { address: '127.0.0.1', port: 40_000, tls: null },
    upstream: { host: 'db.example', port: 5432, tls: 'TLSv1.3' },
    user: 'agent',
    database: 'shop',
    protocol: '3.0',
    serverParameters: { server_version: '18.1', client_encoding: 'UTF8' },
    versions: { steno: '0.1.0', node: '24.0.0' },
    policy: null,
    attested: {},
    asserted: { application_name: 'test' },
    trace: null,
  }
}

type TestRecordingOptions = {
  readonly close?: boolean
  readonly gap?: boolean
  readonly tag?: string
  /** Comes behind the statements of the first segment; what begins later is judged by it. */
  readonly policyChange?: PolicyChange
  readonly attested?: Readonly<Record<string, string>>
}

export type TestSegment = { readonly statements: number }

export function payloadOf(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value), 'utf8')
}

/** A frontend Query message. */
export function queryFrame(sql: string): Buffer {
  const body = Buffer.from(`${sql}\0`, 'utf8')
  const head = Buffer.from([0x51, 0, 0, 0, 0])
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

/** A recorder that writes into `store`; `options` let a test leave out or twist what an attacker or a crash would. */
export async function createTestRecorder(
  store: Store,
  { seed, start = testEpoch, head = null }: { seed: number; start?: number; head?: LedgerHead | null },
) {
  const key = testKey(seed)
  const ledger = createLedger({ key, head })
  let now = start
  let sessions = 0
  const log = async (...events: LedgerEvent[]): Promise<void> => {
    now += 10
    const { objectKey, bytes } = ledger.entry(events, now)
    await putOnce(store, objectKey, bytes)
  }
  await publishRecorder(store, key)
  if (head === null) await log({ kind: 'recorder-started', steno: '0.1.0', spool: '/spool' })

  return {
    key,
    log,
    head: () => ({ recorder: key.id, ...ledger.head()! }),
    stop: () => log({ kind: 'recorder-stopped' }),
    heartbeat: () => log({ kind: 'heartbeat', openSessions: 0 }),
    lastLedgerKey: () => ledgerKey(key.id, ledger.head()!.number),
    /** One session with the given number of statements in each segment; `close: false` leaves it open. */
    async record(
      segments: readonly TestSegment[],
      { close = true, gap = false, tag = '', attested = {}, policyChange }: TestRecordingOptions = {},
    ): Promise<string> {
      now += 1000
      sessions += 1
      const opened = now
      const session = testSessionId(opened, seed * 1000 + sessions)
      const identity = { ...testIdentity(session, opened, key.id), attested }
      const gaps: Gap[] = []
      const stored: ManifestSegment[] = []
      let previous: string | null = null
      let from = 0
      let statement = 0
      await log({ kind: 'session-opened', session, opened })
      for (const [index, { statements: count }] of segments.entries()) {
        const number = index + 1
        const last = close && number === segments.length
        const records: SessionRecord[] = []
        const add = (type: number, payload: Buffer): void => {
          now += 0.5
          records.push({ type, flags: 0, session: sessions, time: now, payload })
        }
        const statements: (IndexedStatement & { sql: string; started: number })[] = []
        if (number === 1) add(recordType.sessionOpen, payloadOf(identity))
        for (let made = 0; made < count; made++) {
          statement += 1
          const sql = `select ${statement} ${tag}`
          const first = from + records.length
          add(recordType.frontend, queryFrame(sql))
          add(recordType.backend, Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1'))
          const judgedBy = policyChange !== undefined && number > 1 ? { policy: policyChange.policy.hash } : {}
          statements.push({ ...judgedBy, number: statement, place: { first, last: first + 1 }, sql, started: now })
        }
        if (gap && number === 1) {
          gaps.push({ from: now, to: now + 1, frontendBytes: 10, backendBytes: 20, reason: 'the disk was full' })
          add(recordType.gap, payloadOf(gaps[0]))
        }
        if (policyChange !== undefined && number === 1) add(recordType.policyChange, payloadOf(policyChange))
        if (last) add(recordType.sessionClose, payloadOf({ closed: now + 0.5, reason: 'terminated', recovered: false }))
        // A notice, which belongs to no statement: a segment is never empty.
        if (records.length === 0) add(recordType.backend, Buffer.from('N\0\0\0\x0bMhello\0\0', 'latin1'))
        const to = from + records.length
        const fields: SegmentFields = {
          session,
          number,
          recorder: key.id,
          previous,
          records: { from, to },
          firstTime: records[0]!.time,
          lastTime: records.at(-1)!.time,
          spoolEnd: { file: 1, offset: to * 100 },
          last,
          recovered: false,
          identity,
        }
        const sealed = sealSegment(fields, records.map(encodeRecord))
        const indexBytes = encodeStatementIndex(session, number, statements)
        const objectKey = segmentKey(session, number)
        const indexKey = statementIndexKey(session, number)
        await putOnce(store, objectKey, sealed.bytes)
        await putOnce(store, indexKey, indexBytes)
        const reference = { key: indexKey, sha256: sha256Of(indexBytes), bytes: indexBytes.length, statements: count }
        const { sha256, rawBytes } = sealed
        stored.push({ number, key: objectKey, sha256, bytes: sealed.bytes.length, rawBytes, records: { from, to }, index: reference })
        await log({
          kind: 'segment-stored',
          session,
          number,
          key: objectKey,
          sha256,
          bytes: sealed.bytes.length,
          index: reference,
          records: { from, to },
          last,
        })
        previous = sha256
        from = to
      }
      if (!close) return session
      const closing = { closed: now - 10, reason: 'terminated', recovered: false } as const
      const manifest = sealManifest(
        {
          session,
          identity,
          opened,
          closed: closing.closed,
          close: closing,
          segments: stored,
          statements: statement,
          gaps,
          recovered: false,
        },
        key,
      )
      await putOnce(store, manifestKey(session), manifest.bytes)
      await log({
        kind: 'session-closed',
        session,
        manifest: { key: manifestKey(session), sha256: manifest.sha256 },
        segments: stored.length,
      })
      return session
    },
  }
}
