// Goal: a recorder believes exactly the documents that control signed for its pod, and never goes back to an older one. Method: one document and
// every way in which another could stand in its place; a golden file, so that what was signed once is read for ever.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  hasReached,
  placeAfter,
  policyDocumentBytesMax,
  positionsIn,
  positionsText,
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
  ['a level that is no name of one', { recording: { ...fields.recording, level: 'results; and more' } }],
  ['a level that is a number', { recording: { ...fields.recording, level: 7 } }],
  ['no level', { recording: { ...fields.recording, level: undefined } }],
  ['a TLS mode that is empty', { databases: [{ ...fields.databases[0]!, tlsMode: '' }] }],
  ['no databases', { databases: undefined }],
  ['positions of some kinds only', { positions: { sessionPolicies: '1', pod: '1' } }],
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
      const there = placeAfter(known, next)
      assert.equal(placeAfter(next, known), there === 'same' ? 'same' : there === 'ahead' ? 'behind' : 'ahead')
    }),
  )
})

const kinds = ['sessionPolicies', 'clusterSessionPolicies', 'namespaces', 'pod'] as const
const positions = fc.record(Object.fromEntries(kinds.map((kind) => [kind, fc.integer({ min: 0, max: 3 }).map(String)])), {
  noNullPrototype: true,
}) as fc.Arbitrary<NonNullable<PolicyDocument['positions']>>

test('a document that knows less of one kind of object is refused, however much more it knows of another and however high its generation', () => {
  const order = fc.record({ generation: fc.integer({ min: 0, max: 9 }).map(String), time: fc.integer({ min: 0, max: 3 }), positions })
  fc.assert(
    fc.property(order, order, (known, next) => {
      const { bytes } = sealPolicyDocument({ ...fields, ...next }, key)
      const steps = kinds.map((kind) => Number(next.positions[kind]) - Number(known.positions[kind]))
      const isBehind = steps.some((step) => step < 0) || (steps.every((step) => step === 0) && next.time < known.time)
      if (isBehind) assert.throws(() => read(bytes, known), { why: 'older' })
      else assert.deepEqual(read(bytes, known).positions, next.positions)
      assert.equal(
        hasReached(next.positions, known.positions),
        steps.every((step) => step >= 0),
      )
    }),
    { numRuns: 300 },
  )
})

test('beside a document without positions, generations count', () => {
  const known = { generation: '10', time: 1, positions: { sessionPolicies: '9', clusterSessionPolicies: '9', namespaces: '9', pod: '9' } }
  assert.equal(placeAfter(known, { generation: '11', time: 0 }), 'ahead')
  assert.equal(placeAfter(known, { generation: '9', time: 2 }), 'behind')
  assert.equal(placeAfter({ generation: '11', time: 0 }, known), 'behind')
})

test('positions are written in one way, and nothing else is read as such', () => {
  fc.assert(fc.property(positions, (each) => assert.deepEqual(positionsIn(positionsText(each)), each)))
  for (const text of ['', '1,2,3', '1,2,3,4,5', '1,2,3,x', '1,2,3,-4', '01,2,3,4', '1, 2,3,4']) assert.equal(positionsIn(text), null, text)
})

test('what a later release adds is no reason to refuse', () => {
  const { bytes } = signDocument({ type: 'policy', version: 1, ...fields, more: true }, key)
  assert.equal(read(bytes).generation, fields.generation)
})

for (const [field, takenAs, changed, expected] of [
  ['recording.level', 'stored', { recording: { ...fields.recording, level: 'verbatim' } }, { ...fields.recording, level: 'stored' }],
  [
    'recording.onFailure',
    'block',
    { recording: { ...fields.recording, onFailure: 'verbatim' } },
    { ...fields.recording, onFailure: 'block' },
  ],
  ['enforcement.mode', 'Relay', { enforcement: { mode: 'verbatim', onOpenPath: 'Report' } }, { mode: 'Relay', onOpenPath: 'Report' }],
  [
    'enforcement.onOpenPath',
    'Block',
    { enforcement: { mode: 'CredentialsOnly', onOpenPath: 'verbatim' } },
    { mode: 'CredentialsOnly', onOpenPath: 'Block' },
  ],
  [
    'tls.mode of orders',
    'verify-full',
    { databases: [{ ...fields.databases[0]!, tlsMode: 'verbatim' }] },
    [{ ...fields.databases[0]!, tlsMode: 'verify-full' }],
  ],
] as const) {
  test(`a value of a later release counts as the strictest, and is told: ${field}`, () => {
    const { bytes } = signDocument({ type: 'policy', version: 1, ...fields, ...changed }, key)
    const [name = ''] = Object.keys(changed)
    assert.deepEqual(read(bytes), {
      ...{ type: 'policy', version: 1, ...fields, [name]: expected },
      unknown: [{ field, value: 'verbatim', takenAs }],
    })
  })
}

test('what a document says of unknown values itself counts for nothing', () => {
  const { bytes } = signDocument({ type: 'policy', version: 1, ...fields, unknown: 'none' }, key)
  assert.equal(Object.hasOwn(read(bytes), 'unknown'), false)
})
