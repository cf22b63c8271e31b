// Goal: what a vanished recorder had and the store lacks is a stated gap of the right size, and only a loss that its control states excuses it.
// Method: the test recorder stores a part of what its mark claims; then the statement of loss is left out, forged, or outlived.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sealAttestation } from '../attestation.ts'
import { sha256Of } from '../digest.ts'
import { sealHighWaterMark, type MarkedSession } from '../high-water-mark.ts'
import { createMemoryStore, type MemoryStore } from '../memory-store.ts'
import { attestationKey, ledgerKey, lossKey, markKey, segmentKey } from '../object-keys.ts'
import { sealRecorderLoss, type RecorderLoss } from '../recorder-loss.ts'
import { chainTestRecorders, createTestRecorder, testEpoch, testKey, testSessionId } from '../test-recording.ts'
import { verifyStore, type Finding, type VerifyOptions } from '../verify.ts'

const control = testKey(9)
const recorder = testKey(1).id
const podUid = '6a1f0c1e-0000-4000-8000-000000000001'
const trust = { attesters: [control.publicKey] }
const rest = { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }

/** One session of one statement is stored (3 records: 1 open, 1 sent, 1 answered) and not closed. */
async function cutOff(): Promise<{
  store: MemoryStore
  session: string
  head: { number: number; sha256: string }
  end: () => Promise<void>
}> {
  const store = createMemoryStore()
  const pod = { podUid, podName: 'a', podNamespace: 'shop', serviceAccount: 'agent', nodeName: null, owner: null, image: null }
  store.objects.set(attestationKey(recorder), sealAttestation({ recorder, time: testEpoch, pod }, control).bytes)
  const made = await createTestRecorder(store, { seed: 1 })
  const session = await made.record([{ statements: 1 }], { close: false })
  await chainTestRecorders(store, [recorder])
  const { number, sha256 } = made.head()
  return { store, session, head: { number, sha256 }, end: made.stop }
}

function claimOf(session: string, changes: Partial<MarkedSession> = {}): MarkedSession {
  const amount = { records: 7, bytes: 5000, frontendBytes: 100, backendBytes: 4000, statements: 3 }
  return { session, opened: testEpoch + 1010, ...amount, lastTime: testEpoch + 3000, closed: false, ...changes }
}

function markOf(sessions: readonly MarkedSession[], { number = 5, unnamed = 0, time = testEpoch + 3000 } = {}): Buffer {
  const fields = { process: testEpoch, number, time, waitingBytes: 10, earlierBytes: 0, sessions }
  return sealHighWaterMark({ ...fields, rest: { ...rest, sessions: unnamed } }, testKey(1))
}

function lose(store: MemoryStore, mark: Buffer | null, changes: Partial<RecorderLoss> = {}, key = control): void {
  const fields = { recorder, time: testEpoch + 60_000, why: 'pod-deleted', podUid, earlierMarks: [], ledger: null, sessions: [] } as const
  store.objects.set(lossKey(recorder), sealRecorderLoss({ ...fields, mark: mark?.toString() ?? null, ...changes }, key))
}

const findings = (store: MemoryStore, options: VerifyOptions = {}): Promise<Finding[]> =>
  Array.fromAsync(verifyStore(store, { trust, ...options }))
const codes = async (store: MemoryStore, options: VerifyOptions = {}): Promise<string[]> =>
  (await findings(store, options)).map(({ code }) => code)

test('a session cut off by a stated loss is a gap of the size that the mark claims beyond what is stored', async () => {
  const { store, session } = await cutOff()
  assert.deepEqual(await codes(store), [], 'without anything it stays what it is')
  lose(store, markOf([claimOf(session)]))
  for (const options of [{}, { sessions: [session] }]) {
    const found = await findings(store, options)
    assert.deepEqual(
      found.map(({ code, severity }) => [code, severity]),
      [
        ['RECORDER_LOST', 'warning'],
        ['SESSION_LOST', 'warning'],
      ],
    )
    const { missing, message, session: of } = found[1]!
    assert.equal(of, session)
    assert.equal(missing!.records, 4)
    assert.equal(missing!.statements, 2)
    assert.ok(missing!.frontendBytes > 0 && missing!.frontendBytes < 100 && missing!.backendBytes < 4000, JSON.stringify(missing))
    assert.match(message, /4 records .* were lost with the recorder/)
  }
})

test('when everything that the mark claims is stored there is no gap', async () => {
  const { store, session } = await cutOff()
  lose(store, markOf([claimOf(session, { records: 3 })]))
  assert.deepEqual(await codes(store), ['RECORDER_LOST'])
})

test('a session of which nothing is stored is stated too, alone and among all', async () => {
  const { store, session } = await cutOff()
  const other = testSessionId(testEpoch + 2000, 77)
  lose(store, markOf([claimOf(session, { records: 3 }), claimOf(other)]))
  for (const options of [{}, { sessions: [other] }]) {
    const found = (await findings(store, options)).filter(({ code }) => code === 'SESSION_LOST')
    assert.deepEqual(
      found.map(({ session: of, missing }) => [of, missing!.records]),
      [[other, 7]],
    )
  }
  assert.ok(!(await codes(store, { sessions: [session] })).includes('SESSION_LOST'), 'who asks of one session is not told of another')
})

