// Goal: who may delete everything of a recorder, and has no key, cannot do it unseen. Method: a store of three recorders that control attested and named in
// three entries of its chain; one thing is removed, exchanged, cut or forged at a time, and the finding must name it.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { before, test } from 'node:test'
import { sealAttestation } from './attestation.ts'
import {
  chainEntryBytesMax,
  findLastChainNumber,
  readChainEntry,
  recordersPerChainEntryMax,
  sealChainEntry,
  type ChainHead,
} from './attestation-chain.ts'
import { createMemoryStore } from './memory-store.ts'
import {
  attestationChainKey,
  attestationChainPrefix,
  attestationKey,
  attestationsPrefix,
  ledgerKey,
  ledgerPrefix,
  nameOf,
  recorderKey,
} from './object-keys.ts'
import { sealRecorderLoss } from './recorder-loss.ts'
import { BadDocument } from './shape.ts'
import { chainTestRecorders, createTestRecorder, testEpoch, testKey } from './test-recording.ts'
import { verifyStore, type Finding, type Trust } from './verify.ts'

const pod = { podUid: 'u', podName: 'a', podNamespace: 'shop', serviceAccount: 'agent', nodeName: null, owner: null, image: null }
const control: Trust = { attesters: [testKey(9).publicKey] }
const seeds = [1, 2, 3]
const objects = new Map<string, Buffer>()
let head: ChainHead
/** Sessions by the recorder's seed. */
const sessions = new Map<number, string>()

before(async () => {
  const store = createMemoryStore(objects)
  let last: ChainHead | null = null
  for (const seed of seeds) {
    attest(objects, seed)
    const made = await createTestRecorder(store, { seed, start: testEpoch + seed })
    last = await chainTestRecorders(store, [testKey(seed).id], { head: last })
    sessions.set(seed, await made.record([{ statements: 1 }]))
    await made.stop()
  }
  head = await chainTestRecorders(
    store,
    seeds.map((seed) => testKey(seed).id),
    { head: last, when: 'ended' },
  )
})

function attest(into: Map<string, Buffer>, seed: number, by = 9): void {
  const recorder = testKey(seed).id
  into.set(attestationKey(recorder), sealAttestation({ recorder, time: testEpoch + seed, pod }, testKey(by)).bytes)
}

function isOf(key: string, seed: number): boolean {
  return key.includes(testKey(seed).id) || key.includes(sessions.get(seed)!)
}

async function findingsOf(copy: Map<string, Buffer>, trust: Trust = control): Promise<Finding[]> {
  return Array.fromAsync(verifyStore(createMemoryStore(copy), { trust }))
}

/** `CODE key`, of errors. */
async function errorsAfter(change: (copy: Map<string, Buffer>) => void, trust: Trust = control): Promise<string[]> {
  const copy = new Map(objects)
  change(copy)
  const found = await findingsOf(copy, trust)
  return found.filter(({ severity }) => severity === 'error').map(({ code, key }) => `${code} ${key}`)
}

test('a store in which the chain names every recorder is sound, and what to keep of it is told', async () => {
  assert.deepEqual(await findingsOf(objects), [])
  let told: unknown
  await Array.fromAsync(
    verifyStore(createMemoryStore(objects), { trust: { ...control, chainHead: head }, onProgress: ({ chain }) => (told = chain) }),
  )
  assert.deepEqual(told, { ...head, recorders: 3 })
})

test('all of one recorder removed is named, whichever it is', async () => {
  for (const seed of seeds) {
    const recorder = testKey(seed).id
    const errors = await errorsAfter((copy) => {
      for (const key of copy.keys()) if (isOf(key, seed)) copy.delete(key)
    })
    assert.deepEqual(errors, [
      `ATTESTATION_MISSING ${attestationKey(recorder)}`,
      `RECORDER_MISSING ${recorderKey(recorder)}`,
      `LEDGER_MISSING ${ledgerKey(recorder, 1)}`,
    ])
  }
})

