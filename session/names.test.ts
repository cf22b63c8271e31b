import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  attestationChainKey,
  attestationKey,
  exemptionKey,
  ledgerKey,
  lossKey,
  manifestKey,
  markKey,
  nameOf,
  recorderKey,
  segmentKey,
  statementIndexKey,
} from './object-keys.ts'
import { isSessionId, newSessionId, sessionTime } from './session-id.ts'
import { checkKey } from './stores/keys.ts'

const anyTime = fc.integer({ min: 0, max: Date.UTC(2199, 0) })

test('a session id is a UUID version 7 that gives back its time and sorts by it', () => {
  fc.assert(
    fc.property(anyTime, anyTime, (one, other) => {
      const [first, second] = [newSessionId(one), newSessionId(other)]
      assert.match(first, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.ok(isSessionId(first))
      assert.equal(sessionTime(first), one)
      if (one !== other) assert.equal(first < second, one < other)
    }),
  )
  assert.equal(new Set(Array.from({ length: 1000 }, () => newSessionId(1))).size, 1000)
})

test('what is no session id is not taken for one', () => {
  const id = newSessionId(Date.UTC(2026, 10, 21))
  for (const text of ['', id.toUpperCase(), `${id}0`, id.slice(1), id.replace('-7', '-4'), 'ffffffff-ffff-7fff-8fff-ffffffffffff'])
    assert.equal(isSessionId(text), false, text)
})

test('every name that is given is read back, and every store takes it', () => {
  const recorder = 'ab'.repeat(16)
  fc.assert(
    fc.property(anyTime, fc.integer({ min: 1, max: 10_000_000 }), (time, number) => {
      const session = newSessionId(time)
      const names = [
        [segmentKey(session, number), { kind: 'segment', session, number }],
        [statementIndexKey(session, number), { kind: 'index', session, number }],
        [manifestKey(session), { kind: 'manifest', session }],
        [ledgerKey(recorder, number), { kind: 'ledger', recorder, number }],
        [recorderKey(recorder), { kind: 'recorder', recorder }],
        [attestationKey(recorder), { kind: 'attestation', recorder }],
        [attestationChainKey(number), { kind: 'chain', number }],
        [exemptionKey(recorder), { kind: 'exemption', id: recorder }],
        [lossKey(recorder), { kind: 'loss', recorder }],
        [markKey(recorder, number), { kind: 'mark', recorder, number }],
      ] as const
      for (const [key, name] of names) {
        checkKey(key)
        assert.deepEqual(nameOf(key), name)
      }
    }),
  )
  assert.equal(
    segmentKey('019c0000-0000-7000-8000-000000000000', 1),
    'sessions/2026-01-27/019c0000-0000-7000-8000-000000000000/segment-000001.steno',
  )
})

test('any other spelling is foreign', () => {
  const key = segmentKey(newSessionId(Date.UTC(2026, 10, 21)), 1)
  for (const other of [
    `/${key}`,
    `${key}/`,
    key.replace('000001', '1'),
    key.replace('000001', '0000001'),
    key.replace('000001', '000000'),
    key.replace('2026-11-21', '2026-11-22'),
    key.toUpperCase(),
    `${key}.bak`,
  ]) {
    assert.equal(nameOf(other).kind, 'foreign', other)
  }
  fc.assert(fc.property(fc.string(), (text) => ['foreign', 'probe'].includes(nameOf(text).kind)))
})
