// Goal: the verifier believes no recorder either. Method: the recorder itself writes something untrue and signs it all,
// ledger, manifest and digests included; each untruth must be found by its own code.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sealAttestation } from './attestation.ts'
import { sha256Of } from './digest.ts'
import { createLedger, readLedgerEntry, type LedgerEvent } from './ledger.ts'
import { readManifest, sealManifest, type Manifest } from './manifest.ts'
import { createMemoryStore, type MemoryStore } from './memory-store.ts'
import {
  attestationKey,
  ledgerKey,
  ledgerPrefix,
  ledgersPrefix,
  manifestKey,
  recorderKey,
  segmentKey,
  statementIndexKey,
} from './object-keys.ts'
import { publishRecorder } from './recorder-key.ts'
import { decodeRecords, encodeRecord, recordType, type SessionRecord } from './records.ts'
import { openSegment, sealSegment, type SegmentFields } from './segment.ts'
import { encodeStatementIndex, type IndexLine } from './statement-index.ts'
import { createTestRecorder, payloadOf, testKey, testSessionId } from './test-recording.ts'
import { verifyStore, type Finding, type FindingCode, type Trust, type VerifyCounts } from './verify.ts'

const key = testKey(1)

async function createWorld({ gap = false } = {}): Promise<{ store: MemoryStore; session: string }> {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const session = await recorder.record([{ statements: 2 }, { statements: 2 }, { statements: 1 }], { gap })
  return { store, session }
}

type Lie = {
  /** Rewrites a segment's header and records before it is sealed again. */
  readonly segment?: (
    fields: SegmentFields,
    records: SessionRecord[],
  ) => { fields?: Partial<SegmentFields>; records?: SessionRecord[] } | undefined
  readonly index?: (lines: IndexLine[], segment: number) => IndexLine[]
  readonly manifest?: (manifest: Manifest) => Partial<Manifest>
  readonly events?: (events: LedgerEvent[]) => LedgerEvent[]
}

/** Writes the session and the ledger again with `lie` in it; everything else fits together and is signed. */
function rewrite({ store, session }: { store: MemoryStore; session: string }, lie: Lie): void {
  const { objects } = store
  let previous: string | null = null
  for (let number = 1; objects.has(segmentKey(session, number)); number++) {
    const { header, body } = openSegment(objects.get(segmentKey(session, number))!)
    const records = [...decodeRecords(body)]
    const changed = lie.segment?.({ ...header, previous }, records)
    const sealed = sealSegment({ ...header, previous, ...changed?.fields }, (changed?.records ?? records).map(encodeRecord))
    previous = sealed.sha256
    objects.set(segmentKey(session, number), sealed.bytes)
    const indexKey = statementIndexKey(session, number)
    const lines = objects
      .get(indexKey)!
      .toString()
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as IndexLine)
    objects.set(indexKey, encodeStatementIndex(session, number, lie.index?.(lines, number) ?? lines))
  }
  const { manifest } = readManifest(objects.get(manifestKey(session))!)
  const segments = manifest.segments.map((segment) => ({
    ...segment,
    ...described(objects, segment.key),
    index: { ...segment.index, ...described(objects, segment.index.key) },
  }))
  const { type: _, version: __, recorder: ___, ...fields } = manifest
  objects.set(manifestKey(session), sealManifest({ ...fields, segments, ...lie.manifest?.({ ...manifest, segments }) }, key).bytes)
  signLedgerAgain(store, lie.events ?? ((events) => events))
}

function described(objects: Map<string, Buffer>, objectKey: string): { sha256: string; bytes: number } {
  return { sha256: sha256Of(objects.get(objectKey)!), bytes: objects.get(objectKey)!.length }
}