test('all of a recorder removed but its attestation, or but attestation and key, is named, also when control then states a loss', async () => {
  const recorder = testKey(2).id
  const fields = { time: testEpoch, why: 'pod-not-found', podUid: 'u', mark: null, earlierMarks: [], ledger: null, sessions: [] } as const
  for (const kept of [[attestationKey(recorder)], [attestationKey(recorder), recorderKey(recorder)]]) {
    const errors = await errorsAfter((copy) => {
      for (const key of copy.keys()) if (isOf(key, 2) && !kept.includes(key)) copy.delete(key)
      copy.set(`lost/${recorder}.json`, sealRecorderLoss({ recorder, ...fields }, testKey(9)))
    })
    assert.ok(errors.includes(`LEDGER_MISSING ${ledgerKey(recorder, 1)}`), errors.join())
  }
})

test('the end of a ledger cut off with all that it names is named once the recorder ended', async () => {
  const recorder = testKey(2).id
  const entries = [...objects.keys()].filter((key) => key.startsWith(ledgerPrefix(recorder))).length
  for (let keep = 1; keep < entries; keep++) {
    const errors = await errorsAfter((copy) => {
      for (const key of copy.keys()) {
        const name = nameOf(key)
        if (key.includes(sessions.get(2)!) || (name.kind === 'ledger' && name.recorder === recorder && name.number > keep)) copy.delete(key)
      }
    })
    assert.ok(errors.includes(`LEDGER_TAIL_MISSING ${ledgerKey(recorder, keep + 1)}`), errors.join())
  }
})

test('any entry of the chain that is removed but the last is named, and the last when its head was kept', async () => {
  for (let number = 1; number < head.number; number++)
    assert.ok((await errorsAfter((copy) => copy.delete(attestationChainKey(number)))).includes(`CHAIN_HOLE ${attestationChainKey(number)}`))
  const cut = (copy: Map<string, Buffer>): unknown => copy.delete(attestationChainKey(head.number))
  assert.deepEqual(await errorsAfter(cut), [], 'nobody knows')
  assert.deepEqual(await errorsAfter(cut, { ...control, chainHead: head }), [`CHAIN_TAIL_MISSING ${attestationChainKey(head.number)}`])
})

test('an end of the chain cut off while a recorder that it named is there is named', async () => {
  const errors = await errorsAfter((copy) => {
    for (const number of [3, 4]) copy.delete(attestationChainKey(number))
    for (const key of copy.keys()) if (isOf(key, 2)) copy.delete(key)
  })
  assert.ok(errors.includes(`ATTESTATION_NOT_CHAINED ${attestationKey(testKey(3).id)}`), errors.join())
})

test('a changed byte anywhere in an entry of the chain is named, and so are its cut and what is appended to it', async () => {
  for (const [key, bytes] of objects) {
    if (nameOf(key).kind !== 'chain') continue
    const changes = Array.from(bytes.keys(), (at) => {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1
      return changed
    })
    const { number } = nameOf(key) as { readonly number: number }
    for (const changed of changes) assert.throws(() => readChainEntry(changed, number), BadDocument)
    const tooLong = Buffer.concat([bytes, Buffer.alloc(chainEntryBytesMax)])
    const some = changes.filter((_, at) => at % 101 === 0)
    for (const other of [...some, Buffer.alloc(0), bytes.subarray(0, 50), Buffer.concat([bytes, Buffer.from('\n')]), tooLong])
      assert.ok((await errorsAfter((copy) => copy.set(key, other))).includes(`CHAIN_DAMAGED ${key}`))
  }
})

test('entries of the chain that are swapped, repeated under another number, or spelled otherwise are named', async () => {
  const [one, two] = [attestationChainKey(1), attestationChainKey(2)]
  const swapped = await errorsAfter((copy) => copy.set(one, objects.get(two)!).set(two, objects.get(one)!))
  for (const key of [one, two]) assert.ok(swapped.includes(`CHAIN_DAMAGED ${key}`), swapped.join())
  const next = attestationChainKey(head.number + 1)
  assert.deepEqual(await errorsAfter((copy) => copy.set(next, objects.get(one)!)), [`CHAIN_DAMAGED ${next}`])
  for (const key of [`${attestationChainPrefix}1.json`, `${attestationChainPrefix}readme`, `${attestationChainPrefix}000000000000.json`])
    assert.deepEqual(await errorsAfter((copy) => copy.set(key, objects.get(one)!)), [`FOREIGN_OBJECT ${key}`])
})

