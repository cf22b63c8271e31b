/**
 * A small recorder for this folder's tests: real segments, indexes, ledger and manifest, no sockets and no spool.
 *
 * Everything is deterministic (key, ids, times), so that golden files and worked examples can be made again.
 */
import { createPrivateKey } from 'node:crypto'
import { sealChainEntry, type ChainHead } from './attestation-chain.ts'
import type { Gap, PolicyChange, SessionIdentity } from './identity.ts'
import type { DeliveredUnstored } from './delivered-unstored.ts'
import { createLedger, findLedgerHead, type LedgerEvent, type LedgerHead } from './ledger.ts'
import { sealManifest, type ManifestSegment } from './manifest.ts'
import { attestationChainKey, attestationKey, ledgerKey, manifestKey, segmentKey, statementIndexKey } from './object-keys.ts'
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
  /** Records behind the statements of the first segment. */
  readonly deliveredUnstored?: readonly DeliveredUnstored[]
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

/**
 * The next entry of control's chain behind `head`, signed with the key of seed 9: it names the recorders with their attestations and the first entries
 * of their ledgers, or the last ones for `when: 'ended'`.
 */
export async function chainTestRecorders(
  store: Store,
  recorders: readonly string[],
  {
    head = null,
    when = 'began',
    by = 9,
  }: { readonly head?: ChainHead | null; readonly when?: 'began' | 'ended'; readonly by?: number } = {},
): Promise<ChainHead> {
  const digestOf = async (objectKey: string): Promise<string> => sha256Of((await store.get(objectKey))!)
  const named = await Promise.all(
    recorders.map(async (recorder) => ({
      recorder,
      attestation: await digestOf(attestationKey(recorder)),
      ledger:
        when === 'ended'
          ? (await findLedgerHead(store, recorder, { publicKey: null }))!
          : { number: 1, sha256: await digestOf(ledgerKey(recorder, 1)) },
    })),
  )
  const { number, bytes, sha256 } = sealChainEntry({ head, time: testEpoch, recorders: named }, testKey(by))
  await putOnce(store, attestationChainKey(number), bytes)
  return { number, sha256 }
}

/** A recorder that writes into `store`; `options` let a test leave out or twist what an attacker or a crash would. */
export async function createTestRecorder(
  store: Store,
  { seed, start = testEpoch, head = null }: { seed: number; start?: number; head?: LedgerHead | null },
) {
  const key = testKey(seed)
  const ledger = createLedger({ key, head })
  const clock: Clock = { now: start }
  let sessions = 0
  const log = async (...events: LedgerEvent[]): Promise<void> => {
    clock.now += 10
    const { objectKey, bytes } = ledger.entry(events, clock.now)
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
      { close = true, gap = false, tag = '', attested = {}, policyChange, deliveredUnstored = [] }: TestRecordingOptions = {},
    ): Promise<string> {
      clock.now += 1000
      sessions += 1
      const opened = clock.now
      const session = testSessionId(opened, seed * 1000 + sessions)
      const identity = { ...testIdentity(session, opened, key.id), attested }
      const gaps: Gap[] = []
      const stored: ManifestSegment[] = []
      let previous: string | null = null
      let from = 0
      let statement = 0
      await log({ kind: 'session-opened', session, opened })
      for (const [at, { statements: count }] of segments.entries()) {
        const number = at + 1
        const last = close && number === segments.length
        const plan = { identity, policyChange, deliveredUnstored, tag, gap, number, count, last, from, statement }
        const { records, statements, gap: told } = contentOf(plan, sessions, clock)
        if (told !== null) gaps.push(told)
        statement += count
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
        const segment = await putSegment(store, fields, records, statements)
        stored.push(segment)
        const { key: objectKey, sha256, bytes, index } = segment
        await log({ kind: 'segment-stored', session, number, key: objectKey, sha256, bytes, index, records: { from, to }, last })
        previous = sha256
        from = to
      }
      if (!close) return session
      const closing = { closed: clock.now - 10, reason: 'terminated', recovered: false } as const
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

/** Milliseconds since 1970, set by what is recorded. */
type Clock = { now: number }

/** What one segment of a session is made of: which statements, from which record on, and what comes besides them. */
type SegmentPlan = {
  readonly identity: SessionIdentity
  readonly policyChange: PolicyChange | undefined
  readonly deliveredUnstored: readonly DeliveredUnstored[]
  readonly tag: string
  readonly gap: boolean
  readonly number: number
  /** How many statements. */
  readonly count: number
  readonly last: boolean
  /** The number of its first record, and of the statement before its first. */
  readonly from: number
  readonly statement: number
}

type TestStatement = IndexedStatement & { readonly sql: string; readonly started: number }

/** The records of a segment, the lines of its index, and the gap that is in it. */
function contentOf(plan: SegmentPlan, sessionInSpool: number, clock: Clock) {
  const { policyChange, number, count } = plan
  const records: SessionRecord[] = []
  const add = (type: number, payload: Buffer): void => {
    clock.now += 0.5
    records.push({ type, flags: 0, session: sessionInSpool, time: clock.now, payload })
  }
  const statements: TestStatement[] = []
  if (number === 1) add(recordType.sessionOpen, payloadOf(plan.identity))
  for (let made = 1; made <= count; made++) {
    const statement = plan.statement + made
    const sql = `select ${statement} ${plan.tag}`
    const first = plan.from + records.length
    add(recordType.frontend, queryFrame(sql))
    add(recordType.backend, Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1'))
    const judgedBy = policyChange !== undefined && number > 1 ? { policy: policyChange.policy.hash } : {}
    statements.push({ ...judgedBy, number: statement, place: { first, last: first + 1 }, sql, started: clock.now })
  }
  let gap: Gap | null = null
  if (plan.gap && number === 1) {
    gap = { from: clock.now, to: clock.now + 1, frontendBytes: 10, backendBytes: 20, reason: 'the disk was full' }
    add(recordType.gap, payloadOf(gap))
  }
  if (policyChange !== undefined && number === 1) add(recordType.policyChange, payloadOf(policyChange))
  if (number === 1) for (const each of plan.deliveredUnstored) add(recordType.deliveredUnstored, payloadOf(each))
  if (plan.last) add(recordType.sessionClose, payloadOf({ closed: clock.now + 0.5, reason: 'terminated', recovered: false }))
  // A notice, which belongs to no statement: a segment is never empty.
  if (records.length === 0) add(recordType.backend, Buffer.from('N\0\0\0\x0bMhello\0\0', 'latin1'))
  return { records, statements, gap }
}

/** Seals a segment and its index, puts both, and gives what the manifest says of them. */
async function putSegment(
  store: Store,
  fields: SegmentFields,
  records: readonly SessionRecord[],
  statements: readonly TestStatement[],
): Promise<ManifestSegment & { readonly index: NonNullable<ManifestSegment['index']> }> {
  const { session, number } = fields
  const { bytes, sha256, rawBytes } = sealSegment(fields, records.map(encodeRecord))
  const indexBytes = encodeStatementIndex(session, number, statements)
  const [key, indexKey] = [segmentKey(session, number), statementIndexKey(session, number)]
  await putOnce(store, key, bytes)
  await putOnce(store, indexKey, indexBytes)
  const index = { key: indexKey, sha256: sha256Of(indexBytes), bytes: indexBytes.length, statements: statements.length }
  return { number, key, sha256, bytes: bytes.length, rawBytes, records: fields.records, index }
}
