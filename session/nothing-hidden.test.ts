// Goal: nobody changes what is stored without `verify` naming the place. Method: a real store of two recorders and
// several sessions; every kind of damage at every place, one at a time; each must give an error whose key or session is the damaged one's.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { sha256Of } from './digest.ts'
import { createMemoryStore, type MemoryStore } from './memory-store.ts'
import { ledgerKey, ledgerPrefix, nameOf, recorderKey, segmentKey, statementIndexKey } from './object-keys.ts'
import { decodeRecords, encodeRecord } from './records.ts'
import { openSegment, sealSegment, segmentHeaderEnd } from './segment.ts'
import { createTestRecorder, testEpoch, testKey } from './test-recording.ts'
import { verifyStore, type Finding, type Trust } from './verify.ts'

const objects = new Map<string, Buffer>()
let trust: Trust = {}
const sessions: string[] = []

before(async () => {
  const store = createMemoryStore(objects)
  const heads = []
  for (const seed of [1, 2]) {
    const recorder = await createTestRecorder(store, { seed, start: testEpoch + seed })
    sessions.push(await recorder.record([{ statements: 0 }, { statements: 2 }], { close: seed === 1 }))
    if (seed === 1) sessions.push(await recorder.record([{ statements: 1 }], { gap: true }))
    await recorder.heartbeat()
    heads.push(recorder.head())
  }
  trust = { heads }
})

async function errorsOf(store: MemoryStore, given: Trust = trust): Promise<Finding[]> {
  const findings = await Array.fromAsync(verifyStore(store, { trust: given }))
  return findings.filter(({ severity }) => severity === 'error')
}

/** A copy of the store in which `change` was made. */
async function damaged(change: (copy: Map<string, Buffer>) => void): Promise<Finding[]> {
  const copy = new Map(objects)
  change(copy)
  return errorsOf(createMemoryStore(copy))
}

function assertNamed(findings: readonly Finding[], key: string, what: string): void {
  const name = nameOf(key)
  const named = findings.some(
    (found) => found.key === key || (found.session !== undefined && 'session' in name && found.session === name.session),
  )
  assert.ok(
    named,
    `${what} of ${key} was not named; found: ${findings.map(({ code, key: at }) => `${code} ${at}`).join(', ') || 'nothing'}`,
  )
}

const unchanged = async (key: string, what: string, change: (bytes: Buffer) => Buffer): Promise<void> =>
  assertNamed(await damaged((copy) => copy.set(key, change(Buffer.from(copy.get(key)!)))), key, what)

test('the store as it was recorded is sound', async () => {
  assert.deepEqual(await errorsOf(createMemoryStore(objects)), [])
  const codes = new Set((await Array.fromAsync(verifyStore(createMemoryStore(objects), { trust }))).map(({ code }) => code))
  assert.deepEqual([...codes], ['GAP'])
})

test('a changed byte anywhere in any object is named', async () => {
  for (const [key, bytes] of objects) {
    // Every byte of the dense places (magic, length, header's start, the end of body or signature), and a sample between.
    const stride = process.env['STENO_EVERY_BYTE'] === '1' ? 1 : 61
    for (let at = 0; at < bytes.length; at += at < 14 || at > bytes.length - 14 ? 1 : Math.min(stride, bytes.length - 14 - at + 1)) {
      await unchanged(key, `a flip at ${at}`, (copy) => {
        copy[at]! ^= 1 << (at % 8)
        return copy
      })
    }
  }
})

test('a changed header field of any segment is named', async () => {
  for (const [key, bytes] of objects) {
    if (nameOf(key).kind !== 'segment') continue
    const end = segmentHeaderEnd(bytes)
    const { header } = openSegment(bytes)
    for (const [name, value] of Object.entries(header)) {
      const other =
        typeof value === 'number'
          ? value + 1
          : typeof value === 'boolean'
            ? !value
            : typeof value === 'string'
              ? value.replace(/.$/, 'f')
              : null
      const json = Buffer.from(JSON.stringify({ ...header, [name]: other === value ? 'e' : other }))
      const fixed = Buffer.from(bytes.subarray(0, 12))
      fixed.writeUInt32LE(json.length, 8)
      await unchanged(key, `another ${name}`, () => Buffer.concat([fixed, json, bytes.subarray(end)]))
    }
  }
})

test('a deleted object is named, whichever it is', async () => {
  for (const key of objects.keys()) assertNamed(await damaged((copy) => copy.delete(key)), key, 'the deletion')
})

test('a truncated object is named, and one that something was appended to', async () => {
  for (const [key, bytes] of objects) {
    for (const length of [0, 1, bytes.length >> 1, bytes.length - 1]) {
      if (length >= 0 && length < bytes.length) await unchanged(key, `a cut at ${length}`, (copy) => copy.subarray(0, length))
    }
    for (const tail of ['x', '\n', '\0', '{}\n'])
      await unchanged(key, 'an appended byte', (copy) => Buffer.concat([copy, Buffer.from(tail)]))
  }
})

test('any two objects swapped are both named', async () => {
  const keys = [...objects.keys()]
  for (const [at, one] of keys.entries()) {
    for (const other of keys.slice(at + 1)) {
      if (objects.get(one)!.equals(objects.get(other)!)) continue
      const findings = await damaged((copy) => {
        copy.set(one, objects.get(other)!)
        copy.set(other, objects.get(one)!)
      })
      assertNamed(findings, one, 'the swap')
      assertNamed(findings, other, 'the swap')
    }
  }
})

