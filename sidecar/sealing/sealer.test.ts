// Goal: what is in the spool is in the store, once, in order and verifiable, wherever sealing was interrupted. Method: each fault at
// every put that sealing makes; a killed process is followed by one that recovers its spool, which meets the rest of the faults.
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256Of } from '../../session/digest.ts'
import { readSessionManifest, sessionIds } from '../../session/read-session.ts'
import { readLedgerEntry } from '../../session/ledger.ts'
import { ledgerKey, segmentKey } from '../../session/object-keys.ts'
import { decodeRecords, recordType } from '../../session/records.ts'
import { signDocument } from '../../session/signed-document.ts'
import { testKey, testSessionId } from '../../session/test-recording.ts'
import { listSpoolFiles } from '../spool/spool-files.ts'
import { createSealingWorld, faults, type SealingWorld } from './test-world.ts'

const epoch = Date.UTC(2026, 10, 21, 9)
const statements = (session: number): string[] => [1, 2, 3].map((number) => `select ${session}, ${number}`)

/** Two sessions side by side: one that ended, one that the process was killed in. */
function spoolTwoSessions(world: SealingWorld): readonly number[] {
  const spool = world.spool(epoch)
  spool.open(1)
  spool.open(2)
  for (const [index, sql] of statements(1).entries()) {
    spool.statement(1, sql)
    spool.statement(2, statements(2)[index]!)
  }
  spool.close(1)
  return spool.ends
}

const expected = new Map([1, 2].map((session) => [session, statements(session)]))

for (const fault of faults) {
  test(`what is spooled is what the store holds, once and verifiable, at every put: ${fault}`, async (t) => {
    for (let at = 1; ; at++) {
      const world = createSealingWorld(t, { fileBytesMax: 1_000 }) // Several files, let go of one by one.
      const ends = spoolTwoSessions(world)
      world.failAt(at, fault)
      await world.follow(epoch, ends)
      const isThrough = !world.wasHit
      world.failAt(0, fault)
      const toldBefore = world.told.length
      assert.ok(await world.recover(epoch), 'the next start is through')
      for (const told of [world.told.slice(0, toldBefore), world.told.slice(toldBefore)])
        assert.equal(new Set(told).size, told.length, `no process tells of a statement twice: ${fault} at put ${at}`)
      assert.equal(new Set(world.told).size, expected.size * statements(1).length, `each statement is told of: ${fault} at put ${at}`)
      assert.deepEqual(await world.recorded(), expected, `${fault} at put ${at}`)
      assert.deepEqual(await world.verifyErrors(), [], `${fault} at put ${at}`)
      assert.deepEqual(listSpoolFiles(world.folder), [], 'the spool is let go of')
      if (isThrough) {
        assert.ok(at > 10, `sealing makes many puts: ${at}`)
        return
      }
    }
  })

  test(`a recovery that is interrupted itself is gone on with by the next start, at every put: ${fault}`, async (t) => {
    for (let at = 1; ; at++) {
      const world = createSealingWorld(t, { fileBytesMax: 1_000 }) // Several files, let go of one by one.
      const ends = spoolTwoSessions(world)
      await world.follow(epoch, ends.slice(0, ends.length >> 1))
      world.failAt(at, fault)
      const isKilled = !(await world.recover(epoch))
      if (isKilled) assert.ok(await world.recover(epoch), 'the start after it is through')
      assert.deepEqual(await world.recorded(), expected, `${fault} at put ${at}`)
      assert.deepEqual(await world.verifyErrors(), [], `${fault} at put ${at}`)
      if (!world.wasHit) return
    }
  })
}

test('a statement that is stored is not told of again by the next start, and one that is not is', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  for (const sql of statements(1)) spool.statement(1, sql)
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 1 })
  while (await sealer.step(spool.position.writtenBytes));
  reader.close()
  const stored = [...world.told]
  assert.equal(stored.length, statements(1).length)
  spool.statement(1, 'select 1, 4')
  assert.ok(await world.recover(epoch))
  assert.deepEqual(world.told.slice(stored.length), [`${testSessionId(epoch, 1)} 4`])
})

