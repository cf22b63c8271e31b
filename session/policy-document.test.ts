// Goal: a recorder believes exactly the documents that control signed for its pod, and never goes back to an older one. Method: one document and
// every way in which another could stand in its place; a golden file, so that what was signed once is read for ever.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  comparePolicyOrder,
  policyDocumentBytesMax,
  readPolicyDocument,
  sealPolicyDocument,
  type PolicyDocument,
  type PolicyOrder,
} from './policy-document.ts'
import { signDocument } from './signed-document.ts'
import { testEpoch, testKey } from './test-recording.ts'

const key = testKey(9)
const pod = { podUid: '6a1f0c1e-0000-4000-8000-000000000001', podNamespace: 'shop', podName: 'shop-7d4-x2k' }
const fields: Omit<PolicyDocument, 'type' | 'version'> = {
  ...pod,
  generation: '90071992547409931',
  time: testEpoch,
  state: 'in-force',
  reason: '',
  policy: { names: ['ClusterSessionPolicy/floor', 'shop/orders'], hash: '0123456789abcdef0123456789abcdef' },
  recording: { level: 'results', onFailure: 'block', spoolBytesMax: 536_870_912, spoolAgeMillisecondsMax: 3_600_000 },
  enforcement: { mode: 'Relay', onOpenPath: 'Block' },
  databases: [{ name: 'orders', hosts: ['db.example.com'], port: 5432, databaseNames: ['orders', 'stock'], tlsMode: 'verify-full' }],
}
const read = (bytes: Buffer, known: PolicyOrder | null = null): PolicyDocument =>
  readPolicyDocument(bytes, { pod, publicKeys: [testKey(3).publicKey, key.publicKey], known })

test('what control signed for this pod is read, by any key that the pod trusts', () => {
  const { bytes } = sealPolicyDocument(fields, key)
  assert.deepEqual(read(bytes), { type: 'policy', version: 1, ...fields })
})

test('the golden document is read, is what is made of its fields, and stands in FORMAT.md', async () => {
  const golden = await readFile(`${import.meta.dirname}/golden/policy-document`)
  assert.deepEqual(sealPolicyDocument(fields, key).bytes, golden)
  assert.deepEqual(read(golden), { type: 'policy', version: 1, ...fields })
  const format = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  assert.ok(format.includes(`<!-- a policy document -->\n\`\`\`text\n${golden.toString('utf8')}\`\`\`\n`))
})

for (const [what, changed] of [
  ['UID', { podUid: '6a1f0c1e-0000-4000-8000-000000000002' }],
  ['name', { podName: 'shop-7d4-other' }],
  ['namespace', { podNamespace: 'shop2' }],
] as const) {
  test(`a document for a pod of another ${what} is refused`, () => {
    const { bytes } = sealPolicyDocument({ ...fields, ...changed }, key)
    assert.throws(() => read(bytes), { code: 'POLICY_DOCUMENT_REFUSED', why: 'pod' })
  })
}

test('a document that a key of somebody else signed is refused', () => {
  assert.throws(() => read(sealPolicyDocument(fields, testKey(8)).bytes), { code: 'POLICY_DOCUMENT_REFUSED', why: 'key' })
  assert.throws(() => readPolicyDocument(sealPolicyDocument(fields, key).bytes, { pod, publicKeys: [], known: null }), { why: 'key' })
})

test('no change of any byte is taken', () => {
  const { bytes } = sealPolicyDocument(fields, key)
  for (let at = 0; at < bytes.length; at++) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 0x01
    assert.throws(() => read(damaged), { code: 'POLICY_DOCUMENT_REFUSED' }, `byte ${at}`)
    assert.throws(() => read(bytes.subarray(0, at)), { code: 'POLICY_DOCUMENT_REFUSED' }, `cut at ${at}`)
  }
  assert.throws(() => read(Buffer.concat([bytes, Buffer.from('\n')])), { why: 'damaged' })
  assert.throws(() => read(Buffer.alloc(policyDocumentBytesMax + 1, 0x20)), { why: 'damaged' })
})

for (const [what, changed] of [
  ['another version', { version: 2 }],
  ['another type', { type: 'manifest' }],
  ['a state that it does not know', { state: 'perhaps' }],
  ['a generation that is no number', { generation: '12a' }],
  ['a generation with a sign', { generation: '-1' }],
  ['a generation with a zero before it', { generation: '01' }],
  ['a hash of another length', { policy: { names: [], hash: 'ab' } }],
  ['a TLS mode that it does not know', { databases: [{ ...fields.databases[0]!, tlsMode: 'prefer' }] }],
  ['no databases', { databases: undefined }],
] as const) {
  test(`a signed document with ${what} is refused`, () => {
    const { bytes } = signDocument({ type: 'policy', version: 1, ...fields, ...changed }, key)
    assert.throws(() => read(bytes), { code: 'POLICY_DOCUMENT_REFUSED', why: 'damaged' })
  })
}

test('of two documents the lower is refused once the higher is known, and the same one never is', () => {
  const order = fc.record({ generation: fc.bigInt({ min: 0n, max: 10n ** 19n }).map(String), time: fc.integer({ min: 0, max: 4 }) })
  const near = fc.tuple(order, fc.integer({ min: -2, max: 2 }), fc.integer({ min: 0, max: 4 })).map(([one, step, time]) => {
    const generation = BigInt(one.generation) + BigInt(step)
    return [one, { generation: String(generation < 0n ? 0n : generation), time }] as const
  })
  fc.assert(
    fc.property(fc.oneof(near, fc.tuple(order, order)), ([known, next]) => {
      const { bytes } = sealPolicyDocument({ ...fields, ...next }, key)
      const isHigher =
        BigInt(next.generation) > BigInt(known.generation) || (next.generation === known.generation && next.time >= known.time)
      if (isHigher) assert.equal(read(bytes, known).generation, next.generation)
      else assert.throws(() => read(bytes, known), { why: 'older' })
      assert.equal(Math.sign(comparePolicyOrder(next, known)) + Math.sign(comparePolicyOrder(known, next)), 0)
    }),
  )
})

test('what a later release adds is no reason to refuse', () => {
  const { bytes } = signDocument({ type: 'policy', version: 1, ...fields, more: true }, key)
  assert.equal(read(bytes).generation, fields.generation)
})
