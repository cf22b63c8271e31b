// Goal: a pod starts under the highest policy that it took, and under its admission's when what it kept cannot be believed. Method: documents kept in a folder,
// a recorder's double that notes what it is told.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { sealPolicyDocument, type PolicyDocument } from '../../../session/policy-document.ts'
import { signDocument } from '../../../session/signed-document.ts'
import { testKey } from '../../../session/test-recording.ts'
import type { Refusal } from '../../session-refused.ts'
import type { RecorderUpdate } from '../../settings.ts'
import type { PodEnvironment } from '../environment.ts'
import { podSettings } from '../settings.ts'
import { testConfig as config } from '../test-config.ts'
import { keepPolicy } from './kept-policy.ts'
import { openPodPolicy } from './pod-policy.ts'

const key = testKey(4)
const identity = { podUid: 'uid', podNamespace: 'shop', podName: 'agent-0' }
const pod: PodEnvironment = { config, attested: identity, values: new Map() }
const fields: Omit<PolicyDocument, 'type' | 'version'> = {
  ...{ ...identity, generation: '12', time: 1, state: 'in-force', reason: '', databases: [] },
  policy: { names: ['shop/kept'], hash: 'f'.repeat(32) },
  recording: { ...config.recording, onFailure: 'continue' },
  enforcement: config.enforcement,
}

async function createWorld(t: TestContext, kept: Buffer | null) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-policy-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  if (kept !== null) await keepPolicy(folder, kept)
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const settings = podSettings(pod, { storeUrl: 'file:///nowhere', spoolFolder: folder, log })
  const environment = { STENO_CONTROL_PUBLIC_KEY: String(key.publicKey.export({ type: 'spki', format: 'pem' })) }
  const policy = await openPodPolicy({ pod, settings, environment, log })
  const way = { through: <T>(listeners: readonly T[]): T[] => [...listeners], change: () => undefined }
  const told: { updates: RecorderUpdate[]; ways: [string, Refusal | null][] } = { updates: [], ways: [] }
  const recorder = {
    update: (update: RecorderUpdate) => void told.updates.push(update),
    setWay: (name: string, refusal: Refusal | null) => void told.ways.push([name, refusal]),
  }
  const started = policy.startSettings(way)
  policy.follow(recorder, way).stop()
  return { started, told, lines, facts: policy.facts() }
}

test('without a kept policy the admission’s counts', async (t) => {
  const { started, told, lines } = await createWorld(t, null)
  assert.equal(started.surroundings?.policy?.hash, config.policy.hash)
  assert.deepEqual([told.updates, told.ways, lines], [[], [], []])
})

test('a kept policy counts from the start', async (t) => {
  const { started, told } = await createWorld(t, sealPolicyDocument(fields, key).bytes)
  assert.deepEqual(started.surroundings?.policy, { name: 'shop/kept', hash: 'f'.repeat(32) })
  assert.equal(started.onRecordFailure, 'continue')
  assert.equal(told.updates[0]?.generation, '12')
  assert.deepEqual(told.ways, [])
})

test('a policy with a level of a later release is gone by, and not said to be followed', async (t) => {
  const later = { type: 'policy', version: 1, ...fields, recording: { ...fields.recording, level: 'verbatim' } }
  const { started, lines, facts } = await createWorld(t, signDocument(later, key).bytes)
  assert.deepEqual(started.surroundings?.policy, { name: 'shop/kept', hash: 'f'.repeat(32) })
  assert.equal(started.onRecordFailure, 'continue')
  assert.equal(facts.hash, 'f'.repeat(32))
  assert.match(facts.waits.join(), /recording\.level should be verbatim.* stays results/)
  assert.match(lines.join(''), /cannot follow/)
})

test('a kept withdrawal closes the way, and leaves the rest to the admission’s policy', async (t) => {
  const { started, told } = await createWorld(t, sealPolicyDocument({ ...fields, state: 'withdrawn' }, key).bytes)
  assert.equal(started.onRecordFailure, 'block')
  assert.deepEqual(
    told.ways.map(([name, refusal]) => [name, refusal?.code]),
    [['policy-withdrawn', '57P01']],
  )
})

for (const [what, bytes] of [
  ['of another key', sealPolicyDocument(fields, testKey(5)).bytes],
  ['of another pod', sealPolicyDocument({ ...fields, podUid: 'other' }, key).bytes],
  ['cut off', sealPolicyDocument(fields, key).bytes.subarray(0, 100)],
] as const) {
  test(`a kept policy ${what} is told of and not used`, async (t) => {
    const { started, told, lines } = await createWorld(t, bytes)
    assert.equal(started.surroundings?.policy?.hash, config.policy.hash)
    assert.deepEqual(told.updates, [])
    assert.match(lines.join(''), /the policy that was kept is not used/)
  })
}

test('a folder in its place is told of too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-policy-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'file'), '')
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const settings = podSettings(pod, { storeUrl: 'file:///nowhere', spoolFolder: join(folder, 'file'), log })
  await openPodPolicy({ pod, settings, environment: {}, log })
  assert.match(lines.join(''), /not used: ENOTDIR/)
})
