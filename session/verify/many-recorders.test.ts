/**
 * Goal: a store is verified in a time that grows with it, also while it grows. Method: recorders that enter what they stored only once the list has come to
 * it, and a count of what the store is asked.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore, type MemoryStore } from '../memory-store.ts'
import { createTestRecorder, testKey } from '../test-recording.ts'
import { verifyStore } from '../verify.ts'

test('beside many recorders at work what is asked of the store grows with their number, not with its square', async () => {
  const askedFor = async (recorders: number): Promise<number> => {
    const store = createMemoryStore()
    const sessionOf = new Map<string, string>()
    for (let seed = 1; seed <= recorders; seed++) {
      const recorder = await createTestRecorder(store, { seed })
      sessionOf.set(testKey(seed).id, await recorder.record([{ statements: 1 }]))
    }
    const listed = new Set<string>()
    /** Each recorder enters what it stored only after the list has come to it. */
    const isEntered = (objectKey: string): boolean => {
      const [, recorder = '', number = ''] = /^ledger\/(\w+)\/(\d+)/.exec(objectKey) ?? []
      return Number(number) <= 1 || listed.has(sessionOf.get(recorder)!)
    }
    let asked = 0
    const working: MemoryStore = {
      ...store,
      get: async (objectKey) => (asked++, isEntered(objectKey) ? store.get(objectKey) : null),
      head: async (objectKey) => (asked++, isEntered(objectKey) ? store.head(objectKey) : null),
      range: async (objectKey, ...between) => (asked++, isEntered(objectKey) ? store.range(objectKey, ...between) : null),
      async *list(prefix) {
        for await (const object of store.list(prefix)) {
          if (!isEntered(object.key)) continue
          for (const session of sessionOf.values()) if (object.key.includes(session)) listed.add(session)
          yield object
        }
      },
    }
    assert.deepEqual(await Array.fromAsync(verifyStore(working, { trust: { recorders: [...sessionOf.keys()] } })), [])
    return asked
  }
  const [few, many] = [await askedFor(20), await askedFor(80)]
  assert.ok(many <= 5 * few, `${few} for 20 recorders, ${many} for 80`)
})