test('a session that outlives its first spool file opens once, also when the process is killed later', async (t) => {
  const world = createSealingWorld(t, { fileBytesMax: 1_000 })
  const spool = world.spool(epoch)
  spool.open(1)
  for (const sql of statements(1)) spool.statement(1, sql)
  while (listSpoolFiles(world.folder).at(-1)!.bytes < 1_000) spool.statement(1, 'select 1, 6')
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 1 })
  while (await sealer.step(spool.position.writtenBytes));
  for (const sql of statements(2)) spool.statement(1, sql)
  // The file that begins behind what is stored repeats the opening; the one before it is gone.
  reader.release(sealer.settledPosition)
  reader.close()
  assert.equal(listSpoolFiles(world.folder)[0]!.start, sealer.settledPosition)
  for (const sql of statements(3)) spool.statement(1, sql)
  assert.ok(await world.recover(epoch))
  const texts = (await world.recorded()).get(1)!.filter((sql) => sql !== 'select 1, 6')
  assert.deepEqual(texts, [...statements(1), ...statements(2), ...statements(3)])
  assert.deepEqual(await world.verifyErrors(), [])
})

test('a record torn at any byte by a kill is cut off, and everything before it is kept', async (t) => {
  const whole = createSealingWorld(t)
  const spool = whole.spool(epoch)
  spool.open(1)
  for (const sql of statements(1)) spool.statement(1, sql)
  const [file] = listSpoolFiles(whole.folder)
  const bytes = readFileSync(file!.path)
  const torn = spool.position.writtenBytes - 60
  for (let cut = torn; cut < bytes.length; cut++) {
    const world = createSealingWorld(t)
    const path = join(world.folder, file!.path.split('/').at(-1)!)
    writeFileSync(path, bytes)
    truncateSync(path, cut)
    assert.ok(await world.recover(epoch))
    const texts = (await world.recorded()).get(1)!
    assert.deepEqual(texts.slice(0, 2), statements(1).slice(0, 2), `cut at ${cut}`)
    assert.deepEqual(await world.verifyErrors(), [], `cut at ${cut}`)
    assert.ok(world.damages.every(({ isTail }) => isTail))
  }
})

test('damage in the middle of a spool is stated as a gap, and what lies in later files is kept', async (t) => {
  const world = createSealingWorld(t, { fileBytesMax: 800 })
  const spool = world.spool(epoch)
  spool.open(1)
  for (const sql of [...statements(1), ...statements(2), ...statements(3)]) spool.statement(1, sql)
  const files = listSpoolFiles(world.folder)
  assert.ok(files.length > 3)
  const descriptor = openSync(files[1]!.path, 'r+')
  writeSync(descriptor, Buffer.from([0xff]), 0, 1, statSync(files[1]!.path).size - 10)
  closeSync(descriptor)
  assert.ok(await world.recover(epoch))
  assert.equal(world.damages.filter(({ isTail }) => !isTail).length, 1)
  const texts = (await world.recorded()).get(1)!
  assert.deepEqual([texts[0], texts.at(-1)], [statements(1)[0], statements(3).at(-1)])
  assert.deepEqual(await world.verifyErrors(), [])
})

test('damage in the last file of a spool is stated as a gap: what lay behind it had been forwarded', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  for (const sql of [...statements(1), ...statements(2)]) spool.statement(1, sql)
  const [file] = listSpoolFiles(world.folder)
  const descriptor = openSync(file!.path, 'r+')
  writeSync(descriptor, Buffer.from([0xff]), 0, 1, spool.ends.at(-6)! - 5)
  closeSync(descriptor)
  assert.ok(await world.recover(epoch))
  assert.deepEqual(
    world.damages.map(({ isTail }) => isTail),
    [false],
  )
  assert.deepEqual((await world.recorded()).get(1), statements(1))
  const [session] = await Array.fromAsync(sessionIds(world.kept, 'oldest'))
  assert.equal((await readSessionManifest(world.kept, session!))!.gaps.length, 1)
  assert.deepEqual(await world.verifyErrors(), [])
})

test('a sound record that cannot be taken in is not left out in silence: sealing fails, and the spool stays', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  spool.append(2, recordType.sessionOpen, Buffer.from('{'))
  await assert.rejects(world.recover(epoch), SyntaxError)
  assert.equal(listSpoolFiles(world.folder).length, 1)
})

test('bytes that are no frames are stored as they came, and so is what follows them', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  spool.append(1, recordType.frontend, Buffer.from('!!!!!half a frame\0'))
  spool.statement(1, 'select 1')
  assert.ok(await world.recover(epoch))
  assert.deepEqual((await world.recorded()).get(1), ['half a frame', 'select 1'])
  assert.deepEqual(await world.verifyErrors(), [])
})

test('a ledger entry that was stored without anybody being told is entered once', async (t) => {
  const world = createSealingWorld(t)
  const ledger = await world.openLedger()
  world.failAt(1, 'put kept, reply lost')
  const event = { kind: 'heartbeat', openSessions: 0 } as const
  await world.persist(() => ledger.enter([event]))
  await ledger.enter([event])
  assert.equal([...world.kept.objects.keys()].filter((key) => key.startsWith('ledger/')).length, 2)
})