function signLedgerAgain({ objects }: MemoryStore, change: (events: LedgerEvent[]) => LedgerEvent[]): void {
  const ledger = createLedger({ key, head: null })
  for (const objectKey of [...objects.keys()].filter((name) => name.startsWith(ledgerPrefix(key.id))).sort()) {
    const { entry } = readLedgerEntry(objects.get(objectKey)!)
    const events = entry.events.map((event): LedgerEvent => {
      if (event.kind === 'segment-stored')
        return { ...event, ...described(objects, event.key), index: { ...event.index, ...described(objects, event.index.key) } }
      if (event.kind === 'session-closed')
        return { ...event, manifest: { ...event.manifest, sha256: described(objects, event.manifest.key).sha256 } }
      return event
    })
    objects.set(objectKey, ledger.entry(change(events), entry.time).bytes)
  }
}

const findingsOf = async (store: MemoryStore, trust: Trust = { recorders: [key.id] }): Promise<Finding[]> =>
  Array.fromAsync(verifyStore(store, { trust }))

const second = (change: (fields: SegmentFields, records: SessionRecord[]) => ReturnType<NonNullable<Lie['segment']>>): Lie => ({
  segment: (fields, records) => (fields.number === 2 ? change(fields, records) : undefined),
})
const inSecond = (change: (lines: IndexLine[]) => IndexLine[]): Lie => ({
  index: (lines, segment) => (segment === 2 ? change(lines) : lines),
})
const stored = (change: (event: Extract<LedgerEvent, { kind: 'segment-stored' }>) => LedgerEvent[]): Lie => ({
  events: (events) => events.flatMap((event) => (event.kind === 'segment-stored' && event.number === 2 ? change(event) : [event])),
})
const swapped = (records: SessionRecord[], one: number, other: number): SessionRecord[] =>
  records.with(one, records[other]!).with(other, records[one]!)

