// Goal: a sidecar keeps and sees its own recordings and nobody else's, whatever it claims. Method: two pods over the real server; the one
// tries everything that the other's recorder may do, before and after it, and with objects that were changed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findAttestation, sealAttestation } from '../../session/attestation.ts'
import {
  attestationKey,
  ledgerKey,
  ledgerPrefix,
  manifestKey,
  recorderKey,
  segmentKey,
  sessionPrefix,
  statementIndexKey,
} from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import { decodeRecords, encodeRecord } from '../../session/records.ts'
import { openSegment, sealSegment } from '../../session/segment.ts'
import { createLedger, type LedgerEvent } from '../../session/ledger.ts'
import { ControlRefused } from '../../session/stores/control.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { testKey } from '../../session/test-recording.ts'
import { verifyStore } from '../../session/verify.ts'
import { fitPod, startTestControl, testPod, type TestControl } from './test-control.ts'
import { madeRecording, type MadeObject, type MadeRecording } from './test-recordings.ts'

async function putAll(store: Store, objects: readonly MadeObject[]): Promise<void> {
  for (const { key, bytes } of objects) await putOnce(store, key, bytes)
}

/** What is wrong for an auditor who trusts control's key, and with it every recorder that control attested. */
async function findingsOf({ directory, key }: TestControl): Promise<string[]> {
  return (await Array.fromAsync(verifyStore(directory, { trust: { attesters: [key.publicKey] } }))).map(({ code }) => code)
}

function objectOf({ objects }: MadeRecording, key: string): MadeObject {
  return objects.find((object) => object.key === key)!
}

/** A ledger entry that says `events`, signed by the recorder of `seed` as its number `number`. */
function entryOf(seed: number, number: number, events: readonly LedgerEvent[]): MadeObject {
  const key = testKey(seed)
  const { objectKey, bytes } = createLedger({ key, head: number === 1 ? null : { number: number - 1, sha256: '0'.repeat(64) } }).entry(
    events,
    Date.now(),
  )
  return { key: objectKey, bytes }
}

test('what a sidecar puts is stored as it is, verifies, and says whose it is', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1)
  const store = await control.client('a')
  await putAll(store, recording.objects)
  await putAll(store, recording.objects) // A repeated put changes nothing.
  for (const { key, bytes } of recording.objects) assert.deepEqual(await control.directory.get(key), bytes, key)
  assert.deepEqual(await findingsOf(control), [])
  const found = await findAttestation(control.directory, recording.recorder)
  assert.deepEqual(found?.attestation.pod, { ...testPod('a'), owner: 'ReplicaSet/shop', image: 'steno@sha256:00' })
  assert.equal((await Array.fromAsync(store.list(sessionPrefix(recording.session)))).length, 5)
  assert.equal((await Array.fromAsync(store.list(ledgerPrefix(recording.recorder)))).length > 0, true)
})

// Twice: by the control that saw the owner come, and by one that only has what the store remembers.
for (const restarted of [false, true]) {
  test(`another pod gets nothing of it and puts nothing to it${restarted ? ', also after control restarted' : ''}`, async () => {
    await using control = await startTestControl()
    const recording = await madeRecording(1, 3)
    const half = recording.objects.filter(({ key }) => !/000003|manifest|ledger/.test(key))
    await putAll(await control.client('a'), half)
    if (restarted) await control.restart()
    const foreign = await control.client('b')
    for (const { key, bytes } of recording.objects) {
      assert.equal(await foreign.get(key), null, key)
      assert.equal(await foreign.head(key), null, key)
      assert.equal(await foreign.range(key, 0, 10), null, key)
      await assert.rejects(foreign.putIfAbsent(key, bytes), ControlRefused, key)
      await assert.rejects(foreign.delete(key), ControlRefused, key)
    }
    assert.equal(await foreign.get(attestationKey(recording.recorder)), null)
    for (const prefix of ['', 'sessions/', 'ledger/', 'attested/', sessionPrefix(recording.session), ledgerPrefix(recording.recorder)])
      await assert.rejects(Array.fromAsync(foreign.list(prefix)), ControlRefused, prefix)
    await assert.rejects(foreign.folders('sessions/'), ControlRefused)
    // The owner goes on, and nothing of the other's is in the way.
    await putAll(await control.client('a'), recording.objects)
    assert.deepEqual(await findingsOf(control), [])
  })
}

test('a pod with a recorder of its own cannot put into the session or ledger of another, before or after its owner did', async () => {
  await using control = await startTestControl()
  const [victim, thief] = [await madeRecording(1), await madeRecording(2)]
  const own = await control.client('b')
  await putAll(own, thief.objects)
  const events: LedgerEvent[] = [{ kind: 'session-opened', session: victim.session, opened: 1 }]
  const first = objectOf(victim, segmentKey(victim.session, 1))
  const { header, body } = openSegment(first.bytes)
  const asOwn = sealSegment({ ...header, recorder: thief.recorder, identity: { ...header.identity, recorder: thief.recorder } }, [
    ...[...decodeRecords(body)].map(encodeRecord),
  ])
  const attempts: MadeObject[] = [
    // The name is the victim's, the content its own or a copy of the victim's.
    { key: statementIndexKey(victim.session, 1), bytes: Buffer.alloc(0) },
    objectOf(victim, manifestKey(victim.session)),
    { key: manifestKey(victim.session), bytes: objectOf(thief, manifestKey(thief.session)).bytes },
    { key: segmentKey(victim.session, 1), bytes: objectOf(thief, segmentKey(thief.session, 1)).bytes },
    { key: segmentKey(victim.session, 2), bytes: asOwn.bytes },
    first,
    { key: ledgerKey(victim.recorder, 1), bytes: entryOf(2, 1, events).bytes },
    { key: recorderKey(victim.recorder), bytes: objectOf(thief, recorderKey(thief.recorder)).bytes },
    {
      key: attestationKey(victim.recorder),
      bytes: sealAttestation({ recorder: victim.recorder, time: 1, pod: { ...testPod('b'), owner: null, image: null } }, testKey(2)).bytes,
    },
  ]
  const tryAll = async (): Promise<void> => {
    for (const { key, bytes } of attempts) {
      await assert.rejects(
        own.putIfAbsent(key, bytes),
        (error) => error instanceof ControlRefused || error instanceof StoreUnavailable,
        key,
      )
      assert.equal(await own.get(key), null, key)
    }
  }
  await tryAll()
  assert.equal(await control.directory.head(segmentKey(victim.session, 1)), null)
  await putAll(await control.client('a'), victim.objects)
  await tryAll()
  const naming = entryOf(2, 99, events)
  await assert.rejects(own.putIfAbsent(naming.key, naming.bytes), ControlRefused)
  await assert.rejects(own.putIfAbsent(segmentKey(victim.session, 1), asOwn.bytes), ControlRefused)
  assert.deepEqual(await findingsOf(control), [])
})

