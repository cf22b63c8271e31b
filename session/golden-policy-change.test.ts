// Goal: a session whose policy changed stays readable for ever, and FORMAT.md tells the truth of the record. Method: a store that was made once and is kept as
// bytes; the same recording made again must give the same.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { checkPolicyChange, type PolicyChange } from './identity.ts'
import { createMemoryStore, type MemoryStore } from './memory-store.ts'
import { nameOf } from './object-keys.ts'
import { readRecords, readStatements, sessionIds } from './read-session.ts'
import { encodeRecord, recordType } from './records.ts'
import { openSegment } from './segment.ts'
import { parseJson } from './shape.ts'
import { openDirectoryStore } from './stores/directory.ts'
import { createTestRecorder, testEpoch, testKey } from './test-recording.ts'
import { verifyStore } from './verify.ts'

const golden = openDirectoryStore(`${import.meta.dirname}/golden/policy-change/store`)
const change: PolicyChange = {
  changed: testEpoch + 1_020,
  before: null,
  policy: { name: 'shop/orders', hash: '0123456789abcdef0123456789abcdef' },
  generation: '4711',
}

/** The recording that was kept. */
async function recordAgain(): Promise<MemoryStore> {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 2 })
  await recorder.record([{ statements: 1 }, { statements: 1 }], { policyChange: change })
  await recorder.stop()
  return store
}

test('the store with a change of policy is read and verified', async () => {
  assert.deepEqual(await Array.fromAsync(verifyStore(golden, { trust: { recorders: [testKey(2).id] } })), [])
  const [session = ''] = await Array.fromAsync(sessionIds(golden, 'oldest'))
  const records = await Array.fromAsync(readRecords(golden, session))
  assert.deepEqual(
    records.map(({ type }) => type),
    [1, 2, 3, 128, 2, 3, 5],
  )
  assert.deepEqual(checkPolicyChange(parseJson(records[3]!.payload, 'the record'), 'the record'), change)
  const policies = (await Array.fromAsync(readStatements(golden, session))).map(({ policy }) => policy)
  assert.deepEqual(policies, [undefined, change.policy.hash])
})

test('the same recording made again is the same, apart from how zstd compresses', async () => {
  const again = await recordAgain()
  const keys = (await Array.fromAsync(golden.list(''))).map(({ key }) => key)
  assert.deepEqual([...again.objects.keys()].sort(), keys)
  for (const key of keys) {
    const [kept, made] = [(await golden.get(key))!, again.objects.get(key)!]
    const { kind } = nameOf(key)
    if (kind === 'segment') assert.deepEqual(openSegment(made).body, openSegment(kept).body)
    if (kind === 'index' || kind === 'recorder') assert.deepEqual(made, kept, key)
  }
})

test('readers of earlier releases may skip the record', () => {
  assert.ok(recordType.policyChange >= 128)
})

test('the dump in FORMAT.md is the record of the golden store', async () => {
  const [session = ''] = await Array.fromAsync(sessionIds(golden, 'oldest'))
  const records = await Array.fromAsync(readRecords(golden, session))
  const bytes = encodeRecord(records[3]!)
  const rows = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, row) => {
    const part = bytes.subarray(row * 16, row * 16 + 16)
    const hex = [...part].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const at = (row * 16).toString(16).padStart(8, '0')
    return `${at}  ${hex.padEnd(47)}  |${part.toString('latin1').replace(/[^ -~]/g, '.')}|`
  })
  const document = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  const text = rows.join('\n')
  assert.ok(document.includes(`<!-- a policy-change record -->\n\`\`\`text\n${text}\n\`\`\`\n`), `FORMAT.md shows another text:\n${text}`)
})
