// Goal: what may pass by itself is tried again and nothing else, and whoever waits for the end is not kept waiting by a long pause.
// Method: errors of each kind, and pauses of an hour that are woken.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObjectConflict } from '../../session/put-once.ts'
import { createMemoryStore } from '../../session/memory-store.ts'
import { ReceiptRefused } from '../../session/stores/receipt.ts'
import { StoreUnavailable } from '../../session/stores/store.ts'
import { createPersist, createRest } from './persist.ts'

for (const [what, error, isRepeated] of [
  ['a store that is away', new StoreUnavailable('away', 'none'), true],
  ['a receipt that is not believed', new ReceiptRefused('of another key'), true],
  ['a full disk', Object.assign(new Error('full'), { code: 'ENOSPC' }), true],
  ["somebody else's object", new ObjectConflict(createMemoryStore(), 'key'), false],
  ['a defect', new TypeError('defect'), false],
] as const) {
  test(`${what} is ${isRepeated ? 'waited for' : 'told'}`, async () => {
    let attempts = 0
    const persist = createPersist({ signal: new AbortController().signal, onFailed: () => undefined, rest: () => Promise.resolve() })
    const outcome = persist(() => (++attempts < 3 ? Promise.reject(error) : Promise.resolve('stored')))
    if (isRepeated) assert.equal(await outcome, 'stored')
    else await assert.rejects(outcome, error)
    assert.equal(attempts, isRepeated ? 3 : 1)
  })
}

test('rests that are under way end when they are woken, and later ones are as short as then asked', { timeout: 120_000 }, async () => {
  let longest = Infinity
  const { rest, wake } = createRest({ longest: () => longest })
  const hour = 3_600_000
  const resting = Promise.all([rest(hour), rest(hour)])
  wake()
  await resting
  longest = 5
  await rest(hour)
})
