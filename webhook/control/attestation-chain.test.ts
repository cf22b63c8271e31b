// Goal: every recorder that control takes recordings of is named in one chain without a hole, whatever replicas, bursts and failures do, and none is taken
// for named that is not. Method: chains over a memory and over an S3 server; then the real control server, whose chain's puts fail or are late.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog, type Log } from '../../base/log.ts'
import {
  readChainEntry,
  recordersPerChainEntryMax,
  sealChainEntry,
  type ChainedRecorder,
  type ChainEntry,
} from '../../session/attestation-chain.ts'
import { sha256Of } from '../../session/digest.ts'
import { createMemoryStore } from '../../session/memory-store.ts'
import { attestationChainKey, attestationChainPrefix, attestationKey, ledgerKey, nameOf } from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import { ControlRefused } from '../../session/stores/control.ts'
import { openS3Store } from '../../session/stores/s3.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { testKey } from '../../session/test-recording.ts'
import { verifyStore } from '../../session/verify.ts'
import { testLog } from '../../cluster/test-support.ts'
import { startS3Double, type S3Double } from '../../tools/s3-double/server.ts'
import { createAttestationChain } from './attestation-chain.ts'
import { startTestControl, type TestControl } from './test-control.ts'
import { madeRecording, type MadeRecording } from './test-recordings.ts'
import { gated } from './test-requests.ts'

const silent = createLog({ level: 'silent' })
const key = testKey(9)

/** Of a clock in which no two entries have the same time, and so not the same bytes. */
let clock = 0

function chainOver(store: Store, log: Log = silent) {
  return createAttestationChain({ store, key, log, wallClock: () => ++clock })
}

function recorderOf(number: number): ChainedRecorder {
  const digest = sha256Of(Buffer.from(String(number)))
  return { recorder: digest.slice(0, 32), attestation: digest, ledger: { number: 1, sha256: digest } }
}

/** All entries, each checked to follow the one before. */
async function entriesOf(store: Store): Promise<ChainEntry[]> {
  const entries: ChainEntry[] = []
  let previous: string | null = null
  for await (const { key: objectKey } of store.list(attestationChainPrefix)) {
    const bytes = (await store.get(objectKey))!
    const { entry } = readChainEntry(bytes, entries.length + 1)
    assert.equal(entry.previous, previous, `entry ${entry.number} follows the one before`)
    previous = sha256Of(bytes)
    entries.push(entry)
  }
  return entries
}

const namedIn = (entries: readonly ChainEntry[]): string[] => entries.flatMap(({ recorders }) => recorders.map(({ recorder }) => recorder))

function storeOf(double: S3Double): Store {
  const place = { bucket: double.bucket, prefix: '', endpoint: double.endpoint, region: null, pathStyle: true }
  return openS3Store(place, { accessKeyId: double.accessKeyId, secretAccessKey: double.secretAccessKey })
}

test('a burst of thousands makes few entries, none with more than it may name', async () => {
  const store = createMemoryStore()
  const chain = chainOver(store)
  const all = Array.from({ length: 2 * recordersPerChainEntryMax + 2 }, (_, at) => recorderOf(at))
  await Promise.all(all.map((each) => chain.name(each)))
  const entries = await entriesOf(store)
  assert.deepEqual(
    entries.map(({ recorders }) => recorders.length),
    [1, recordersPerChainEntryMax, recordersPerChainEntryMax, 1],
  )
  assert.deepEqual(
    entries.flatMap(({ recorders }) => recorders),
    all,
  )
})

test('more than it holds at a time are told to come again', async () => {
  const store = createMemoryStore()
  const never = { ...store, putIfAbsent: () => new Promise<never>(() => {}) }
  const chain = chainOver(never)
  for (let at = 0; at <= 10_000; at++) void chain.name(recorderOf(at))
  await assert.rejects(chain.name(recorderOf(0)), { code: 'BUSY' })
})

test('two replicas that race name each recorder once, in one chain without a hole', async () => {
  await using double = await startS3Double()
  const replicas = [chainOver(storeOf(double)), chainOver(storeOf(double))]
  const all = Array.from({ length: 60 }, (_, at) => recorderOf(at))
  const name = async (own: readonly ChainedRecorder[], chain: (typeof replicas)[0]): Promise<void> => {
    for (const each of own) await chain.name(each)
  }
  await Promise.all(
    replicas.map((chain, at) =>
      name(
        all.filter((_, number) => number % 2 === at),
        chain,
      ),
    ),
  )
  const entries = await entriesOf(storeOf(double))
  assert.deepEqual(namedIn(entries).sort(), all.map(({ recorder }) => recorder).sort())
  assert.ok(double.answers.includes('PUT 412'), 'they did race')
})

test('a replica that was idle goes on behind all that the other one named', async () => {
  const store = createMemoryStore()
  const [busy, idle] = [chainOver(store), chainOver(store)]
  await idle.name(recorderOf(0))
  for (let at = 1; at <= 40; at++) await busy.name(recorderOf(at))
  await idle.name(recorderOf(41))
  assert.equal(namedIn(await entriesOf(store)).length, 42)
})

