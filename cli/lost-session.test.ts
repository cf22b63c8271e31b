// Goal: a session of which nothing was stored before its pod was lost is found by what people type, shown with what is known, and verified.
// Method: a store with one session, and the statement of loss of another recorder that had one of its own.
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { sealAttestation } from '../session/attestation.ts'
import { sealHighWaterMark } from '../session/high-water-mark.ts'
import { createMemoryStore } from '../session/memory-store.ts'
import { attestationKey, lossKey } from '../session/object-keys.ts'
import { findSession, SessionAmbiguous, SessionNotFound } from '../session/read-session.ts'
import { sealRecorderLoss } from '../session/recorder-loss.ts'
import { createTestRecorder, testEpoch, testKey, testSessionId } from '../session/test-recording.ts'
import { verifyStore } from '../session/verify.ts'
import { show, StatementNotFound } from './show.ts'

const store = createMemoryStore()
const control = testKey(9)
const recorder = testKey(2).id
const lost = testSessionId(testEpoch + 5_000, 77)
let stored = ''

before(async () => {
  stored = await (await createTestRecorder(store, { seed: 1 })).record([{ statements: 1 }])
  const amount = { records: 9, bytes: 900, frontendBytes: 90, backendBytes: 500, statements: 4 }
  const claimed = { session: lost, opened: testEpoch + 5_000, ...amount, lastTime: testEpoch + 6_000, closed: false }
  const rest = { sessions: 0, records: 0, bytes: 0, frontendBytes: 0, backendBytes: 0, statements: 0 }
  const counts = { process: 1, number: 1, time: testEpoch + 6_000, waitingBytes: 1, earlierBytes: 0 }
  const mark = sealHighWaterMark({ ...counts, sessions: [claimed], rest }, testKey(2)).toString()
  const seen = { session: lost, opened: claimed.opened, claimed, stored: { segments: 0, records: 0, bytes: 0, lastTime: null } }
  const fields = { recorder, time: testEpoch + 60_000, why: 'pod-deleted', podUid: 'uid', earlierMarks: [], ledger: null } as const
  store.objects.set(lossKey(recorder), sealRecorderLoss({ ...fields, mark, sessions: [seen] }, control))
  const pod = { podUid: 'uid', podName: 'agent-0', podNamespace: 'shop', serviceAccount: 'agent', nodeName: 'n1', owner: null, image: null }
  store.objects.set(attestationKey(recorder), sealAttestation({ recorder, time: testEpoch, pod }, control).bytes)
})

test('it is found by its id and by the beginning of it, as one that is stored', async () => {
  assert.equal(await findSession(store, lost), lost)
  assert.equal(await findSession(store, lost.slice(0, 30)), lost.slice(0, 30) === stored.slice(0, 30) ? stored : lost)
  const shared = lost.split('').findIndex((letter, at) => letter !== stored[at])
  assert.equal(await findSession(store, lost.slice(0, shared + 1)), lost)
  await assert.rejects(findSession(store, lost.slice(0, shared)), SessionAmbiguous)
  await assert.rejects(findSession(store, 'ffffffff'), SessionNotFound)
  assert.equal(await findSession(store, 'last'), stored, '`last` is the newest that can be read')
})

test('show tells what is known of it, for people and as JSON, and that it has no statement to show', async () => {
  assert.deepEqual(await Array.fromAsync(show(store, lost, { null: '' })), [
    `session    ${lost}`,
    'when       2026-11-21 09:00:05.000 UTC, last heard of 2026-11-21 09:00:06.000 UTC',
    `recorder   ${recorder}`,
    'pod        shop/agent-0, ServiceAccount agent, node n1, UID uid',
    'ended      lost with its recorder (its pod was deleted): 9 records (900 bytes) and 4 statements are missing',
    '           stated by control at 2026-11-21 09:01:00.000 UTC. Nothing of it was stored: who spoke, and what, is not known',
  ])
  const [document, ...others] = await Array.fromAsync(show(store, lost, { null: '', json: true }))
  assert.equal(others.length, 0)
  const { type, identity, session, lost: part } = JSON.parse(document!) as Record<string, unknown>
  assert.deepEqual([type, identity, session], ['session', null, lost])
  assert.equal((part as { missing: { statements: number } }).missing.statements, 4)
  await assert.rejects(Array.fromAsync(show(store, lost, { null: '', statement: 1 })), StatementNotFound)
})

test('verify of it alone states the loss with its size', async () => {
  const findings = await Array.fromAsync(verifyStore(store, { sessions: [lost], trust: { attesters: [control.publicKey] } }))
  const [found] = findings.filter(({ code }) => code === 'SESSION_LOST')
  assert.deepEqual([found?.session, found?.missing?.records], [lost, 9])
})
