// Goal: a store that cannot be proven says why the proof failed, not what failed behind it. Method: stores of which one answer is another.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../memory-store.ts'
import { probeStore, StoreOverwrites } from './probe.ts'
import { StoreUnavailable, type Store } from './store.ts'

const away = (what: string) => (): Promise<never> => Promise.reject(new StoreUnavailable(`cannot ${what}`, 'Wait.'))

test('a store that keeps the first object is proven, and nothing is left in it', async () => {
  const store = createMemoryStore()
  await probeStore(store)
  assert.equal(store.objects.size, 0)
})

test('a store that is away is told by what was tried first', async () => {
  const store: Store = { ...createMemoryStore(), putIfAbsent: away('put'), delete: away('delete') }
  await assert.rejects(probeStore(store), /cannot put/)
})

test('one that overwrites is told as that, also when the proof cannot be removed', async () => {
  const memory = createMemoryStore()
  const store: Store = {
    ...memory,
    putIfAbsent(key, bytes) {
      memory.objects.set(key, bytes)
      return Promise.resolve('stored')
    },
    delete: away('delete'),
  }
  await assert.rejects(probeStore(store), StoreOverwrites)
})

test('one that proves well and cannot remove the proof says so', async () => {
  await assert.rejects(probeStore({ ...createMemoryStore(), delete: away('delete') }), /cannot delete/)
})