test('a control that starts goes on behind the last entry, also one that another key signed', async () => {
  const store = createMemoryStore()
  for (let at = 0; at < 5; at++) await chainOver(store).name(recorderOf(at))
  await createAttestationChain({ store, key: testKey(8), log: silent }).name(recorderOf(5))
  await chainOver(store).name(recorderOf(6))
  assert.equal((await entriesOf(store)).length, 7)
})

test('a store that fails names nobody, and the next try does, without a hole', async () => {
  const store = createMemoryStore()
  let isDown = true
  const down = (): Promise<never> => Promise.reject(new StoreUnavailable('it is down', 'wait'))
  const failing: Store = { ...store, putIfAbsent: (objectKey, bytes) => (isDown ? down() : store.putIfAbsent(objectKey, bytes)) }
  const chain = chainOver(failing)
  await assert.rejects(Promise.all([chain.name(recorderOf(1)), chain.name(recorderOf(2))]), StoreUnavailable)
  isDown = false
  await chain.name(recorderOf(3))
  assert.deepEqual(namedIn(await entriesOf(store)), [recorderOf(3).recorder])
})

test('an entry that was stored without an answer is known by its bytes, or named once more: never left out', async () => {
  const store = createMemoryStore()
  let isLost = true
  const chain = chainOver({
    ...store,
    async putIfAbsent(objectKey, bytes) {
      const outcome = await store.putIfAbsent(objectKey, bytes)
      if (isLost) throw new StoreUnavailable('no answer', 'wait')
      return outcome
    },
  })
  await assert.rejects(chain.name(recorderOf(1)), StoreUnavailable)
  isLost = false
  await chain.name(recorderOf(1))
  await chain.name(recorderOf(2))
  assert.deepEqual(
    namedIn(await entriesOf(store)),
    [1, 1, 2].map((at) => recorderOf(at).recorder),
  )
  // A client of S3 repeats a put by itself, and is told that the name is taken.
  const repeating = createMemoryStore()
  const twice = {
    ...repeating,
    putIfAbsent: (...put: Parameters<Store['putIfAbsent']>) => repeating.putIfAbsent(...put).then(() => repeating.putIfAbsent(...put)),
  }
  await chainOver(twice).name(recorderOf(1))
  assert.equal((await entriesOf(repeating)).length, 1)
})

for (const [what, kept] of [
  ['whose end was cut off', 2],
  ['that was emptied', 0],
] as const) {
  test(`a control that saw a chain never fills what is missing from one ${what}: the next entry leaves a hole`, async () => {
    const store = createMemoryStore()
    const chain = chainOver(store)
    for (let at = 1; at <= 4; at++) await chain.name(recorderOf(at))
    for (let number = kept + 1; number <= 4; number++) await store.delete(attestationChainKey(number))
    await chain.name(recorderOf(5))
    assert.equal(await store.head(attestationChainKey(kept + 1)), null)
    const found = await Array.fromAsync(verifyStore(store, { trust: { attesters: [key.publicKey] } }))
    assert.ok(found.some(({ code, key: at }) => code === 'CHAIN_HOLE' && at === attestationChainKey(kept + 1)))
  })
}

test('an entry that does not follow what a control saw is said in its log, and it goes on', async () => {
  const { log, lines } = testLog()
  for (const other of [
    sealChainEntry({ head: { number: 1, sha256: 'a'.repeat(64) }, time: 1, recorders: [] }, key).bytes,
    Buffer.from('x'),
  ]) {
    const store = createMemoryStore()
    const chain = chainOver(store, log)
    await chain.name(recorderOf(1))
    await store.putIfAbsent(attestationChainKey(2), other)
    await chain.name(recorderOf(2))
    assert.ok((await store.head(attestationChainKey(3))) !== null)
    const { level, msg } = lines.pop()!
    assert.equal(level, 'error')
    assert.match(msg, /does not follow/)
  }
})

async function putAll(store: Store, { objects }: MadeRecording): Promise<void> {
  for (const { key: objectKey, bytes } of objects) await putOnce(store, objectKey, bytes)
}

const isChain = (objectKey: string): boolean => nameOf(objectKey).kind === 'chain'

async function findingsOf({ directory, key: { publicKey } }: TestControl): Promise<string[]> {
  return (await Array.fromAsync(verifyStore(directory, { trust: { attesters: [publicKey] } }))).map(({ code }) => code)
}

test('a recorder is named when its ledger begins and when it ends, and all of one pod removed is then a finding', async () => {
  await using control = await startTestControl()
  const recordings = await Promise.all([1, 2, 3].map((seed) => madeRecording(seed)))
  for (const [at, recording] of recordings.entries()) await putAll(await control.client(`pod-${at}`), recording)
  assert.deepEqual(await findingsOf(control), [])
  const entries = await entriesOf(control.directory)
  assert.deepEqual(
    namedIn(entries),
    recordings.flatMap(({ recorder }) => [recorder, recorder]),
  )
  const { recorder, session } = recordings[1]!
  for await (const { key: objectKey } of control.directory.list(''))
    if (objectKey.includes(recorder) || objectKey.includes(session)) await control.directory.delete(objectKey)
  assert.deepEqual(await findingsOf(control), ['ATTESTATION_MISSING', 'RECORDER_MISSING', 'LEDGER_MISSING'])
})