const lies: readonly (readonly [what: string, code: FindingCode, lie: Lie, message?: RegExp])[] = [
  ['a segment that follows another', 'SEGMENT_CHAIN', second(() => ({ fields: { previous: 'a'.repeat(64) } }))],
  [
    'a segment with a hole before it',
    'SEGMENT_CHAIN',
    second(({ records: { from, to } }) => ({ fields: { records: { from: from + 1, to: to + 1 } } })),
  ],
  ['a segment of another number', 'SEGMENT_HEADER', second(() => ({ fields: { number: 3 } }))],
  [
    'a segment with another identity',
    'SEGMENT_HEADER',
    second(({ identity }) => ({ fields: { identity: { ...identity, user: 'root' } } })),
  ],
  ['a segment that ends the session too early', 'SEGMENT_HEADER', second(() => ({ fields: { last: true } }))],
  ['times that are not the records', 'SEGMENT_HEADER', second(({ firstTime }) => ({ fields: { firstTime: firstTime - 1 } }))],
  [
    'a session-open record with another identity',
    'SEGMENT_HEADER',
    {
      segment: ({ number, identity }, records) =>
        number === 1 ? { records: records.with(0, { ...records[0]!, payload: payloadOf({ ...identity, user: 'root' }) }) } : undefined,
    },
  ],
  ['a record dropped', 'RECORD_ORDER', second((_, records) => ({ records: records.slice(0, -1) }))],
  ['a record added', 'RECORD_ORDER', second((_, records) => ({ records: [...records, records.at(-1)!] }))],
  ['a record of another session', 'RECORD_ORDER', second((_, records) => ({ records: records.with(1, { ...records[1]!, session: 99 }) }))],
  [
    'a second session-open record',
    'RECORD_ORDER',
    second(({ identity }, records) => ({
      records: records.with(1, { ...records[1]!, type: recordType.sessionOpen, payload: payloadOf(identity) }),
    })),
  ],
  [
    'a session that does not start with its opening',
    'RECORD_ORDER',
    { segment: ({ number }, records) => (number === 1 ? { records: swapped(records, 0, 1) } : undefined) },
  ],
  [
    'a session-close record in the middle',
    'RECORD_ORDER',
    second((_, records) => ({
      records: records.with(1, {
        ...records[1]!,
        type: recordType.sessionClose,
        payload: payloadOf({ closed: 1, reason: 'killed', recovered: true }),
      }),
    })),
    /not the last/,
  ],
  [
    'a session that does not end with its close',
    'RECORD_ORDER',
    { segment: ({ last }, records) => (last ? { records: [...records.slice(0, -1), records[0]!] } : undefined) },
  ],
  [
    'a close record that says nothing',
    'RECORD_DAMAGED',
    {
      segment: ({ last }, records) =>
        last ? { records: records.with(records.length - 1, { ...records.at(-1)!, payload: payloadOf({}) }) } : undefined,
    },
  ],
  ['a record of an unknown type', 'RECORD_DAMAGED', second((_, records) => ({ records: records.with(1, { ...records[1]!, type: 100 }) }))],
  ['a statement left out of the index', 'INDEX_CONTRADICTION', inSecond((lines) => lines.slice(1))],
  ['a statement twice in the index', 'INDEX_CONTRADICTION', inSecond((lines) => lines.with(1, lines[0]!))],
  ['a statement number left out', 'INDEX_CONTRADICTION', inSecond((lines) => lines.with(1, { ...lines[1]!, number: 77 }))],
  [
    'a statement with a place outside its segment',
    'INDEX_CONTRADICTION',
    inSecond((lines) => lines.with(1, { ...lines[1]!, place: { first: 0, last: 1 } })),
  ],
  ['a line of another session', 'INDEX_CONTRADICTION', inSecond((lines) => lines.with(1, { ...lines[1]!, session: testSessionId(1, 1) }))],
  ['a line that is none', 'INDEX_DAMAGED', inSecond((lines) => lines.with(1, { ...lines[1]!, number: -1 }))],
  ['a manifest with a segment less', 'MANIFEST_CONTRADICTION', { manifest: ({ segments }) => ({ segments: segments.slice(1) }) }],
  [
    'a manifest with another count of statements',
    'MANIFEST_CONTRADICTION',
    { manifest: ({ statements }) => ({ statements: statements + 1 }) },
  ],
  ['a manifest with another user', 'MANIFEST_CONTRADICTION', { manifest: ({ identity }) => ({ identity: { ...identity, user: 'root' } }) }],
  ['a manifest with another end', 'MANIFEST_CONTRADICTION', { manifest: ({ close }) => ({ close: { ...close, reason: 'shutdown' } }) }],
  ['a manifest with another time of opening', 'MANIFEST_CONTRADICTION', { manifest: ({ opened }) => ({ opened: opened + 1 }) }],
  [
    'a manifest with another digest of a segment',
    'MANIFEST_CONTRADICTION',
    { manifest: ({ segments }) => ({ segments: segments.with(1, { ...segments[1]!, sha256: 'a'.repeat(64) }) }) },
  ],
  [
    'a manifest with another size of records',
    'MANIFEST_CONTRADICTION',
    { manifest: ({ segments }) => ({ segments: segments.with(1, { ...segments[1]!, rawBytes: 1 }) }) },
  ],
  [
    'a manifest that makes a gap smaller',
    'MANIFEST_CONTRADICTION',
    { manifest: ({ gaps }) => ({ gaps: gaps.map((gap) => ({ ...gap, backendBytes: 0 })) }) },
  ],
  ['a manifest that states no gap', 'MANIFEST_CONTRADICTION', { manifest: () => ({ gaps: [] }) }],
  ['a ledger that leaves out a segment', 'LEDGER_CONTRADICTION', stored(() => [{ kind: 'heartbeat', openSessions: 1 }])],
  [
    'a ledger that names a segment with a hole before it',
    'LEDGER_CONTRADICTION',
    stored((event) => [{ ...event, records: { from: event.records.from + 1, to: event.records.to } }]),
  ],
  [
    'a ledger that names a segment twice, and differently',
    'LEDGER_CONTRADICTION',
    stored((event) => [event, { ...event, sha256: 'a'.repeat(64) }]),
  ],
  ['a ledger that names another object', 'LEDGER_CONTRADICTION', stored((event) => [{ ...event, key: event.index.key }])],
  [
    'a ledger that never opened the session',
    'LEDGER_CONTRADICTION',
    { events: (events) => events.map((event) => (event.kind === 'session-opened' ? { kind: 'heartbeat', openSessions: 1 } : event)) },
  ],
  [
    'a ledger that counts segments wrongly',
    'LEDGER_CONTRADICTION',
    { events: (events) => events.map((event) => (event.kind === 'session-closed' ? { ...event, segments: 2 } : event)) },
  ],
]