test('a ledger whose tail was deleted goes on behind the head that the spool kept, and says so', async (t) => {
  const world = createSealingWorld(t)
  const ledger = await world.openLedger()
  for (let entry = 0; entry < 3; entry++) await ledger.enter([{ kind: 'heartbeat', openSessions: 0 }])
  const last = [...world.kept.objects.keys()]
    .filter((key) => key.startsWith('ledger/'))
    .sort()
    .at(-1)!
  world.kept.objects.delete(last)
  const next = await world.openLedger()
  await next.enter([{ kind: 'heartbeat', openSessions: 0 }])
  assert.deepEqual(world.headsMissing, [3])
  assert.ok(!world.kept.objects.has(last), 'what was deleted is not made again, so that the hole shows')
})

test('a session whose stored part is damaged is set aside with all its records, and the others are stored', async (t) => {
  const world = createSealingWorld(t)
  const ends = spoolTwoSessions(world)
  await world.follow(epoch, ends.slice(0, ends.length >> 1))
  const spooled = readFileSync(listSpoolFiles(world.folder)[0]!.path)
  const damaged = testSessionId(epoch, 2)
  const first = segmentKey(damaged, 1)
  const bytes = Buffer.from(world.kept.objects.get(first)!)
  bytes[bytes.length - 20]! ^= 1
  world.kept.objects.set(first, bytes)
  assert.ok(await world.recover(epoch))
  const [{ session, code, path }] = world.setAside as [(typeof world.setAside)[number]]
  assert.deepEqual([world.setAside.length, session, code], [1, damaged, 'BAD_SEGMENT'])
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const wanted = [...decodeRecords(spooled)].filter((record) => record.session === 2)
  assert.deepEqual([...decodeRecords(readFileSync(path))], wanted)
  assert.ok((await readSessionManifest(world.kept, testSessionId(epoch, 1))) !== null)
  assert.deepEqual(listSpoolFiles(world.folder), [], 'the spool is let go of')
})

test('a session whose next object is there already and differs is set aside from there on, also by the next start', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  const id = testSessionId(epoch, 1)
  spool.open(1)
  spool.open(2)
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 1 })
  while (await sealer.step(spool.position.writtenBytes));
  world.kept.objects.set(segmentKey(id, 2), Buffer.from('of somebody else'))
  const from = spool.position.writtenBytes
  spool.statement(1, 'select 1')
  spool.statement(2, 'select 2')
  while (await sealer.step(spool.position.writtenBytes));
  spool.statement(1, 'select 3')
  while (await sealer.step(spool.position.writtenBytes));
  assert.deepEqual(
    world.setAside.map(({ session, code }) => [session, code]),
    [[id, 'OBJECT_CONFLICT']],
  )
  assert.equal(sealer.openSessions, 2)
  assert.equal(sealer.settledPosition, spool.position.writtenBytes, 'what is set aside is let go of')
  const wanted = [...decodeRecords(readFileSync(listSpoolFiles(world.folder)[0]!.path).subarray(from))].filter(
    (record) => record.session === 1,
  )
  const { path } = world.setAside[0]!
  assert.deepEqual([...decodeRecords(readFileSync(path))], wanted)
  reader.close()
  world.kept.objects.delete(segmentKey(id, 2))
  spool.close(2)
  assert.ok(await world.recover(epoch))
  assert.equal(world.kept.objects.has(segmentKey(id, 2)), false, 'a later segment would hide that records are missing')
  assert.ok((await readSessionManifest(world.kept, testSessionId(epoch, 2))) !== null)
})

test('for those who wait one round stores everything of all sessions, whatever its age, under one ledger entry', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  const sessions = 40
  for (let session = 1; session <= sessions; session++) spool.open(session)
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 10_000_000 })
  await sealer.round(spool.position.writtenBytes)
  assert.equal(sealer.settledPosition, spool.position.writtenBytes)
  assert.equal(sealer.segments, sessions)
  const before = spool.position.writtenBytes
  spool.statement(1, 'select 1')
  spool.statement(2, 'select 2')
  await sealer.round(spool.ends.at(-3)!)
  assert.equal(sealer.settledPosition, spool.ends.at(-3), 'no further than it was told')
  assert.ok(spool.ends.at(-3)! > before)
  await sealer.round(spool.position.writtenBytes)
  assert.equal(sealer.settledPosition, spool.position.writtenBytes)
  const entries = [...world.kept.objects.keys()].filter((name) => name.startsWith('ledger/'))
  assert.equal(entries.length, 3)
  reader.close()
})

