// Goal: control is told how far the recorder has come while something is said, once for each state, and a control that is away costs neither memory nor
// log. Method: a recorder and a control of a few lines each, and clocks in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import { StoreUnavailable } from '../../../session/stores/store.ts'
import type { PostAnswer } from './control-post.ts'
import type { PodFacts, RecordingFacts, WayFacts } from '../../../session/pod-facts.ts'
import { createFactSender } from './send-facts.ts'
import { createMarkSender } from './send-marks.ts'

const taken: PostAnswer = { status: 204, code: null, message: '', number: null }

function createWorld() {
  const clock = { now: 0, wall: 1_000_000 }
  const recorder = { appends: 0, waitingBytes: 0 }
  const lines: string[] = []
  const sent: { path: string; body: string; store: string | undefined }[] = []
  const answers: (() => Promise<PostAnswer>)[] = []
  const control = {
    store: 'default',
    post(path: string, body: Buffer, headers: Readonly<Record<string, string>> = {}) {
      sent.push({ path, body: body.toString(), store: headers['steno-store'] })
      return answers.shift()?.() ?? Promise.resolve(taken)
    },
  }
  const log = { ...createLog({ level: 'silent' }), warn: (...said: unknown[]) => void lines.push(JSON.stringify(said)) } as ReturnType<
    typeof createLog
  >
  const marks = createMarkSender({
    recorder: {
      highWater: {
        get appends() {
          return recorder.appends
        },
        seal: (number, time) => Buffer.from(JSON.stringify({ number, time, appends: recorder.appends })),
      },
      get waitingBytes() {
        return recorder.waitingBytes
      },
    },
    ...{ control, log, now: () => clock.now, wallClock: () => clock.wall },
  })
  const tick = async (milliseconds = 500): Promise<void> => {
    clock.now += milliseconds
    clock.wall += milliseconds
    await marks.tick()
  }
  const numbers = (): number[] => sent.map(({ body }) => (JSON.parse(body) as { number: number }).number)
  return { clock, recorder, lines, sent, answers, control, log, marks, tick, numbers }
}

test('a mark goes out when something was recorded since the last, and one more when all of it is stored', async () => {
  const { recorder, sent, tick, numbers } = createWorld()
  await tick()
  assert.equal(sent.length, 0, 'nothing was said')
  Object.assign(recorder, { appends: 3, waitingBytes: 100 })
  await tick()
  await tick()
  await tick()
  assert.equal(sent.length, 1)
  assert.deepEqual([sent[0]!.path, sent[0]!.store], ['/v1/marks', 'default'])
  recorder.waitingBytes = 0
  await tick()
  await tick()
  assert.equal(sent.length, 2)
  recorder.appends = 4
  await tick()
  assert.deepEqual(
    numbers(),
    [...numbers()].sort((one, other) => one - other),
  )
  assert.equal(new Set(numbers()).size, 3)
})

test('one mark is under way at a time, and what was said meanwhile is in the next one', async () => {
  const { recorder, sent, answers, tick, marks } = createWorld()
  const answer = Promise.withResolvers<PostAnswer>()
  answers.push(() => answer.promise)
  Object.assign(recorder, { appends: 1, waitingBytes: 1 })
  const first = tick()
  recorder.appends = 2
  await tick()
  await tick()
  assert.equal(sent.length, 1)
  answer.resolve(taken)
  await first
  await tick()
  await tick()
  assert.equal(sent.length, 2)
  assert.equal((JSON.parse(sent[1]!.body) as { appends: number }).appends, 2)
  assert.deepEqual(marks.counts, { sent: 2, failed: 0 })
})

test('a control that is away is asked ever less, and told of once a minute in the log', async () => {
  const { recorder, sent, answers, lines, tick, marks } = createWorld()
  Object.assign(recorder, { appends: 1, waitingBytes: 1 })
  answers.push(...Array.from({ length: 1_000 }, () => () => Promise.reject(new StoreUnavailable('control does not answer', 'wait'))))
  for (let at = 0; at < 240; at++) await tick() // Two minutes.
  assert.ok(sent.length > 20 && sent.length < 60, String(sent.length))
  assert.equal(marks.counts.failed, sent.length)
  assert.ok(lines.length <= 2 && lines[0]!.includes('STORE_UNAVAILABLE'), lines.join('\n'))
  answers.length = 0
  for (let at = 0; at < 12; at++) await tick()
  assert.deepEqual([marks.counts.sent, lines.length <= 2], [1, true])
})

test('a clock that was set back is made good by the number that control knows', async () => {
  const { clock, recorder, answers, tick, numbers, marks } = createWorld()
  clock.wall = 500
  Object.assign(recorder, { appends: 1, waitingBytes: 1 })
  answers.push(() => Promise.resolve({ status: 409, code: 'MARK_OLD', message: 'old', number: 7_000 }))
  await tick()
  await tick()
  await tick()
  assert.equal(numbers()[0]! < 7_000, true)
  assert.deepEqual([numbers()[1], marks.counts.sent], [7_001, 1])
})

test('facts go out at a change and every 15 s, whatever was measured again', async () => {
  const { clock, control, log, sent } = createWorld()
  let facts: WayFacts | null = null
  const sender = createFactSender({ current: () => facts, control, log, now: () => clock.now })
  await sender.tick()
  assert.equal(sent.length, 0, 'nothing was measured')
  facts = { state: 'Closed', reason: '', since: 1, measured: 1, databases: [] }
  await sender.tick()
  for (const [now, count] of [
    [1_000, 1],
    [14_999, 1],
    [15_000, 2],
    [29_000, 2],
  ] as const) {
    clock.now = now
    facts = { ...facts, measured: now }
    await sender.tick()
    assert.equal(sent.length, count, `at ${now}`)
  }
  facts = { ...facts, state: 'Open' }
  await sender.tick()
  assert.equal((JSON.parse(sent.at(-1)!.body) as { egress: WayFacts }).egress.state, 'Open')
})

test('what is said of the recording goes along, and its change goes out at once, however much waits meanwhile', async () => {
  const { clock, control, log, sent } = createWorld()
  const facts: WayFacts = { state: 'Closed', reason: '', since: 1, measured: 1, databases: [] }
  let recording: RecordingFacts = { state: 'Shipping', code: '', unshippedBytes: 0, unshippedBytesMax: 9, oldestUnshippedSeconds: 0 }
  const sender = createFactSender({ current: () => facts, recording: () => recording, control, log, now: () => clock.now })
  await sender.tick()
  recording = { ...recording, unshippedBytes: 5, oldestUnshippedSeconds: 40 }
  await sender.tick()
  assert.equal(sent.length, 1)
  for (const shown of ['NothingStored', 'Stored'] as const) {
    recording = { ...recording, shown }
    await sender.tick()
    assert.equal((JSON.parse(sent.at(-1)!.body) as PodFacts).recording?.shown, shown)
  }
  recording = { ...recording, state: 'Failing', code: 'STORE_FULL' }
  await sender.tick()
  assert.deepEqual((JSON.parse(sent.at(-1)!.body) as PodFacts).recording, recording)
})