test('a session written again without a lie in it is sound', async () => {
  const world = await createWorld()
  rewrite(world, {})
  assert.deepEqual(await findingsOf(world.store), [])
})

for (const [what, code, lie, message = /./] of lies) {
  test(`the recorder itself cannot sign ${what}`, async () => {
    const world = await createWorld({ gap: true })
    rewrite(world, lie)
    const errors = (await findingsOf(world.store)).filter(({ severity }) => severity === 'error')
    assert.ok(
      errors.some((found) => found.code === code && found.session === world.session && message.test(found.message)),
      `found ${errors.map((found) => `${found.code}: ${found.message}`).join('; ') || 'nothing'}`,
    )
    assert.ok(
      !errors.some((found) => ['OBJECT_DIGEST', 'LEDGER_SIGNATURE', 'LEDGER_CHAIN', 'MANIFEST_SIGNATURE'].includes(found.code)),
      'all digests and signatures fit',
    )
  })
}

test('saying again what was said, as a recorder does after a crash, is no contradiction', async () => {
  const world = await createWorld()
  rewrite(world, { events: (events) => [...events, ...events] })
  assert.deepEqual(await findingsOf(world.store), [])
})

test('findings say where: record and statement by their numbers in the session', async () => {
  const world = await createWorld()
  rewrite(world, {
    ...second((_, records) => ({ records: records.with(1, { ...records[1]!, type: 100 }) })),
    ...inSecond((lines) => lines.with(1, { ...lines[1]!, number: 1 })),
  })
  const findings = await findingsOf(world.store)
  assert.deepEqual(findings.find(({ code }) => code === 'RECORD_DAMAGED')?.record, 6)
  assert.deepEqual(findings.find(({ code }) => code === 'INDEX_CONTRADICTION')?.statement, 1)
})

// The ledger was listed before its last entries were written, the sessions after: as it happens while a recorder is at work.
test('a recording that goes on while it is verified gives no finding', async () => {
  const { store } = await createWorld()
  for (let listed = 1; listed < 7; listed++) {
    const earlier: MemoryStore = {
      ...store,
      async *list(prefix) {
        for await (const object of store.list(prefix))
          if (!object.key.startsWith('ledger/') || object.key <= ledgerKey(key.id, listed)) yield object
      },
    }
    assert.deepEqual(await findingsOf(earlier), [], `${listed} entries listed`)
  }
})

// What the ledger and its signatures are for: each of these is whole, plausible and in one case even signed.
test('an object exchanged for a sound one of the same length is known by its digest', async () => {
  const { store, session } = await createWorld()
  const objectKey = segmentKey(session, 2)
  const { header, body } = openSegment(store.objects.get(objectKey)!)
  const { file, offset } = header.spoolEnd
  store.objects.set(objectKey, sealSegment({ ...header, spoolEnd: { file: file + 1, offset } }, [body]).bytes)
  assert.deepEqual(
    (await findingsOf(store)).map((found) => [found.code, found.key]),
    [['OBJECT_DIGEST', objectKey]],
  )
})