test('an entry that control signed in the place of another one is named, since the next one does not follow it', async () => {
  const key = attestationChainKey(2)
  const { entry } = readChainEntry(objects.get(key)!, 2)
  const first = { number: 1, sha256: entry.previous! }
  const other = sealChainEntry({ head: first, time: testEpoch, recorders: [] }, testKey(9))
  assert.deepEqual(await errorsAfter((copy) => copy.set(key, other.bytes)), [`CHAIN_BROKEN ${attestationChainKey(3)}`])
})

test('a whole chain forged under another key is named, and so is one entry behind its end', async () => {
  const forged = sealChainEntry({ head, time: testEpoch, recorders: [] }, testKey(8))
  const next = attestationChainKey(head.number + 1)
  assert.deepEqual(await errorsAfter((copy) => copy.set(next, forged.bytes)), [`CHAIN_SIGNATURE ${next}`])
  const copy = new Map([...objects].filter(([key]) => nameOf(key).kind !== 'chain'))
  await chainTestRecorders(createMemoryStore(copy), [testKey(1).id], { by: 8 })
  const codes = (await findingsOf(copy)).map(({ code }) => code)
  assert.deepEqual(codes, ['CHAIN_SIGNATURE', 'ATTESTED_BEFORE_CHAIN'])
})

test('a chain that was begun anew is told from the one whose head was kept', async () => {
  const copy = new Map([...objects].filter(([key]) => nameOf(key).kind !== 'chain' && !isOf(key, 2)))
  const store = createMemoryStore(copy)
  const ids = [1, 3].map((seed) => testKey(seed).id)
  let last: ChainHead | null = null
  for (let number = 1; number <= 5; number++) last = await chainTestRecorders(store, ids, { head: last, when: 'ended' })
  assert.deepEqual(await findingsOf(copy), [])
  const found = await findingsOf(copy, { ...control, chainHead: head })
  assert.deepEqual(
    found.map(({ code, key }) => `${code} ${key}`),
    [`CHAIN_FORKED ${attestationChainKey(head.number)}`],
  )
})

test('an attestation that was exchanged for another one of control’s is named', async () => {
  const recorder = testKey(2).id
  const other = sealAttestation({ recorder, time: testEpoch + 5, pod: { ...pod, podName: 'b' } }, testKey(9)).bytes
  assert.deepEqual(await errorsAfter((copy) => copy.set(attestationKey(recorder), other)), [
    `ATTESTATION_NOT_CHAINED ${attestationKey(recorder)}`,
  ])
})

test('recorders of before the chain, or without any, are told in one warning; those that write to the store themselves in none', async () => {
  const without = new Map([...objects].filter(([key]) => nameOf(key).kind !== 'chain'))
  const [absent, ...others] = await findingsOf(without)
  assert.deepEqual([absent?.code, absent?.severity, others], ['ATTESTED_BEFORE_CHAIN', 'warning', []])
  assert.match(absent!.message, /there is no chain .* 3 recorders were attested/)
  const later = sealChainEntry({ head: null, time: testEpoch + 100, recorders: [] }, testKey(9))
  const [begun, ...rest] = await findingsOf(new Map([...without, [attestationChainKey(1), later.bytes]]))
  assert.deepEqual([begun?.code, rest], ['ATTESTED_BEFORE_CHAIN', []])
  assert.match(begun!.message, /begins at 2026-11-21T09:00:00.100Z/)
  const own = createMemoryStore()
  await (await createTestRecorder(own, { seed: 1 })).record([{ statements: 1 }])
  assert.deepEqual(await findingsOf(own.objects, { recorders: [testKey(1).id] }), [])
})

