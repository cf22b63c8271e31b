// Goal: a mark and a statement of loss are believed only whole and of whom they name, stay readable for ever, and FORMAT.md shows them as they are.
// Method: documents of fixed keys and times, kept as bytes beside the golden store; every byte changed once.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import {
  markBytesMax,
  markedSessionsMax,
  readHighWaterMark,
  sealHighWaterMark,
  type HighWaterMark,
  type MarkedSession,
} from './high-water-mark.ts'
import { claimsOf, lossBytesMax, readRecorderLoss, sealRecorderLoss, type RecorderLoss } from './recorder-loss.ts'
import { BadDocument } from './shape.ts'
import { signDocument } from './signed-document.ts'
import { testEpoch, testKey, testSessionId } from './test-recording.ts'

const nothing = { records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }

function marked(seed: number, changes: Partial<MarkedSession> = {}): MarkedSession {
  const amount = { records: 12, bytes: 2345, frontendBytes: 150, backendBytes: 907, statements: 4 }
  const opened = testEpoch + seed * 1000
  return { session: testSessionId(opened, seed), opened, ...amount, lastTime: opened + 500.25, closed: false, ...changes }
}

function fieldsOf(sessions: readonly MarkedSession[], number = testEpoch + 2500) {
  const rest = { sessions: 0, ...nothing }
  return { process: testEpoch, number, time: testEpoch + 2500, waitingBytes: 2100, earlierBytes: 0, sessions, rest }
}

const mark = sealHighWaterMark(fieldsOf([marked(1)]), testKey(1))
const lossFields: Omit<RecorderLoss, 'type' | 'version' | 'publicKey'> = {
  recorder: testKey(1).id,
  time: testEpoch + 60_000,
  why: 'pod-deleted',
  podUid: '6a1f0c1e-0000-4000-8000-000000000001',
  mark: mark.toString(),
  earlierMarks: [],
  ledger: { number: 8, sha256: 'a393efa4f85ee23f084d2e1b86f5a588102c58ed293993000b3cf8d0913c9768' },
  sessions: [
    {
      session: marked(1).session,
      opened: marked(1).opened,
      claimed: { records: 12, bytes: 2345, frontendBytes: 150, backendBytes: 907, statements: 4, lastTime: marked(1).lastTime },
      stored: { segments: 1, records: 5, bytes: 1200, lastTime: marked(1).opened + 10 },
    },
  ],
}
const loss = sealRecorderLoss(lossFields, testKey(9))

test('a mark and a statement of loss of version 1 are read, and FORMAT.md shows them', async () => {
  const format = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  for (const [name, file, bytes] of [
    ['a high-water mark', 'high-water-mark.json', mark],
    ['a statement of loss', 'recorder-loss.json', loss],
  ] as const) {
    const kept = await readFile(`${import.meta.dirname}/golden/v1/${file}`)
    assert.deepEqual(kept.toString(), bytes.toString(), file)
    assert.ok(
      format.includes(`<!-- ${name} -->\n\`\`\`text\n${kept.toString()}\`\`\`\n`),
      `FORMAT.md shows another text for "${name}":\n${kept.toString()}`,
    )
  }
  assert.deepEqual(readHighWaterMark(mark).sessions, [marked(1)])
  const read = readRecorderLoss(loss, testKey(1).id)
  assert.deepEqual(read.mark?.sessions, [marked(1)])
  assert.ok(read.publicKey.equals(testKey(9).publicKey))
})

test('with any byte changed neither is believed', () => {
  for (const [bytes, read] of [
    [mark, readHighWaterMark],
    [loss, (changed: Buffer) => readRecorderLoss(changed, testKey(1).id)],
  ] as const) {
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1
      assert.throws(() => read(changed), BadDocument, `byte ${at}`)
    }
  }
})

test('a mark of another key, of two minds, or longer than is taken is refused', () => {
  const other = { ...(JSON.parse(mark.toString('utf8', 0, mark.indexOf(0x0a))) as HighWaterMark), recorder: testKey(2).id }
  assert.throws(() => readHighWaterMark(signDocument(other, testKey(1)).bytes), /another recorder/)
  assert.throws(() => readHighWaterMark(signDocument({ ...other, recorder: testKey(1).id }, testKey(2)).bytes), /not signed/)
  assert.throws(() => readHighWaterMark(sealHighWaterMark(fieldsOf([marked(1), marked(1)]), testKey(1))), /twice/)
  const many = Array.from({ length: markedSessionsMax + 1 }, (_, seed) => marked(seed))
  assert.throws(() => readHighWaterMark(sealHighWaterMark(fieldsOf(many), testKey(1))), /names 513 sessions/)
  for (const [name, value] of [
    ['records', -1],
    ['bytes', 1.5],
    ['session', 'x'],
    ['lastTime', 1e99],
  ] as const)
    assert.throws(() => readHighWaterMark(sealHighWaterMark(fieldsOf([marked(1, { [name]: value })]), testKey(1))), BadDocument, name)
})

test('the longest mark, and a statement of loss with five of them, fit within their bounds', () => {
  const most = { records: 1e15, bytes: 1e15, frontendBytes: 1e15, backendBytes: 1e15, statements: 1e15, lastTime: testEpoch + 0.123456 }
  const many = Array.from({ length: markedSessionsMax }, (_, seed) => marked(seed, most))
  const longest = sealHighWaterMark(fieldsOf(many), testKey(1))
  assert.ok(longest.length < markBytesMax, String(longest.length))
  const text = longest.toString()
  const sessions = Array.from({ length: 5 }, () => many).flat()
  const lost = sessions.map((claimed) => ({
    ...{ session: claimed.session, opened: claimed.opened, claimed },
    stored: { segments: 1e6, records: 1e15, bytes: 1e15, lastTime: claimed.lastTime },
  }))
  const whole = sealRecorderLoss({ ...lossFields, mark: text, earlierMarks: [text, text, text, text], sessions: lost }, testKey(9))
  assert.ok(whole.length < lossBytesMax, String(whole.length))
  assert.equal(readRecorderLoss(whole, testKey(1).id).earlierMarks.length, 4)
})

test('a statement of loss that holds the mark of another recorder is refused', () => {
  const foreign = sealHighWaterMark(fieldsOf([marked(1)]), testKey(2)).toString()
  assert.throws(() => readRecorderLoss(sealRecorderLoss({ ...lossFields, mark: foreign }, testKey(9)), testKey(1).id), /mark of recorder/)
  assert.throws(() => readRecorderLoss(loss, testKey(2).id), /of recorder/)
})

test('of two marks the later one says what a session has, and both name theirs', () => {
  const earlier = readHighWaterMark(sealHighWaterMark(fieldsOf([marked(1), marked(2, { records: 3 })], 5), testKey(1)))
  const later = readHighWaterMark(
    sealHighWaterMark({ ...fieldsOf([marked(2, { records: 9 })], 6), rest: { sessions: 2, ...nothing } }, testKey(1)),
  )
  const claims = claimsOf([later, null, earlier])!
  assert.deepEqual(
    [...claims.sessions.values()].map(({ records }) => records),
    [12, 9],
  )
  assert.equal(claims.rest.sessions, 2)
  assert.equal(claimsOf([null]), null)
})