test('a recorder has no receipt for the beginning of its ledger before the chain names it', async () => {
  const gate = gated()
  await using control = await startTestControl({ over: gate.over })
  const recording = await madeRecording(1)
  const store = await control.client('a')
  const entry = recording.objects.find(({ key: objectKey }) => objectKey === ledgerKey(recording.recorder, 1))!
  const [document] = recording.objects
  await putOnce(store, document!.key, document!.bytes)
  gate.onPut.now = (objectKey, put) => (isChain(objectKey) ? Promise.reject(new StoreUnavailable('it is down', 'wait')) : put())
  await assert.rejects(store.putIfAbsent(entry.key, entry.bytes), StoreUnavailable)
  assert.deepEqual(await control.directory.get(entry.key), entry.bytes, 'the ledger has begun')
  assert.deepEqual(await findingsOf(control), [], 'which is not yet anything to be missed')
  await assert.rejects(store.putIfAbsent(entry.key, entry.bytes), StoreUnavailable, 'nor does it count when it is there already')
  await control.restart()
  gate.onPut.now = null
  await putAll(store, recording)
  assert.deepEqual(await findingsOf(control), [])
  assert.deepEqual(
    (await entriesOf(control.directory)).map(({ recorders }) => recorders.map(({ ledger }) => ledger.number)),
    [[1], [recording.objects.filter(({ key: objectKey }) => nameOf(objectKey).kind === 'ledger').length]],
  )
})

test('a ledger entry that lies under another’s name is not what the chain names', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1)
  const store = await control.client('a')
  const [document] = recording.objects
  await putOnce(store, document!.key, document!.bytes)
  const entryKey = ledgerKey(recording.recorder, 1)
  await control.directory.putIfAbsent(entryKey, Buffer.from('something else'))
  const entry = recording.objects.find(({ key: objectKey }) => objectKey === entryKey)!
  assert.equal(await store.putIfAbsent(entryKey, entry.bytes), 'exists')
  assert.deepEqual(await entriesOf(control.directory), [])
})

test('a restarted control names no recorder again that goes on, and each that starts', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1, 3)
  const store = await control.client('a')
  const ledger = recording.objects.filter(({ key: objectKey }) => nameOf(objectKey).kind === 'ledger')
  const until = recording.objects.indexOf(ledger[2]!)
  await putAll(store, { ...recording, objects: recording.objects.slice(0, until) })
  await control.restart()
  await putAll(store, { ...recording, objects: recording.objects.slice(until, -1) })
  assert.equal((await entriesOf(control.directory)).length, 1)
  await putAll(store, recording)
  assert.equal((await entriesOf(control.directory)).length, 2, 'its end')
  assert.deepEqual(await findingsOf(control), [])
})

test('a recorder whose store was emptied is named there again, and the hole says what happened', async () => {
  await using control = await startTestControl()
  const recording = await madeRecording(1, 3)
  const store = await control.client('a')
  const ledger = recording.objects.filter(({ key: objectKey }) => nameOf(objectKey).kind === 'ledger')
  await putAll(store, { ...recording, objects: recording.objects.slice(0, -2) })
  for await (const { key: objectKey } of control.directory.list('')) await control.directory.delete(objectKey)
  const [document] = recording.objects
  await putOnce(store, document!.key, document!.bytes)
  const next = ledger.at(-2)!
  await putOnce(store, next.key, next.bytes)
  const entry = readChainEntry((await control.directory.get(attestationChainKey(2)))!, 2).entry
  const attestation = sha256Of((await control.directory.get(attestationKey(recording.recorder)))!)
  assert.deepEqual(entry.recorders, [
    { recorder: recording.recorder, attestation, ledger: { number: ledger.length - 1, sha256: sha256Of(next.bytes) } },
  ])
  assert.ok((await findingsOf(control)).includes('CHAIN_HOLE'))
})

test('a sidecar neither reads nor writes nor deletes an entry of the chain', async () => {
  await using control = await startTestControl()
  const store = await control.client('a')
  await putAll(store, await madeRecording(1))
  const chainKey = attestationChainKey(1)
  assert.equal(await store.get(chainKey), null)
  const { bytes } = sealChainEntry({ head: null, time: 1, recorders: [] }, testKey(1))
  for (const number of [1, 2, 3]) await assert.rejects(store.putIfAbsent(attestationChainKey(number), bytes), ControlRefused)
  await assert.rejects(store.delete(chainKey), ControlRefused)
  await assert.rejects(Array.fromAsync(store.list(attestationChainPrefix)), ControlRefused)
  assert.ok((await control.reader().get(chainKey)) !== null, 'an auditor reads it')
})