test('a recorder whose ledger has nothing but its first entry may wait for its name', async () => {
  const copy = new Map(objects)
  attest(copy, 4)
  const store = createMemoryStore(copy)
  const made = await createTestRecorder(store, { seed: 4 })
  assert.deepEqual(await findingsOf(copy), [])
  await made.heartbeat()
  assert.deepEqual(
    (await findingsOf(copy)).map(({ code, key }) => `${code} ${key}`),
    [`ATTESTATION_NOT_CHAINED ${attestationKey(testKey(4).id)}`],
  )
})

test('recorders that are named while the store is read are no findings', async () => {
  const store = createMemoryStore(new Map(objects))
  const listed = store.list.bind(store)
  const growing = {
    ...store,
    async *list(prefix: string) {
      yield* listed(attestationsPrefix)
      // What was listed by now holds the chain, and not yet the ledgers.
      attest(store.objects, 5)
      const made = await createTestRecorder(store, { seed: 5 })
      await chainTestRecorders(store, [testKey(5).id], { head })
      await made.heartbeat()
      for await (const object of listed(prefix)) if (!object.key.startsWith(attestationsPrefix)) yield object
    },
  }
  assert.deepEqual(await Array.fromAsync(verifyStore(growing, { trust: control })), [])
})

test('one session is verified without a word of the chain', async () => {
  const copy = new Map([...objects].filter(([key]) => nameOf(key).kind !== 'chain'))
  const found = verifyStore(createMemoryStore(copy), { trust: control, sessions: [sessions.get(1)!] })
  assert.deepEqual(await Array.fromAsync(found), [])
})

test('an entry of as many recorders as it may name is read, and one of the wrong shape is refused', () => {
  const named = {
    recorder: testKey(1).id,
    attestation: 'a'.repeat(64),
    ledger: { number: Number.MAX_SAFE_INTEGER, sha256: 'b'.repeat(64) },
  }
  const recorders = Array.from({ length: recordersPerChainEntryMax }, () => named)
  const { bytes } = sealChainEntry({ head: { number: 10 ** 12, sha256: 'c'.repeat(64) }, time: testEpoch, recorders }, testKey(9))
  assert.equal(readChainEntry(bytes, 10 ** 12 + 1).entry.recorders.length, recordersPerChainEntryMax)
  for (const wrong of [{ ...named, recorder: 'x' }, { ...named, attestation: '' }, { ...named, ledger: null }, null]) {
    const other = sealChainEntry({ head: null, time: testEpoch, recorders: [wrong as typeof named] }, testKey(9))
    assert.throws(() => readChainEntry(other.bytes, 1), BadDocument)
  }
})

test('the last entry is found with few questions', async () => {
  const copy = new Map(Array.from({ length: 1_000 }, (_, at) => [attestationChainKey(at + 1), Buffer.alloc(1)] as const))
  const store = createMemoryStore(copy)
  let asked = 0
  const counting = { ...store, head: (key: string) => (asked++, store.head(key)) }
  assert.equal(await findLastChainNumber(counting), 1_000)
  assert.ok(asked <= 22, String(asked))
  assert.equal(await findLastChainNumber(createMemoryStore()), 0)
})

test('an entry of version 1 is read, and FORMAT.md shows it', async () => {
  const kept = await readFile(`${import.meta.dirname}/golden/v1/attestation-chain.json`)
  const format = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  assert.ok(format.includes(`<!-- an entry of the chain of attestations -->\n\`\`\`text\n${kept.toString()}\`\`\`\n`))
  const ledger = { number: 8, sha256: 'a393efa4f85ee23f084d2e1b86f5a588102c58ed293993000b3cf8d0913c9768' }
  const attestation = '9e3f1bb2f6b5a1c4e5a8b40d8f4b7fbe0a3c5c1d2e7f60718293a4b5c6d7e8f9'
  const second = { number: 2, sha256: '4cbe19716b1aed73a67bcd1b0b35b1ad6ffb1eb9a5f04b4efb1d2c7ef1bb70f1' }
  const recorders = [{ recorder: testKey(1).id, attestation, ledger }]
  const again = sealChainEntry({ head: second, time: testEpoch + 1_000, recorders }, testKey(9))
  assert.deepEqual(kept.toString(), again.bytes.toString())
  assert.deepEqual(readChainEntry(kept, 3).entry.recorders, recorders)
})