test('a manifest exchanged for another that the same key signed is known by its digest', async () => {
  const { store, session } = await createWorld()
  const { type: _, version: __, recorder: ___, ...fields } = readManifest(store.objects.get(manifestKey(session))!).manifest
  store.objects.set(manifestKey(session), sealManifest({ ...fields, recovered: true }, key).bytes)
  assert.deepEqual(
    (await findingsOf(store)).map((found) => [found.code, found.key]),
    [['OBJECT_DIGEST', manifestKey(session)]],
  )
})

test('an index without its segment was added, however open its session is', async () => {
  const { store, session } = await createWorld()
  const open = createMemoryStore()
  const opener = await createTestRecorder(open, { seed: 1 })
  const unfinished = await opener.record([{ statements: 1 }], { close: false })
  const added = [statementIndexKey(unfinished, 2), statementIndexKey(testSessionId(Date.UTC(2026, 10, 21), 99), 1)]
  for (const objectKey of added) open.objects.set(objectKey, store.objects.get(statementIndexKey(session, 1))!)
  assert.deepEqual(
    (await findingsOf(open)).map((found) => [found.code, found.key]),
    added.toSorted().map((objectKey) => ['OBJECT_NOT_IN_LEDGER', objectKey]),
  )
})

test('an added segment is not taken for one that waits because it is dated in times to come', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const session = await recorder.record([{ statements: 1 }], { close: false })
  const first = openSegment(store.objects.get(segmentKey(session, 1))!)
  const time = Date.now() + 24 * 3_600_000
  const record: SessionRecord = { ...decodeRecords(first.body).next().value!, type: recordType.backend, time, payload: Buffer.alloc(0) }
  const { to } = first.header.records
  const fields = { ...first.header, number: 2, previous: first.sha256, records: { from: to, to: to + 1 }, firstTime: time, lastTime: time }
  store.objects.set(segmentKey(session, 2), sealSegment(fields, [encodeRecord(record)]).bytes)
  assert.deepEqual(
    (await findingsOf(store)).map((found) => [found.code, found.key]),
    [['OBJECT_NOT_IN_LEDGER', segmentKey(session, 2)]],
  )
})

test('a manifest that waits for its ledger entry must be signed by its recorder', async () => {
  const { store, session } = await createWorld()
  const { type: _, version: __, recorder: ___, ...fields } = readManifest(store.objects.get(manifestKey(session))!).manifest
  store.objects.delete(ledgerKey(key.id, 6))
  assert.deepEqual(
    (await findingsOf(store)).map((found) => found.code),
    ['OBJECT_AWAITS_LEDGER'],
  )
  store.objects.set(manifestKey(session), sealManifest(fields, testKey(2)).bytes)
  assert.ok((await findingsOf(store)).some((found) => found.code === 'MANIFEST_SIGNATURE' && found.session === session))
})

test('an entry signed again differently breaks the chain behind it', async () => {
  const { store } = await createWorld()
  const { entry } = readLedgerEntry(store.objects.get(ledgerKey(key.id, 3))!)
  const again = createLedger({ key, head: { number: 2, sha256: entry.previous! } }).entry(entry.events, entry.time + 1)
  store.objects.set(ledgerKey(key.id, 3), again.bytes)
  assert.deepEqual(
    (await findingsOf(store)).map((found) => [found.code, found.key]),
    [['LEDGER_CHAIN', ledgerKey(key.id, 4)]],
  )
})

test("a recorder's own entry under another number is named", async () => {
  const { store } = await createWorld()
  store.objects.set(ledgerKey(key.id, 7), store.objects.get(ledgerKey(key.id, 6))!)
  assert.deepEqual(
    (await findingsOf(store)).map((found) => [found.code, found.key]),
    [['LEDGER_MISPLACED', ledgerKey(key.id, 7)]],
  )
})

