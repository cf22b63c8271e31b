// Promises "nothing hidden" and "nothing lost" against who can write to the store: what lies there when a process's spool is gone on with is
// this recorder's, or is set aside and named. The forger has the store and no key. Method: a session of which some is stored is left by a
// killed process; what it stored is changed in every way, or something is put where the next part goes; then the spool is recovered.
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import type { SessionIdentity } from '../../session/identity.ts'
import { sealManifest } from '../../session/manifest.ts'
import { manifestKey, segmentKey, sessionPrefix, statementIndexKey } from '../../session/object-keys.ts'
import { decodeRecords, encodeRecord, recordType, type SessionRecord } from '../../session/records.ts'
import { openSegment, sealSegment, type SegmentHeader } from '../../session/segment.ts'
import { StoreUnavailable } from '../../session/stores/store.ts'
import { payloadOf, queryFrame, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'
import { sha256Of } from '../../session/digest.ts'
import { readSessionManifest } from '../../session/read-session.ts'
import { stenoVersion } from '../../base/version.ts'
import { listSpoolFiles } from '../spool/spool-files.ts'
import { damageGap, isOwnRecord, killedClose } from './own-records.ts'
import { createOwnLedger } from './own-ledger.ts'
import { isIndexOfOtherRelease } from './stored-part.ts'
import { createSealingWorld, type SealingWorld } from './test-world.ts'

const epoch = Date.UTC(2026, 10, 22, 4)
const session = testSessionId(epoch, 1)
const answer = Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1')

type Left = {
  readonly world: SealingWorld
  /** How many segments the ledger names, and how many the store has. */
  readonly named: number
  readonly stored: number
}

/** A killed process's session: some of it named by the ledger, one more segment stored when `isUnnamed`, and the rest in the spool alone. */
async function leftBehind(t: TestContext, { isUnnamed }: { readonly isUnnamed: boolean }): Promise<Left> {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  for (let number = 1; number <= 4; number++) spool.statement(1, `select 'harmless ${number}'`)
  const ends = [spool.ends.at(-1)!]
  for (let number = 5; number <= 8; number++) spool.statement(1, `select 'harmless ${number}'`)
  if (isUnnamed) ends.push(spool.ends.at(-1)!)
  // The recorder's document, segment, index and entry; then the segment and index that the killed process enters no more.
  if (isUnnamed) world.failAt(7, 'killed before a put')
  assert.equal(await world.follow(epoch, ends), !isUnnamed)
  spool.statement(1, 'drop table evidence')
  let stored = 0
  while (world.kept.objects.has(segmentKey(session, stored + 1))) stored++
  assert.equal(stored, isUnnamed ? 2 : 1)
  world.failAt(0, 'put refused')
  return { world, named: 1, stored }
}

function headerOf({ kept }: SealingWorld, number: number): SegmentHeader {
  return openSegment(kept.objects.get(segmentKey(session, number))!).header
}

/** Everything that the spool held behind what the ledger names is in the session's file, the log has why, and `verify` names the session. */
async function assertSetAside(world: SealingWorld, codes: readonly string[]): Promise<void> {
  assert.deepEqual(
    world.setAside.map((aside) => [aside.session, codes.includes(aside.code) ? 'as expected' : aside.code]),
    [[session, 'as expected']],
  )
  const kept = [...decodeRecords(readFileSync(world.setAside[0]!.path))]
  const texts = kept.filter(({ type }) => type === recordType.frontend).map(({ payload }) => payload.toString('latin1'))
  assert.ok(texts.at(-1)!.includes('drop table evidence'))
  assert.equal(texts.filter((text) => text.includes('harmless')).length >= 4, true)
  const errors = await world.verifyErrors()
  assert.ok(errors.length > 0, 'verify says sound')
}

test('a forged next segment is not taken over as the recorder’s own, and verify names it', async (t) => {
  const { world, stored } = await leftBehind(t, { isUnnamed: false })
  const header = headerOf(world, stored)
  const time = header.lastTime
  const records = [
    { type: recordType.frontend, payload: queryFrame("select 'nothing to see'") },
    { type: recordType.backend, payload: answer },
    { type: recordType.sessionClose, payload: payloadOf({ closed: time, reason: 'terminated', recovered: false }) },
  ]
  const forged = sealSegment(
    {
      ...header,
      ...{ number: stored + 1, previous: sha256Of(world.kept.objects.get(segmentKey(session, stored))!), last: true, firstTime: time },
      records: { from: header.records.to, to: header.records.to + records.length },
      spoolEnd: { file: epoch, offset: 1e12 },
    },
    records.map((record) => encodeRecord({ ...record, flags: 0, session: 1, time })),
  )
  world.kept.objects.set(segmentKey(session, stored + 1), forged.bytes)
  assert.ok(await world.recover(epoch))
  await assertSetAside(world, ['STORED_PART_FORGED'])
  const errors = await world.verifyErrors()
  assert.match(errors.join('\n'), /OBJECT_(DIGEST|SIZE): segment 2 /, 'the ledger says what should be there')
})

test('a manifest that a stranger signed does not end a session whose records wait in the spool', async (t) => {
  const { world } = await leftBehind(t, { isUnnamed: false })
  const forger = testKey(66)
  const close = { closed: epoch + 1, reason: 'terminated', recovered: false } as const
  const identity = testIdentity(session, epoch, world.key.id)
  const { bytes } = sealManifest(
    { session, identity, opened: epoch, closed: epoch + 1, close, segments: [], statements: 0, gaps: [], recovered: false },
    { ...forger, id: world.key.id },
  )
  world.kept.objects.set(manifestKey(session), bytes)
  assert.ok(await world.recover(epoch))
  await assertSetAside(world, ['STORED_PART_FORGED'])
})

/** The segment of that number with another header or other records, as somebody without a key can make it. */
function changed(
  { kept }: SealingWorld,
  number: number,
  change: { readonly header?: Partial<SegmentHeader>; readonly records?: (records: SessionRecord[]) => SessionRecord[] },
): Buffer {
  const { header, body } = openSegment(kept.objects.get(segmentKey(session, number))!)
  const records = (change.records ?? ((same) => same))([...decodeRecords(body)])
  return sealSegment({ ...header, ...change.header }, records.map(encodeRecord)).bytes
}

const identityOf = (world: SealingWorld, changes: Partial<SessionIdentity>): SessionIdentity => ({
  ...headerOf(world, 2).identity,
  ...changes,
})

/** What a forger can make of a segment that no ledger names yet. */
const forgeries: Readonly<Record<string, (world: SealingWorld) => Buffer>> = {
  'a statement is another': (world) =>
    changed(world, 2, {
      records: (records) =>
        records.map((record) => (record.type === recordType.frontend ? { ...record, payload: queryFrame("select 'harmless 0'") } : record)),
    }),
  'a record came at another time': (world) =>
    changed(world, 2, { records: ([first, ...rest]) => [{ ...first!, time: first!.time + 1 }, ...rest] }),
  'its last statement is left out': (world) => {
    const { records } = headerOf(world, 2)
    return changed(world, 2, { header: { records: { ...records, to: records.to - 2 } }, records: (all) => all.slice(0, -2) })
  },
  'a gap is told of that nobody met': (world) => {
    const { records } = headerOf(world, 2)
    const gap = { ...damageGap('nothing', epoch), flags: 0, session: 1, time: epoch }
    return changed(world, 2, { header: { records: { ...records, to: records.to + 1 } }, records: (all) => [...all, gap] })
  },
  'the session is ended as killed too early': (world) => {
    const { records } = headerOf(world, 2)
    const end = { ...killedClose(epoch), flags: 0, session: 1, time: epoch + 1 }
    return changed(world, 2, { header: { records: { ...records, to: records.to + 1 }, last: true }, records: (all) => [...all, end] })
  },
  'it claims to reach further in the spool': (world) => changed(world, 2, { header: { spoolEnd: { file: epoch, offset: 1e12 } } }),
  'it claims another spool': (world) =>
    changed(world, 2, { header: { spoolEnd: { file: epoch + 1, offset: headerOf(world, 2).spoolEnd.offset } } }),
  'it claims to be the last': (world) => changed(world, 2, { header: { last: true } }),
  'it claims to begin at another time': (world) => changed(world, 2, { header: { firstTime: epoch } }),
  'it follows another segment': (world) => changed(world, 2, { header: { previous: '0'.repeat(64) } }),
  'it is of another recorder': (world) => {
    const recorder = testKey(66).id
    return changed(world, 2, { header: { recorder, identity: identityOf(world, { recorder }) } })
  },
  'it is of another user': (world) => changed(world, 2, { header: { identity: identityOf(world, { user: 'somebody-else' }) } }),
  'it is damaged': (world) => {
    const bytes = Buffer.from(world.kept.objects.get(segmentKey(session, 2))!)
    bytes[bytes.length - 20]! ^= 1
    return bytes
  },
}

for (const [what, forge] of Object.entries(forgeries)) {
  test(`a stored segment that no ledger names is the recorder’s only when it is exactly what the spool holds: ${what}`, async (t) => {
    const { world } = await leftBehind(t, { isUnnamed: true })
    world.kept.objects.set(segmentKey(session, 2), forge(world))
    assert.ok(await world.recover(epoch))
    await assertSetAside(world, ['STORED_PART_FORGED', 'BAD_SEGMENT'])
  })
}

test('a stored segment that no ledger names and that is what the spool holds is taken over, with the index that it lacks', async (t) => {
  for (const isIndexThere of [true, false]) {
    const { world } = await leftBehind(t, { isUnnamed: true })
    const before = world.kept.objects.get(segmentKey(session, 2))
    if (!isIndexThere) world.kept.objects.delete(statementIndexKey(session, 2))
    assert.ok(await world.recover(epoch))
    assert.deepEqual(world.setAside, [])
    assert.deepEqual(await world.verifyErrors(), [])
    assert.equal(world.kept.objects.get(segmentKey(session, 2)), before)
    const texts = (await world.recorded()).get(1)!
    assert.deepEqual([texts.length, texts.at(-1)], [9, 'drop table evidence'])
  }
})

test('the index of a segment that no ledger names is the recorder’s only when it is what the segment gives', async (t) => {
  const { world } = await leftBehind(t, { isUnnamed: true })
  const key = statementIndexKey(session, 2)
  world.kept.objects.set(key, Buffer.from(world.kept.objects.get(key)!.toString('utf8').replaceAll('harmless 5', 'harmless 0')))
  assert.ok(await world.recover(epoch))
  await assertSetAside(world, ['STORED_PART_FORGED'])
})

test('a segment or index that the ledger names is gone on behind only as it was stored', async (t) => {
  const exchanges: readonly ((world: SealingWorld) => void)[] = [
    (world) => world.kept.objects.set(segmentKey(session, 1), changed(world, 1, { header: { spoolEnd: { file: epoch, offset: 1e12 } } })),
    (world) =>
      world.kept.objects.set(
        segmentKey(session, 1),
        changed(world, 1, {
          records: (records) =>
            records.map((record) => (record.type === recordType.frontend ? { ...record, type: recordType.gap } : record)),
        }),
      ),
    (world) => world.kept.objects.delete(segmentKey(session, 1)),
    (world) => {
      const key = statementIndexKey(session, 1)
      world.kept.objects.set(key, Buffer.from(world.kept.objects.get(key)!.toString('utf8').replaceAll('harmless', 'harmful!')))
    },
  ]
  for (const exchange of exchanges) {
    const { world } = await leftBehind(t, { isUnnamed: false })
    exchange(world)
    assert.ok(await world.recover(epoch))
    await assertSetAside(world, ['STORED_PART_FORGED'])
  }
})

test('a recovery of a damaged spool that is interrupted itself tells of the damage and of the end once', async (t) => {
  for (let at = 1; ; at++) {
    const world = createSealingWorld(t, { fileBytesMax: 800 })
    const spool = world.spool(epoch)
    spool.open(1)
    for (let number = 1; number <= 9; number++) spool.statement(1, `select ${number}`)
    await world.follow(epoch, [spool.ends[3]!])
    const damaged = listSpoolFiles(world.folder).at(-2)!.path
    const descriptor = openSync(damaged, 'r+')
    writeSync(descriptor, Buffer.from([0xff]), 0, 1, statSync(damaged).size - 10)
    closeSync(descriptor)
    world.failAt(at, at % 2 === 0 ? 'killed after a put' : 'killed before a put')
    const isKilled = !(await world.recover(epoch))
    if (isKilled) assert.ok(await world.recover(epoch))
    assert.deepEqual(world.setAside, [], `killed at put ${at}`)
    assert.deepEqual(await world.verifyErrors(), [], `killed at put ${at}`)
    assert.equal((await readSessionManifest(world.kept, session))!.gaps.length, 1, `killed at put ${at}`)
    assert.equal((await world.recorded()).get(1)!.at(-1), 'select 9')
    if (!world.wasHit) return
  }
})

test('a store that fails while a session is taken over has no record followed twice', async (t) => {
  const { world } = await leftBehind(t, { isUnnamed: true })
  for (let at = 1; ; at++) {
    const { world: again } = at === 1 ? { world } : await leftBehind(t, { isUnnamed: true })
    let reads = 0
    const { get } = again.store
    again.store.get = (key) => {
      if (key.startsWith('sessions/') && ++reads === at) throw new StoreUnavailable('the store refuses on cue', 'none')
      return get(key)
    }
    assert.ok(await again.recover(epoch))
    assert.deepEqual([again.setAside, await again.verifyErrors()], [[], []], `read ${at} failed`)
    if (reads < at) return
  }
})

test('a session that is taken from the store before its ledger entry is made is named by verify', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  const victim = testSessionId(epoch, 2)
  for (const number of [1, 2, 3]) {
    spool.open(number)
    spool.statement(number, 'select 1')
    spool.close(number)
  }
  const { putIfAbsent } = world.store
  world.store.putIfAbsent = async (key, bytes) => {
    if (key.startsWith('ledger/') && bytes.includes(victim))
      for (const each of [...world.kept.objects.keys()]) if (each.startsWith(sessionPrefix(victim))) world.kept.objects.delete(each)
    return putIfAbsent(key, bytes)
  }
  assert.ok(await world.follow(epoch, [spool.position.writtenBytes]))
  const errors = await world.verifyErrors()
  assert.match(errors.join('\n'), /OBJECT_MISSING/)
})