test('an added object is named: foreign, in another spelling, or a copy that looks like the next', async () => {
  const session = sessions[0]!
  const folder = segmentKey(session, 1).replace(/[^/]+$/, '')
  const any = objects.get(segmentKey(session, 1))!
  const added = [
    'readme',
    'sessions/readme',
    `${folder}notes.txt`,
    `${folder}segment-1.steno`,
    `${folder}segment-000000.steno`,
    `${folder}deeper/segment-000001.steno`,
    segmentKey(session, 3),
    statementIndexKey(session, 3),
    segmentKey(session.replace(/.$/, 'f'), 1),
    segmentKey(session, 1).replace(/2026-11-21/, '2026-11-22'),
    'ledger/readme',
    `${ledgerPrefix(testKey(1).id)}1.json`,
    ledgerKey(testKey(3).id, 1),
    recorderKey(testKey(3).id),
    'recorders/readme',
    'other/x',
  ]
  for (const key of added) assertNamed(await damaged((copy) => copy.set(key, any)), key, 'the addition')
})

test('an entry appended to a ledger by somebody else is named', async () => {
  const { number, recorder } = trust.heads![0]!
  const key = ledgerKey(recorder, number + 1)
  assertNamed(await damaged((copy) => copy.set(key, objects.get(ledgerKey(recorder, number))!)), key, 'the addition')
})

test('records reordered, dropped, repeated or exchanged inside a segment sealed again are named', async () => {
  for (const [key, bytes] of objects) {
    if (nameOf(key).kind !== 'segment') continue
    const { header, body } = openSegment(bytes)
    const records = [...decodeRecords(body)].map(encodeRecord)
    const changed = [records.toReversed(), records.slice(1), records.slice(0, -1), [...records, records[0]!]]
    for (const own of changed) {
      if (own.length === 0 || Buffer.concat(own).equals(body)) continue
      const sealed = sealSegment({ ...header, records: { from: header.records.from, to: header.records.from + own.length } }, own)
      await unchanged(key, 'other records', () => sealed.bytes)
    }
  }
})

test('a whole session removed is named, also when its recorder is trusted by name only', async () => {
  for (const session of sessions) {
    const copy = new Map([...objects].filter(([key]) => !key.includes(session)))
    for (const given of [trust, { recorders: [testKey(1).id, testKey(2).id] }]) {
      const findings = await errorsOf(createMemoryStore(copy), given)
      assert.ok(
        findings.some((found) => found.session === session),
        session,
      )
    }
  }
})

test('a cut tail of a ledger is named by the head, also with all that it spoke of removed', async () => {
  for (const { recorder, number } of trust.heads!) {
    for (let keep = 0; keep < number; keep++) {
      const copy = new Map(objects)
      for (let at = keep + 1; at <= number; at++) copy.delete(ledgerKey(recorder, at))
      assertNamed(await errorsOf(createMemoryStore(copy)), ledgerKey(recorder, keep + 1), 'the cut')
      for (const key of copy.keys()) if (key.startsWith('sessions/') && !isNamed(copy, key)) copy.delete(key)
      assertNamed(await errorsOf(createMemoryStore(copy)), ledgerKey(recorder, keep + 1), 'the cut with its objects')
    }
  }
})

function isNamed(copy: Map<string, Buffer>, key: string): boolean {
  return [...copy].some(([ledger, bytes]) => ledger.startsWith('ledger/') && bytes.includes(`"${key}"`))
}

test('a store made again in full by another key is named', async () => {
  const copy = createMemoryStore()
  const forger = await createTestRecorder(copy, { seed: 7 })
  await forger.record([{ statements: 1 }])
  const findings = await errorsOf(copy)
  assertNamed(findings, recorderKey(forger.key.id), 'the forgery')
  assert.ok(findings.some(({ code }) => code === 'RECORDER_UNTRUSTED'))
  assert.ok(
    trust.heads!.every(({ recorder }) => findings.some(({ key }) => key?.includes(recorder))),
    'the trusted recorders are missed',
  )
})

test('an object that waits for its ledger entry is a warning while the session is written, and an error once it is not', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const session = await recorder.record([{ statements: 1 }, { statements: 1 }])
  const cut = createMemoryStore(new Map(store.objects))
  const { number, recorder: id } = recorder.head()
  // The last two entries name segment 2 and the manifest; both were stored before.
  for (const entry of [number, number - 1]) cut.objects.delete(ledgerKey(id, entry))
  const sha256 = sha256Of(cut.objects.get(ledgerKey(id, number - 2))!)
  const head = { recorder: id, number: number - 2, sha256 }
  const findings = await Array.fromAsync(verifyStore(cut, { trust: { heads: [head] } }))
  assert.deepEqual(
    findings.map(({ code, key }) => [code, key?.split('/').at(-1)]),
    [
      ['OBJECT_AWAITS_LEDGER', 'segment-000002.steno'],
      ['OBJECT_AWAITS_LEDGER', 'statements-000002.jsonl'],
      ['OBJECT_AWAITS_LEDGER', 'manifest.json'],
    ],
  )
  const later = await createTestRecorder(cut, { seed: 1, head, start: testEpoch + 3_600_000 })
  await later.heartbeat()
  assertNamed(await errorsOf(cut, {}), segmentKey(session, 2), 'the addition')
})
