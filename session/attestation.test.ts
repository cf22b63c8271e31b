// Goal: an attestation is believed only whole, and `verify` neither stumbles over one nor overlooks a changed one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findAttestation, readAttestation, sealAttestation, type AttestedPod } from './attestation.ts'
import { createMemoryStore } from './memory-store.ts'
import { attestationChainKey, attestationKey } from './object-keys.ts'
import { BadDocument } from './shape.ts'
import { recorderIdOf } from './recorder-key.ts'
import { chainTestRecorders, createTestRecorder, testEpoch, testIdentity, testKey, testSessionId } from './test-recording.ts'
import { createAttestations } from './verify/attestations.ts'
import { verifyStore, type Finding, type Trust } from './verify.ts'

const pod: AttestedPod = {
  podUid: '6a1f0c1e-0000-4000-8000-000000000001',
  podName: 'shop-7d4-x2k',
  podNamespace: 'shop',
  serviceAccount: 'agent',
  nodeName: 'node-1',
  owner: 'ReplicaSet/shop-7d4',
  image: null,
}
const recorder = testKey(1).id
const sealed = sealAttestation({ recorder, time: testEpoch, pod }, testKey(9))

test('an attestation is read back with the key that signed it', () => {
  const { attestation, publicKey } = readAttestation(sealed.bytes, recorder)
  assert.deepEqual(attestation.pod, pod)
  assert.ok(publicKey.equals(testKey(9).publicKey))
})

test('an attestation with any byte changed, or of another recorder, is refused', () => {
  for (let at = 0; at < sealed.bytes.length; at++) {
    const changed = Buffer.from(sealed.bytes)
    changed[at]! ^= 1
    assert.throws(() => readAttestation(changed, recorder), BadDocument, `byte ${at}`)
  }
  assert.throws(() => readAttestation(sealed.bytes, testKey(2).id), BadDocument)
})

const attester = recorderIdOf(testKey(9).publicKey)

test('verify takes an attestation for what it is, and names one that was changed', async () => {
  const store = createMemoryStore()
  await (await createTestRecorder(store, { seed: 1 })).record([{ statements: 1 }])
  const findings = async (): Promise<string[]> => (await Array.fromAsync(verifyStore(store))).map(({ code, key }) => `${code} ${key}`)
  const before = await findings()
  store.objects.set(attestationKey(recorder), sealed.bytes)
  assert.deepEqual(await findings(), [`ATTESTER_NOT_PINNED ${attestationKey(recorder)}`, `ATTESTED_BEFORE_CHAIN ${attestationChainKey(1)}`])
  assert.deepEqual((await findAttestation(store, recorder))?.attestation.pod, pod)
  store.objects.set(attestationKey(recorder), sealAttestation({ recorder: testKey(2).id, time: testEpoch, pod }, testKey(9)).bytes)
  assert.deepEqual(await findings(), [`ATTESTATION_DAMAGED ${attestationKey(recorder)}`, ...before])
  store.objects.set('attested/other', Buffer.from('x'))
  assert.ok((await findings()).includes('FOREIGN_OBJECT attested/other'))
})

const verified = async (store: Parameters<typeof verifyStore>[0], trust: Trust): Promise<Finding[]> =>
  Array.fromAsync(verifyStore(store, { trust }))

