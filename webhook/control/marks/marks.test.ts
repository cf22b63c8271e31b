// Goal: control believes a mark only of the recorder that it is of, of the pod whose recorder that is, and only once; and keeps the newest within
// bounds, past its own end. Method: the real server over a folder; marks made by keys of tests.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import { sealHighWaterMark, type HighWaterMark } from '../../../session/high-water-mark.ts'
import { createMemoryStore } from '../../../session/memory-store.ts'
import { attestationKey, markKey, marksPrefix } from '../../../session/object-keys.ts'
import { testEpoch, testKey, testSessionId } from '../../../session/test-recording.ts'
import { startTestControl, type TestControl, type TestControlOptions } from '../test-control.ts'
import { requestTo, type Sent } from '../test-requests.ts'
import { createVanishing, type Vanishing } from '../vanishing.ts'
import { createMarkKeeper } from './keep-marks.ts'
import { createMarkMemory, takenMark, withMark, type RecorderMarks } from './mark-memory.ts'

const log = createLog({ level: 'silent' })
const nothing = { records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }

function fieldsOf(number: number, changes: Partial<HighWaterMark> = {}) {
  const session = testSessionId(testEpoch, 1)
  const marked = { session, opened: testEpoch, ...nothing, records: number, lastTime: testEpoch, closed: false }
  const rest = { sessions: 0, ...nothing }
  return { process: 1, number, time: testEpoch, waitingBytes: 10, earlierBytes: 0, sessions: [marked], rest, ...changes }
}

const markOf = (seed: number, number: number, changes: Partial<HighWaterMark> = {}): Buffer =>
  sealHighWaterMark(fieldsOf(number, changes), testKey(seed))

type Answer = { readonly status: number; readonly code: string | null; readonly number: string | undefined }