test('a session that is set aside is named as one that will never be stored, also by the sealer that takes over', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  spool.open(1)
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 1 })
  await sealer.round(spool.position.writtenBytes)
  world.kept.objects.set(segmentKey(testSessionId(epoch, 1), 2), Buffer.from('of somebody else'))
  spool.statement(1, 'select 1')
  assert.deepEqual(world.unstorable, [])
  await sealer.round(spool.position.writtenBytes)
  assert.deepEqual(world.unstorable, [1])
  reader.close()
  const next = await world.sealerOf(epoch, { recovered: true, bytesMax: 1 })
  await next.sealer.round(spool.position.writtenBytes)
  assert.deepEqual(world.unstorable, [1, 1])
  next.reader.close()
})

// Goal: an end that comes before all is stored leaves as much proven as can be. Method: killed in the middle of what is stored last.
test('at the end sessions that nobody knows of go first, small ones before large ones, and each few are in the ledger before the next', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  const { sealer, reader } = await world.sealerOf(epoch, { recovered: false, bytesMax: 10_000_000 })
  const known = 1
  spool.open(known)
  await sealer.step(spool.position.writtenBytes)
  await sealer.flush()
  const large = 2
  for (let session = large; session <= 20; session++) spool.open(session)
  for (let times = 0; times < 20; times++) spool.statement(large, 'select 1')
  spool.statement(known, 'select 1')
  await sealer.step(spool.position.writtenBytes)
  const putsOfFirstFew = 16 * 2 + 1
  world.failAt(putsOfFirstFew + 1, 'killed before a put')
  await assert.rejects(sealer.flush())
  reader.close()
  const entry = readLedgerEntry(world.kept.objects.get(ledgerKey(world.key.id, 2))!).entry
  const opened = entry.events.flatMap((event) => (event.kind === 'session-opened' ? [event.session] : []))
  assert.equal(opened.length, 16)
  assert.ok(
    !opened.includes(testSessionId(epoch, large)) &&
      !entry.events.some((event) => 'session' in event && event.session === testSessionId(epoch, known)),
  )
  assert.equal(world.kept.objects.has(segmentKey(testSessionId(epoch, known), 2)), true, 'the rest was under way')
})

test('a ledger whose last entry was damaged goes on behind the head that the spool kept, and says so', async (t) => {
  const world = createSealingWorld(t)
  const event = { kind: 'heartbeat', openSessions: 0 } as const
  const ledger = await world.openLedger()
  for (let entry = 0; entry < 3; entry++) await ledger.enter([event])
  world.kept.objects.set(ledgerKey(world.key.id, 3), Buffer.from('damaged'))
  await (await world.openLedger()).enter([event])
  assert.deepEqual(world.headsDamaged, [3])
  assert.ok(world.kept.objects.has(ledgerKey(world.key.id, 4)))
  world.kept.objects.set(ledgerKey(world.key.id, 5), Buffer.from('damaged'))
  await assert.rejects(world.openLedger(), { code: 'LEDGER_HEAD_DAMAGED' })
})

// Goal: a recorder vouches for no entry that is not its own. Method: a well-made entry of another key, where a continuing recorder looks first.
test('a ledger never goes on behind an entry that its recorder did not sign', async (t) => {
  const world = createSealingWorld(t)
  const event = { kind: 'heartbeat', openSessions: 0 } as const
  const ledger = await world.openLedger()
  for (let entry = 0; entry < 3; entry++) await ledger.enter([event])
  const [own, forgedKey] = [world.kept.objects.get(ledgerKey(world.key.id, 3))!, testKey(8)]
  const forge = (number: number): void => {
    const entry = { ...readLedgerEntry(own).entry, number, events: [{ kind: 'recorder-stopped' }] as const }
    world.kept.objects.set(ledgerKey(world.key.id, number), signDocument(entry, forgedKey).bytes)
  }
  forge(4)
  await assert.rejects(world.openLedger(), { code: 'LEDGER_HEAD_DAMAGED', message: /not signed by its recorder/ })
  world.kept.objects.delete(ledgerKey(world.key.id, 4))
  forge(3)
  await (await world.openLedger()).enter([event])
  const fourth = readLedgerEntry(world.kept.objects.get(ledgerKey(world.key.id, 4))!).entry
  assert.deepEqual([world.headsDamaged, fourth.previous], [[3], sha256Of(own)])
  world.kept.objects.set(ledgerKey(world.key.id, 5), Buffer.alloc(5 * 1024 * 1024, ' '))
  await assert.rejects(world.openLedger(), { code: 'LEDGER_HEAD_DAMAGED', message: /longer than any/ })
})
