/**
 * Goal: verifying far away costs time once per object, and nothing that lies in a store makes reading ahead give other bytes, or hold much. Method: a store
 * that counts what it is asked, and one that lies.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMemoryStore, type MemoryStore } from '../memory-store.ts'
import { createReadAhead } from './read-ahead.ts'

const key = (number: number): string => `sessions/x/segment-${String(number).padStart(6, '0')}`

function filled(count: number, bytes: number): MemoryStore {
  return createMemoryStore(new Map(Array.from({ length: count }, (_, index) => [key(index), Buffer.alloc(bytes, index)])))
}

/** Counts what is asked for, and how much of it at once. */
function counting(store: MemoryStore) {
  const counts = { heads: 0, gets: 0, ranges: 0, atOnce: 0, atOnceMax: 0 }
  const slow = async <Value>(value: Promise<Value>): Promise<Value> => {
    counts.atOnceMax = Math.max(counts.atOnceMax, ++counts.atOnce)
    await sleep(2)
    counts.atOnce--
    return value
  }
  const counted: MemoryStore = {
    ...store,
    head: (name) => (counts.heads++, slow(store.head(name))),
    get: (name) => (counts.gets++, slow(store.get(name))),
    range: (name, start, end) => (counts.ranges++, slow(store.range(name, start, end))),
  }
  return { store: counted, counts }
}

test('what is listed is read once, several at a time, whatever is asked of it then', async () => {
  const { store, counts } = counting(filled(100, 10))
  const ahead = createReadAhead(store)
  for await (const object of ahead.through(ahead.store.list(''))) {
    const expected = store.objects.get(object.key)
    assert.deepEqual(await ahead.store.head(object.key), { key: object.key, bytes: 10 })
    assert.deepEqual(await ahead.store.get(object.key), expected)
    assert.deepEqual(await ahead.store.range(object.key, 2, 5), expected?.subarray(2, 5))
    assert.equal((await ahead.store.range(object.key, 8, 50))?.length, 2, 'shorter at its end')
    ahead.forget(object.key)
  }
  const { atOnceMax, ...asked } = counts
  assert.deepEqual(asked, { heads: 0, gets: 0, ranges: 100, atOnce: 0 })
  assert.ok(atOnceMax > 1 && atOnceMax <= 3, `${atOnceMax} at once`)
})

test('an object that is gone, fails, or has another length than it was listed with is read again when it is asked for', async () => {
  const store = filled(3, 10)
  const lying: MemoryStore = {
    ...store,
    async *list(prefix) {
      for await (const object of store.list(prefix)) yield object.key === key(0) ? { ...object, bytes: 4 } : object
    },
    range: (name, start, end) => (name === key(1) ? Promise.reject(new Error('later')) : store.range(name, start, end)),
  }
  const ahead = createReadAhead(lying)
  const listed = await Array.fromAsync(ahead.through(ahead.store.list('')))
  assert.equal(listed.length, 3)
  for (const number of [0, 1, 2]) assert.equal((await ahead.store.get(key(number)))?.length, 10)
  assert.equal((await ahead.store.head(key(0)))?.bytes, 10, 'as long as it is')
  await assert.rejects(ahead.store.range(key(1), 0, 5), /later/)
  assert.equal(await ahead.store.get(key(7)), null)
})

test('large objects and more than eight mebibytes are not held', async () => {
  for (const [count, bytes, heldMax] of [
    [4, 300 * 1024, 0],
    [200, 200 * 1024, 40],
  ] as const) {
    const { store, counts } = counting(filled(count, bytes))
    const ahead = createReadAhead(store)
    const listed = await Array.fromAsync(ahead.through(store.list('')))
    assert.equal(counts.ranges, heldMax, 'read ahead')
    for (const object of listed) ahead.forget(object.key)
    await Array.fromAsync(ahead.through(store.list('')))
    assert.equal(counts.ranges, 2 * heldMax, 'what was forgotten makes room')
  }
})
