import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from './memory-store.ts'
import { manifestKey, segmentKey, statementIndexKey } from './object-keys.ts'
import {
  findSession,
  listSessions,
  readIdentity,
  readRecords,
  readStatements,
  RecordingDamaged,
  SessionAmbiguous,
  SessionNotFound,
} from './read-session.ts'
import { recordType } from './records.ts'
import { openSegment, sealSegment } from './segment.ts'
import { createTestRecorder, testEpoch, testIdentity } from './test-recording.ts'

const day = 86_400_000

async function createWorld() {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const closed = await recorder.record([{ statements: 2 }, { statements: 0 }, { statements: 3 }])
  const open = await recorder.record([{ statements: 1 }, { statements: 2 }], { close: false })
  return { store, recorder, closed, open }
}

for (const which of ['closed', 'open'] as const) {
  test(`of a session that is ${which}, every record and statement comes back in order`, async () => {
    const world = await createWorld()
    const records = await Array.fromAsync(readRecords(world.store, world[which]))
    assert.deepEqual(
      records.map(({ ordinal }) => ordinal),
      records.map((_, at) => at),
    )
    assert.equal(records[0]!.type, recordType.sessionOpen)
    assert.equal(records.at(-1)!.type, which === 'closed' ? recordType.sessionClose : recordType.backend)
    const statements = await Array.fromAsync(readStatements(world.store, world[which]))
    assert.deepEqual(
      statements.map(({ number }) => number),
      which === 'closed' ? [1, 2, 3, 4, 5] : [1, 2, 3],
    )
    for (const { place } of statements) assert.equal(records[place.first]!.type, recordType.frontend)
    const identity = await readIdentity(world.store, world[which])
    assert.deepEqual(identity, testIdentity(world[which], identity.opened, world.recorder.key.id))
  })

  test(`of a session that is ${which}, any part is what it is in the whole`, async () => {
    const world = await createWorld()
    const all = await Array.fromAsync(readRecords(world.store, world[which]))
    for (let from = 0; from <= all.length; from++) {
      for (let to = from; to <= all.length; to++) {
        assert.deepEqual(await Array.fromAsync(readRecords(world.store, world[which], { from, to })), all.slice(from, to))
      }
    }
  })

  test(`of a session that is ${which}, what is damaged or missing is an error that names it, never left out`, async () => {
    const world = await createWorld()
    const session = world[which]
    // Only a manifest says what an index must be.
    const keys = [
      segmentKey(session, 1),
      segmentKey(session, 2),
      ...(which === 'closed' ? [statementIndexKey(session, 1), manifestKey(session)] : []),
    ]
    for (const key of keys) {
      const whole = world.store.objects.get(key)!
      const read = async (): Promise<void> => {
        await Array.fromAsync(readRecords(world.store, session))
        await Array.fromAsync(readStatements(world.store, session))
      }
      // In the body of a segment, a value of an index, a digest of a manifest: signatures are the verifier's to check.
      const flipped = Buffer.from(whole)
      flipped[key.endsWith('manifest.json') ? whole.indexOf('"sha256":"') + 12 : whole.length - 10]! ^= 1
      world.store.objects.set(key, flipped)
      await assert.rejects(
        read(),
        (error) => error instanceof RecordingDamaged && (error.key === key || key.endsWith('manifest.json')),
        `flip in ${key}`,
      )
      world.store.objects.delete(key)
      // Without its manifest a session is read as one that is open.
      if (key.endsWith('.steno') && !(which === 'open' && key === keys[1])) await assert.rejects(read(), RecordingDamaged, `no ${key}`)
      world.store.objects.set(key, whole)
      await read()
    }
  })
}

test('a segment exchanged for another sound one is not what the manifest names', async () => {
  const { store, closed } = await createWorld()
  const { header, body } = openSegment(store.objects.get(segmentKey(closed, 3))!)
  store.objects.set(segmentKey(closed, 3), sealSegment({ ...header, spoolEnd: { file: 9, offset: 9 } }, [body]).bytes)
  await assert.rejects(Array.fromAsync(readRecords(store, closed)), RecordingDamaged)
})

test('a session is found by its id, by any beginning that only it has, and as the last', async () => {
  const { store, closed, open } = await createWorld()
  assert.equal(await findSession(store, 'last'), open)
  for (const session of [closed, open]) {
    assert.equal(await findSession(store, session), session)
    assert.equal(await findSession(store, session.toUpperCase().slice(0, 13)), session)
  }
  await assert.rejects(findSession(store, closed.slice(0, 6)), SessionAmbiguous)
  for (const wanted of ['', 'first', '../x', closed.replace(/.$/, 'f'), '00', `${closed}0`])
    await assert.rejects(findSession(store, wanted), SessionNotFound, wanted)
  await assert.rejects(findSession(createMemoryStore(), 'last'), SessionNotFound)
})

test('the list shows each session with its state, either way round, within a span', async () => {
  const { store, recorder, closed, open } = await createWorld()
  const later = await createTestRecorder(store, { seed: 2, start: testEpoch + 2 * day })
  const third = await later.record([{ statements: 1 }])
  const now = testEpoch + 60_000
  const listed = async (options: Parameters<typeof listSessions>[1]) =>
    (await Array.fromAsync(listSessions(store, { now, ...options }))).map(({ session, state, statements }) => [session, state, statements])
  const all = [
    [third, 'closed', 1],
    [open, 'open', 3],
    [closed, 'closed', 5],
  ]
  assert.deepEqual(await listed({}), all)
  assert.deepEqual(await listed({ order: 'oldest' }), all.toReversed())
  assert.deepEqual(await listed({ until: testEpoch + day }), all.slice(1))
  assert.deepEqual(await listed({ since: testEpoch + day }), all.slice(0, 1))
  assert.deepEqual((await listed({ now: now + 600_000 }))[1], [open, 'open', 3], 'two heartbeats may be missed')
  assert.deepEqual(await listed({ now: now + 960_000, until: testEpoch + day }), [
    [open, 'killed', 3],
    [closed, 'closed', 5],
  ])
  await recorder.stop()
  assert.deepEqual((await listed({}))[1], [open, 'killed', 3])
  store.objects.set(manifestKey(closed), Buffer.from('{}'))
  assert.deepEqual((await listed({}))[2], [closed, 'damaged', null])
})