// Who can write to the store takes a session away between its segments and the entry that names them, or garbles it; control was just replaced.
for (const [how, left] of [
  ['is gone', null],
  ['cannot be read', Buffer.from('garbled')],
] as const) {
  test(`a ledger entry is taken when what it names ${how}, so that verify names the session`, async () => {
    await using control = await startTestControl()
    const recording = await madeRecording(1)
    const store = await control.client('a')
    const [entries, before] = [true, false].map((isLedger) => recording.objects.filter(({ key }) => key.startsWith('ledger/') === isLedger))
    await putAll(store, before!)
    for (const { key } of before!) if (key.startsWith(sessionPrefix(recording.session))) await control.directory.delete(key)
    if (left !== null) await control.directory.putIfAbsent(segmentKey(recording.session, 1), left)
    await control.restart()
    await putAll(await control.client('a'), entries!)
    const findings = await Array.fromAsync(verifyStore(control.directory, { trust: { attesters: [control.key.publicKey] } }))
    assert.ok(findings.some(({ severity, session }) => severity === 'error' && session === recording.session))
  })
}

test('an object that is not what its name promises is refused', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1)
  const store = await control.client('a')
  const { recorder, session, objects } = recording
  await assert.rejects(store.putIfAbsent(recorderKey(recorder), Buffer.from('{}')), ControlRefused)
  const signedBy = (object: MadeObject): MadeObject => ({ key: object.key, bytes: flipped(object.bytes, object.bytes.length - 10) })
  const document = objectOf(recording, recorderKey(recorder))
  await assert.rejects(store.putIfAbsent(document.key, signedBy(document).bytes), ControlRefused)
  assert.equal(await findAttestation(control.directory, recorder), null)
  await store.putIfAbsent(document.key, document.bytes)
  const segment = objectOf(recording, segmentKey(session, 1))
  await assert.rejects(store.putIfAbsent(segment.key, Buffer.from('no segment')), ControlRefused)
  await assert.rejects(store.putIfAbsent(segmentKey(session, 2), objectOf(recording, segmentKey(session, 2)).bytes), /first segment/)
  await assert.rejects(store.putIfAbsent(segmentKey(session, 3), segment.bytes), ControlRefused)
  await putAll(
    store,
    objects.filter(({ key }) => /segment|statements/.test(key)),
  )
  for (const object of objects.filter(({ key }) => /manifest|ledger/.test(key)))
    await assert.rejects(store.putIfAbsent(object.key, signedBy(object).bytes), ControlRefused, object.key)
  for (const key of ['a/b', 'sessions/2026-11-21/x/segment-000001.steno', 'probe/x', 'attested/x.json'])
    await assert.rejects(store.putIfAbsent(key, Buffer.from('x')), ControlRefused, key)
})

test('a segment that says another pod than its token does is refused', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1)
  const store = await control.client('a')
  await putAll(store, recording.objects.slice(0, 1))
  const { header, body } = openSegment(objectOf(recording, segmentKey(recording.session, 1)).bytes)
  const saying = (attested: Record<string, string>): Buffer =>
    sealSegment({ ...header, identity: { ...header.identity, attested } }, [...decodeRecords(body)].map(encodeRecord)).bytes
  const key = segmentKey(recording.session, 1)
  await assert.rejects(store.putIfAbsent(key, saying({ podUid: 'uid-b' })), /podUid/)
  await assert.rejects(store.putIfAbsent(key, saying({ podNamespace: 'bank' })), /podNamespace/)
  assert.equal(await store.putIfAbsent(key, saying({ podUid: 'uid-a', podName: 'a', somethingElse: 'x' })), 'stored')
})

test('a pod that the cluster does not have so, or that was told another store, binds no recorder', async () => {
  for (const description of [{ kind: 'unfit', reason: 'it has no steno sidecar' } as const, { ...fitPod, store: 'other' } as const]) {
    await using control = await startTestControl({ describePod: () => Promise.resolve(description) })
    const recording = await madeRecording(1)
    const store = await control.client('a')
    for (const { key, bytes } of recording.objects.slice(0, 2)) {
      await assert.rejects(
        store.putIfAbsent(key, bytes),
        (error) => error instanceof StoreUnavailable && /sidecar|RecordingStore other|published/.test(error.message),
      )
    }
    assert.deepEqual(await objectsIn(control), [])
  }
})

async function objectsIn({ directory }: TestControl): Promise<string[]> {
  return (await Array.fromAsync(directory.list(''))).map(({ key }) => key).filter((key) => !key.startsWith('probe/'))
}

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = changed[at] === 0x41 ? 0x42 : 0x41
  return changed
}
