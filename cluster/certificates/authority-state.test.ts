// Goal: a successor signs only what clients can verify, and the Secret that replicas share holds no more keys than it must, and no nonsense.
// Method: the steps of a rotation by a clock that the test sets; Secrets written, read back, and damaged.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activated, nextStep, retiredMax, secretDataOf, stateOfSecretData, type AuthorityState } from './authority-state.ts'
import { firstState, hour, prepared } from './test-certificates.ts'

test('a successor signs only after clients were told of it, and after the overlap', async () => {
  const intervals = { rotateMilliseconds: 100, overlapMilliseconds: 10, validMilliseconds: hour }
  const state = { ...(await firstState()), activeSince: 0 }
  const step = (of: AuthorityState, now: number, isDistributed: boolean) => nextStep(of, { now, isDistributed }, intervals)
  assert.deepEqual(step(state, 99, false), { kind: 'wait', milliseconds: 1 })
  assert.deepEqual(step(state, 100, false), { kind: 'prepare' })
  const next = { ...(await prepared(state)), next: { ...(await prepared(state)).next!, distributedAt: null } }
  assert.equal(step(next, 1_000_000, false).kind, 'wait', 'nobody was told of it')
  assert.deepEqual(step(next, 110, true), { kind: 'note' })
  const told = { ...next, next: { ...next.next, distributedAt: 110 } }
  assert.deepEqual(step(told, 119, true), { kind: 'wait', milliseconds: 1 })
  assert.deepEqual(step(told, 120, true), { kind: 'activate' })
})

test('what a Secret holds is read back as it was, and never has the key of a retired authority', async () => {
  let state = await firstState()
  for (let rotation = 0; rotation < retiredMax + 3; rotation++) {
    const old = state.active.key
    state = activated(await prepared(state), 1_000 * rotation)
    assert.ok(!JSON.stringify(secretDataOf(state)).includes(old.split('\n')[2] ?? '?'))
  }
  assert.deepEqual([state.retired.length, state.crossCerts.length], [retiredMax, retiredMax])
  state = await prepared(state)
  assert.deepEqual(stateOfSecretData(secretDataOf(state)), state)
})

for (const [what, change] of [
  ['a key of another', (data: Record<string, string>, other: AuthorityState) => void (data['tls.key'] = other.active.key)],
  ['no certificate', (data: Record<string, string>) => void (data['tls.crt'] = 'nonsense')],
  ['no state', (data: Record<string, string>) => void delete data['state.json']],
  ['a later version', (data: Record<string, string>) => void (data['state.json'] = '{"version":2,"activeSince":"2026-01-01T00:00:00Z"}')],
] as const) {
  test(`a Secret with ${what} is refused, and no message shows a key`, async () => {
    const state = await firstState()
    const data = secretDataOf(state)
    change(data, await firstState())
    assert.throws(
      () => stateOfSecretData(data),
      (error: Error) => !error.message.includes(state.active.key.split('\n')[1] ?? '?') && error.message.length > 5,
    )
  })
}
