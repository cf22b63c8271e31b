// Goal: results that went on before the store had them are said once for each time that it happened. Method: a session with such records.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { stretchesOf } from './delivered-unstored.ts'
import { createMemoryStore } from './memory-store.ts'
import { createTestRecorder, testEpoch } from './test-recording.ts'
import { verifyStore } from './verify.ts'

const began = { from: testEpoch + 1_000, to: null, bytes: 10 }
const ended = { from: testEpoch + 1_000, to: testEpoch + 4_000, bytes: 500 }
const killed = { from: testEpoch + 9_000, to: null, bytes: 7 }

test('a stretch is what its last record says, and one without an end has none', () => {
  assert.deepEqual(stretchesOf([began, ended, killed]), [ended, killed])
})

test('verify warns of each stretch once, and the recording is sound', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  const session = await recorder.record([{ statements: 1 }], { deliveredUnstored: [began, ended, killed] })
  const findings = (await Array.fromAsync(verifyStore(store))).filter(({ code }) => code !== 'RECORDER_NOT_PINNED')
  assert.deepEqual(
    findings.map(({ code, severity, session: of }) => [code, severity, of]),
    Array.from({ length: 2 }, () => ['DELIVERED_UNSTORED', 'warning', session]),
  )
  assert.match(findings[0]!.message, /from 2026-11-21T09:00:01\.000Z on results went on .* before the store had them/)
})