test('an unknown size is said to be unknown, and why', async () => {
  const { store, session } = await cutOff()
  for (const [mark, pattern] of [
    [null, /never heard/],
    [markOf([], { unnamed: 3 }), /one of the 3/],
    [markOf([]), /does not name it/],
  ] as const) {
    lose(store, mark)
    const lost = (await findings(store)).filter(({ code }) => code === 'SESSION_LOST')
    assert.deepEqual(
      lost.map((each) => [each.session, each.missing]),
      [[session, undefined]],
    )
    assert.match(lost[0]!.message, pattern)
  }
})

test('a loss that another key states than the one that attests the recorder is a fault, and excuses nothing', async () => {
  const { store, session } = await cutOff()
  const forger = testKey(8)
  store.objects.set(markKey(recorder, 5), markOf([claimOf(session)]))
  lose(store, markOf([claimOf(session)]), {}, forger)
  assert.deepEqual((await codes(store)).sort(), ['LOSS_SIGNATURE', 'MARK_UNMET'])
  assert.deepEqual(
    await codes(store, { trust: { attesters: [control.publicKey, forger.publicKey] } }),
    ['RECORDER_LOST', 'SESSION_LOST'],
    'after a rotation',
  )
  store.objects.delete(attestationKey(recorder))
  assert.ok((await codes(store)).includes('LOSS_SIGNATURE'), 'of a recorder that nobody attests')
})

test('a statement of loss with any byte changed, or under another name, is a fault', async () => {
  const { store, session } = await cutOff()
  lose(store, markOf([claimOf(session)]))
  const sound = store.objects.get(lossKey(recorder))!
  for (let at = 0; at < sound.length; at += 37) {
    const changed = Buffer.from(sound)
    changed[at]! ^= 1
    store.objects.set(lossKey(recorder), changed)
    assert.ok((await codes(store)).includes('LOSS_DAMAGED'), `byte ${at}`)
  }
  store.objects.delete(lossKey(recorder))
  store.objects.set(lossKey(testKey(2).id), sound)
  assert.ok((await codes(store)).includes('LOSS_DAMAGED'))
})

test('a mark that claims more than is stored is a fault once its recorder is silent, and nothing while it may live', async () => {
  const { store, session } = await cutOff()
  store.objects.set(markKey(recorder, 5), markOf([claimOf(session)], { time: Date.now() }))
  assert.deepEqual(await codes(store), [], 'it lives')
  store.objects.set(markKey(recorder, 5), markOf([claimOf(session)]))
  const [found] = await findings(store)
  assert.deepEqual([found!.code, found!.severity, found!.session, found!.missing!.records], ['MARK_UNMET', 'error', session, 4])
  store.objects.set(markKey(recorder, 5), markOf([claimOf(session, { records: 3 })]))
  assert.deepEqual(await codes(store), [])
  store.objects.set(markKey(recorder, 5), Buffer.from('x'))
  assert.deepEqual(await codes(store), ['MARK_DAMAGED'])
  store.objects.delete(markKey(recorder, 5))
  store.objects.set(markKey(recorder, 6), markOf([claimOf(session, { records: 3 })]))
  assert.deepEqual(await codes(store), ['MARK_DAMAGED'], 'under the name of another mark')
})

test('a recorder that ended is held to its marks at once', async () => {
  const { store, session, end } = await cutOff()
  await end()
  store.objects.set(markKey(recorder, 5), markOf([claimOf(session)], { time: testEpoch }))
  assert.ok((await codes(store)).includes('MARK_UNMET'))
})

test('what control saw when it stated the loss cannot be taken away afterwards', async () => {
  const { store, session, head } = await cutOff()
  const stored = { segments: 1, records: 3, bytes: 500, lastTime: testEpoch }
  const sessions = [{ session, opened: testEpoch + 1010, claimed: claimOf(session), stored }]
  lose(store, markOf([claimOf(session)]), { ledger: head, sessions })
  assert.deepEqual(await codes(store), ['RECORDER_LOST', 'SESSION_LOST'])
  const whole = new Map(store.objects)
  for (const key of [...store.objects.keys()]) if (key.startsWith('sessions/')) store.objects.delete(key)
  store.objects.delete(ledgerKey(recorder, head.number))
  store.objects.delete(ledgerKey(recorder, head.number - 1))
  const found = await codes(store)
  assert.ok(found.includes('LEDGER_TAIL_MISSING') && found.includes('LOSS_CONTRADICTED'), found.join())
  for (const [key, bytes] of whole) store.objects.set(key, bytes)
  lose(store, markOf([claimOf(session)]), { ledger: { number: head.number, sha256: sha256Of(Buffer.from('x')) }, sessions })
  assert.ok((await codes(store)).includes('LEDGER_FORKED'))
  assert.ok(store.objects.has(segmentKey(session, 1)))
})

test('a recorder that vanished before it entered anything is lost, not without a ledger', async () => {
  const { store } = await cutOff()
  for (const key of [...store.objects.keys()]) if (/^(sessions|ledger|attested\/chain)\//.test(key)) store.objects.delete(key)
  assert.deepEqual(await codes(store), ['LEDGER_MISSING'])
  lose(store, null)
  assert.deepEqual(await codes(store), ['RECORDER_LOST'])
})