async function sent(control: TestControl, body: Buffer, { headers = {}, pod = 'a' }: Partial<Sent> = {}): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const outgoing = requestTo(control, {
      ...{ method: 'POST', path: '/v1/marks', pod },
      headers: { 'steno-store': 'default', 'content-length': String(body.length), ...headers },
    })
    outgoing.on('response', (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      answer.on('end', () => {
        const code = text === '' ? null : (JSON.parse(text) as { code: string }).code
        resolve({ status: answer.statusCode!, code, number: answer.headers['steno-mark-number'] as string | undefined })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

async function markedControl(
  options: Pick<TestControlOptions, 'over'> = {},
): Promise<{ control: TestControl; vanishing: () => Vanishing }> {
  let vanishing: Vanishing | null = null
  const control = await startTestControl({
    ...options,
    routes: (parts) =>
      (vanishing = createVanishing({
        ...{ parts, storeNames: () => ['default'], podState: () => Promise.resolve('live'), cluster: null },
        describePod: () => Promise.reject(new Error('facts are not part of this')),
      })).routes,
  })
  return { control, vanishing: () => vanishing! }
}

test('a mark counts once, of its own recorder and its own pod', async (t) => {
  const { control } = await markedControl()
  t.after(() => control[Symbol.asyncDispose]())
  assert.equal((await sent(control, markOf(1, 100))).status, 204)
  assert.notEqual(await control.directory.head(attestationKey(testKey(1).id)), null, 'the recorder is the pod’s from now on')
  assert.deepEqual(await sent(control, markOf(1, 100)), { status: 409, code: 'MARK_OLD', number: '100' }, 'replayed')
  assert.equal((await sent(control, markOf(1, 99))).code, 'MARK_OLD', 'an older one')
  assert.equal((await sent(control, markOf(1, 101))).status, 204)
  assert.equal((await sent(control, markOf(1, 102), { pod: 'b' })).code, 'NOT_YOURS', 'of another pod’s recorder')
  assert.equal((await sent(control, markOf(2, 1), { pod: 'b' })).status, 204)
  const forged = markOf(1, 200)
  forged[forged.indexOf('"records":200') + 10]! ^= 1
  assert.equal((await sent(control, forged)).code, 'OBJECT_UNFIT', 'not signed')
  assert.equal((await sent(control, Buffer.from('{}'))).code, 'OBJECT_UNFIT')
  assert.equal((await sent(control, Buffer.alloc(300 * 1024))).code, 'OBJECT_TOO_LONG')
  assert.equal((await sent(control, markOf(1, 300), { headers: { 'steno-store': 'other' } })).code, 'STORE_UNKNOWN')
  assert.equal((await sent(control, markOf(1, 103))).status, 204)
})

test('a control that is started anew takes no mark that the one before had heard', async (t) => {
  const { control, vanishing } = await markedControl()
  t.after(() => control[Symbol.asyncDispose]())
  const old = markOf(1, 100)
  await sent(control, old)
  await sent(control, markOf(1, 200))
  await control.server.stop()
  await vanishing().stop()
  assert.deepEqual(
    (await Array.fromAsync(control.directory.list(marksPrefix))).map(({ key }) => key),
    [markKey(testKey(1).id, 200)],
  )
  await control.restart()
  assert.deepEqual(await sent(control, old), { status: 409, code: 'MARK_OLD', number: '200' })
  assert.equal((await sent(control, markOf(1, 201))).status, 204)
})

const marksOf = (recorder: string, fields: Partial<HighWaterMark>, podUid = 'uid'): RecorderMarks => {
  const mark = { ...fieldsOf(fields.number ?? 1), ...fields }
  return {
    ...{ recorder, store: 'default', pod: { podUid, podName: podUid, podNamespace: 'shop' } },
    ...{ last: takenMark(mark as HighWaterMark, Buffer.alloc(100)), earlier: [], kept: new Set(), keptAt: -Infinity, waitsSince: 0 },
  }
}

test('the memory of marks is bounded by recorders and by bytes, and the one silent longest goes first', () => {
  for (const limits of [{ recordersMax: 3 }, { bytesMax: 3 * 700 }]) {
    const memory = createMarkMemory(limits)
    for (const recorder of ['a', 'b', 'c']) memory.set(marksOf(recorder, {}))
    memory.set(marksOf('a', { number: 2 }))
    memory.set(marksOf('d', {}))
    assert.deepEqual(
      [...memory.values()].map(({ recorder }) => recorder),
      ['c', 'a', 'd'],
    )
    assert.deepEqual(
      memory
        .ofPod('uid')
        .map(({ recorder }) => recorder)
        .sort(),
      ['a', 'c', 'd'],
    )
    for (const recorder of ['a', 'c', 'd']) memory.delete('default', recorder)
    assert.deepEqual([memory.size, memory.bytes, memory.ofPod('uid').length], [0, 0, 0])
  }
})

test('the mark of the process before stays as long as its spool is not recovered', () => {
  const mark = (process: number, number: number, earlierBytes: number, waitingBytes = 10) =>
    takenMark({ ...fieldsOf(number), process, earlierBytes, waitingBytes } as HighWaterMark, Buffer.alloc(1))
  let known = withMark(null, mark(1, 1, 0))
  known = withMark(known, mark(1, 2, 0))
  known = withMark(known, mark(2, 3, 5))
  known = withMark(known, mark(2, 4, 5))
  assert.deepEqual([known.last.number, known.earlier.map(({ number }) => number)], [4, [2]])
  known = withMark(known, mark(3, 5, 9))
  assert.deepEqual(
    known.earlier.map(({ number }) => number),
    [2, 4],
  )
  assert.deepEqual(withMark(known, mark(3, 6, 0)).earlier, [])
})

test('what waits for ten seconds is kept in the store, one mark a recorder, and nothing when nothing waits', async () => {
  const store = createMemoryStore()
  const memory = createMarkMemory()
  let now = 0
  const keeper = createMarkKeeper({ memory, storeNamed: () => store, log, now: () => now })
  const recorder = testKey(1).id
  const keys = (): string[] => [...store.objects.keys()]
  const hear = (number: number, waitingBytes: number): void => {
    const known = memory.get('default', recorder)
    const mark = markOf(1, number, { waitingBytes })
    memory.set({
      ...{
        recorder,
        store: 'default',
        pod: null,
        ...withMark(known ?? null, takenMark({ ...fieldsOf(number), waitingBytes } as HighWaterMark, mark)),
      },
      ...{ kept: known?.kept ?? new Set(), keptAt: known?.keptAt ?? -Infinity },
      waitsSince: waitingBytes === 0 ? null : (known?.waitsSince ?? now),
    })
  }
  hear(1, 10)
  await keeper.look()
  assert.deepEqual(keys(), [], 'a spool that is emptied soon costs the store nothing')
  now = 10_000
  hear(2, 10)
  await keeper.look()
  assert.deepEqual(keys(), [markKey(recorder, 2)])
  hear(3, 10)
  now = 19_999
  await keeper.look()
  assert.deepEqual(keys(), [markKey(recorder, 2)])
  now = 20_000
  await keeper.look()
  assert.deepEqual(keys(), [markKey(recorder, 3)])
  assert.equal((await keeper.load('default', recorder))!.last.number, 3)
  hear(4, 0)
  await keeper.look()
  assert.deepEqual(keys(), [])
  await keeper.stop()
})

test('a mark for a store that overwrites is refused, and nothing is put there for it', async () => {
  const { control } = await markedControl({
    over: (directory) => ({
      ...directory,
      async putIfAbsent(key, bytes) {
        await directory.delete(key)
        return directory.putIfAbsent(key, bytes)
      },
    }),
  })
  await using _ = control
  assert.equal((await sent(control, markOf(1, 1))).code, 'STORE_UNFIT')
  assert.equal(await control.directory.head(attestationKey(testKey(1).id)), null)
})