// Goal: what is in the store cannot vouch for itself; one key named from outside vouches for all recorders. Method: three recorders, two of
// them attested by one key, the third by another or by nobody.
test('recorders that a trusted key attested are trusted, and no others', async () => {
  const store = createMemoryStore()
  for (const seed of [1, 2, 3]) await (await createTestRecorder(store, { seed })).record([{ statements: 1 }])
  const attest = (seed: number, by: number): void => {
    const { id } = testKey(seed)
    store.objects.set(attestationKey(id), sealAttestation({ recorder: id, time: testEpoch, pod }, testKey(by)).bytes)
  }
  const codes = async (trust: Trust): Promise<string[]> => (await verified(store, trust)).map(({ code }) => code)
  attest(1, 9)
  attest(2, 9)
  const head = await chainTestRecorders(store, [testKey(1).id, testKey(2).id])
  const control: Trust = { attesters: [testKey(9).publicKey] }
  assert.deepEqual(await codes({}), ['ATTESTER_NOT_PINNED', 'RECORDER_NOT_PINNED'], 'one line for the key, however many it attests')
  assert.deepEqual(await codes(control), ['RECORDER_UNTRUSTED'], 'nobody attested the third')
  assert.deepEqual(await codes({ ...control, recorders: [testKey(3).id] }), [])
  attest(3, 8)
  await chainTestRecorders(store, [testKey(3).id], { head })
  const [untrusted] = await verified(store, control)
  assert.equal(untrusted?.code, 'RECORDER_UNTRUSTED')
  assert.ok(untrusted.message.includes(recorderIdOf(testKey(8).publicKey)), untrusted.message)
  assert.deepEqual(await codes({ attesters: [testKey(9).publicKey, testKey(8).publicKey] }), [])
  assert.ok((await verified(store, {}))[0]?.message.includes(attester))
})

test('a whole store in which a session names another pod than its recorder’s is not sound', async () => {
  const store = createMemoryStore()
  const own = await createTestRecorder(store, { seed: 1 })
  const told = { podUid: pod.podUid, podNamespace: 'shop' }
  await own.record([{ statements: 1 }, { statements: 1 }], { attested: { ...told, podName: pod.podName } })
  store.objects.set(attestationKey(recorder), sealed.bytes)
  await chainTestRecorders(store, [recorder])
  const trust: Trust = { attesters: [testKey(9).publicKey] }
  assert.deepEqual(await verified(store, trust), [])
  const session = await own.record([{ statements: 1 }], { attested: { ...told, podName: 'admin-0' } })
  const found = await verified(store, trust)
  assert.deepEqual(
    found.map(({ code, session: of }) => [code, of]),
    [['ATTESTATION_CONTRADICTED', session]],
  )
})

test('how many recorders are trusted by what was attested is counted', async () => {
  const store = createMemoryStore()
  await (await createTestRecorder(store, { seed: 1 })).record([{ statements: 1 }])
  store.objects.set(attestationKey(recorder), sealed.bytes)
  let attested = -1
  const onProgress = ({ attestedRecorders }: { readonly attestedRecorders: number }): void => void (attested = attestedRecorders)
  await Array.fromAsync(verifyStore(store, { onProgress }))
  assert.equal(attested, 0)
  await Array.fromAsync(verifyStore(store, { onProgress, trust: { attesters: [testKey(9).publicKey] } }))
  assert.equal(attested, 1)
})

// A session of the test recorder attests nothing by itself, so its identity is given facts of a pod here.
for (const [fact, value] of [
  ['podUid', '6a1f0c1e-0000-4000-8000-000000000002'],
  ['podName', 'admin-0'],
  ['podNamespace', 'payments'],
  ['serviceAccount', 'admin'],
] as const) {
  test(`a session that claims another ${fact} than was attested of its recorder is named`, async () => {
    const store = createMemoryStore()
    store.objects.set(attestationKey(recorder), sealed.bytes)
    const own = { podUid: pod.podUid, podName: pod.podName, podNamespace: 'shop', serviceAccount: 'agent' }
    const [found, ...others] = await compared(store, { ...own, [fact]: value })
    assert.deepEqual([found?.code, others], ['ATTESTATION_CONTRADICTED', []])
    assert.match(found!.message, new RegExp(fact))
    assert.ok(!found!.message.includes(value), 'findings name no content')
  })
}

test('a session that says what was attested, or nothing, is in agreement', async () => {
  const store = createMemoryStore()
  store.objects.set(attestationKey(recorder), sealed.bytes)
  assert.deepEqual(await compared(store, { podUid: pod.podUid, podName: pod.podName, containerName: 'agent' }), [])
  assert.deepEqual(await compared(store, {}), [])
})

async function compared(store: Parameters<typeof createAttestations>[0], attested: Readonly<Record<string, string>>): Promise<Finding[]> {
  const attestations = createAttestations(store, [])
  assert.deepEqual(await Array.fromAsync(attestations.of(recorder)), [])
  return [...attestations.compare(recorder, { ...testIdentity(testSessionId(testEpoch, 1), testEpoch, recorder), attested })]
}