test('of another release’s index only fields that this one does not know may differ', () => {
  const line = { session, segment: 1, number: 1, place: { first: 0, last: 1 }, kind: 'simple', sql: 'select 1', rows: 1 }
  const index = (...lines: readonly object[]): Buffer => Buffer.from(lines.map((each) => `${JSON.stringify(each)}\n`).join(''))
  const of = (steno: string): SessionIdentity => ({ ...testIdentity(session, epoch, testKey(7).id), versions: { steno, node: '24' } })
  const made = index({ ...line, fingerprint: 'f' })
  assert.equal(isIndexOfOtherRelease(index(line), made, of('0.0.9')), true)
  assert.equal(isIndexOfOtherRelease(index({ ...line, fingerprint: 'f', later: 1 }), made, of('9.9.9')), true)
  assert.equal(isIndexOfOtherRelease(index(line), made, of(stenoVersion)), false)
  for (const other of [
    index({ ...line, sql: 'select 2' }),
    index({ ...line, fingerprint: 'g' }),
    index(),
    index(line, line),
    Buffer.from('{\n'),
  ])
    assert.equal(isIndexOfOtherRelease(other, made, of('0.0.9')), false)
})

test('a record is sealing’s own only in the one spelling that sealing gives it', () => {
  const record = (own: { type: number; payload: Buffer }, changes: Partial<SessionRecord> = {}): SessionRecord => ({
    ...{ flags: 0, session: 1, time: 1, ...own },
    ...changes,
  })
  const [gap, close] = [damageGap('a file', 5), killedClose(5)]
  assert.deepEqual([isOwnRecord(record(gap), 1), isOwnRecord(record(close), 1)], [true, true])
  const others = [
    record(gap, { session: 2 }),
    record(gap, { flags: 1 }),
    record(gap, { type: recordType.frontend }),
    record({ ...gap, payload: payloadOf({ from: 5, to: 5, frontendBytes: 0, backendBytes: 0, reason: 'the policy says so' }) }),
    record({ ...gap, payload: payloadOf({ from: 5, to: 6, frontendBytes: 0, backendBytes: 0, reason: 'the spool was damaged: x' }) }),
    record({ ...gap, payload: Buffer.from('{') }),
    record({ ...gap, payload: Buffer.from('null') }),
    record({ ...close, payload: payloadOf({ closed: 5, reason: 'terminated', recovered: true }) }),
    record({ ...close, payload: payloadOf({ closed: 5, reason: 'killed', recovered: true, detail: 'more' }) }),
  ]
  for (const other of others) assert.equal(isOwnRecord(other, 1), false, other.payload.toString())
})

test('the ledger is read back no further than to where a session is named, or opened', async (t) => {
  const world = createSealingWorld(t)
  const ledger = await world.openLedger()
  for (let entry = 0; entry < 100; entry++) await ledger.enter([{ kind: 'heartbeat', openSessions: 0 }])
  const read: string[] = []
  const store = { ...world.kept, range: (key: string, from: number, to: number) => (read.push(key), world.kept.range(key, from, to)) }
  const own = createOwnLedger({ store, key: world.key, lastNumber: 100, openedAt: new Map([[session, Date.now() + 3_600_000]]) })
  assert.equal(await own.lastStored(session), null)
  assert.equal(read.length, 16)
  assert.equal(await own.lastStored(testSessionId(epoch, 9)), null)
  assert.equal(read.length, 16, 'a session that the spool does not speak of is not asked for')
})