test('a session that is open is sound, and unfinished once its recorder stopped', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const session = await recorder.record([{ statements: 1 }], { close: false })
  assert.deepEqual(await findingsOf(store), [])
  await recorder.stop()
  assert.deepEqual(
    (await findingsOf(store)).map(({ code, session: of }) => [code, of]),
    [['SESSION_UNFINISHED', session]],
  )
})

test('of a store with several sessions only those asked for are verified, and all ledgers', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const wanted = await recorder.record([{ statements: 1 }])
  const other = await recorder.record([{ statements: 1 }])
  store.objects.delete(segmentKey(other, 1))
  let counts: VerifyCounts | null = null
  const options = { sessions: [wanted], trust: { recorders: [key.id] }, onProgress: (next: VerifyCounts) => void (counts = next) }
  assert.deepEqual(await Array.fromAsync(verifyStore(store, options)), [])
  assert.deepEqual(counts, { sessions: 1, segments: 1, statements: 1, leftOutBytes: 0, ledgerEntries: 7, attestedRecorders: 0 })
  store.objects.delete(ledgerKey(key.id, 2))
  assert.deepEqual((await Array.fromAsync(verifyStore(store, options)))[0]?.code, 'LEDGER_HOLE')
})

// Goal: a store is verified while pods come and go. Method: another recorder begins between the listing of ledgers and that of recorders, as far
// as it had come then.
for (const [what, isEntered, isAttested, expected] of [
  ['has entered its start', true, false, []],
  ['was attested just now and has entered nothing yet', false, true, ['OBJECT_AWAITS_LEDGER']],
  ['has entered nothing, and nobody says since when', false, false, ['LEDGER_MISSING']],
] as const) {
  test(`a recorder that comes while the store is listed, and ${what}`, async () => {
    const { store, session } = await createWorld()
    const comer = testKey(2)
    const control = testKey(9)
    const begins = async (): Promise<void> => {
      const pod = { podUid: 'u', podName: 'p', podNamespace: 'n', serviceAccount: 's', nodeName: null, owner: null, image: null }
      const attestation = sealAttestation({ recorder: comer.id, time: Date.now(), pod }, control)
      if (isAttested) await store.putIfAbsent(attestationKey(comer.id), attestation.bytes)
      await publishRecorder(store, comer)
      const { objectKey, bytes } = createLedger({ key: comer, head: null }).entry(
        [{ kind: 'recorder-started', steno: 'x', spool: 'y' }],
        Date.now(),
      )
      if (isEntered) await store.putIfAbsent(objectKey, bytes)
    }
    const changing: MemoryStore = {
      ...store,
      async *list(prefix) {
        yield* store.list(prefix)
        if (prefix === ledgersPrefix) await begins()
      },
    }
    const options = { sessions: [session], trust: { recorders: [key.id, comer.id] } }
    assert.deepEqual(
      (await Array.fromAsync(verifyStore(changing, options))).map(({ code }) => code),
      expected,
    )
  })
}

test('who is trusted is decided from outside the store', async () => {
  const { store } = await createWorld()
  const codesFor = async (trust: Trust): Promise<FindingCode[]> => (await findingsOf(store, trust)).map(({ code }) => code)
  assert.deepEqual(await codesFor({}), ['RECORDER_NOT_PINNED'])
  assert.deepEqual(await codesFor({ recorders: [key.id] }), [])
  assert.deepEqual(await codesFor({ recorders: [testKey(2).id] }), ['RECORDER_UNTRUSTED', 'RECORDER_MISSING', 'LEDGER_MISSING'])
  assert.deepEqual(await codesFor({ heads: [{ recorder: key.id, number: 3, sha256: 'a'.repeat(64) }] }), ['LEDGER_FORKED'])
  store.objects.delete(recorderKey(key.id))
  assert.deepEqual((await codesFor({ recorders: [key.id] })).slice(0, 1), ['RECORDER_MISSING'])
})
