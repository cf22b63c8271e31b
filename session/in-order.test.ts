import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { inOrder } from './in-order.ts'

async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const all: Value[] = []
  for await (const value of values) all.push(value)
  return all
}

// Goal: order and completeness do not hang on who is quicker. Method: any amount of results per item, any number of turns before each.
test('results come in the order of the items, however long each takes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(fc.nat(5))), fc.integer({ min: 1, max: 9 }), async (items, atOnce) => {
      const given = collect(
        inOrder(items.entries(), atOnce, async function* ([at, turns]) {
          for (const [step, count] of turns.entries()) {
            for (let turn = 0; turn < count; turn++) await Promise.resolve()
            yield `${at}.${step}`
          }
        }),
      )
      assert.deepEqual(
        await given,
        items.flatMap((turns, at) => turns.map((_, step) => `${at}.${step}`)),
      )
    }),
  )
})

test('no more items are begun than may be at once, and none goes beyond its first result before its turn', async () => {
  let open = 0
  let most = 0
  const steps = new Map<number, number>()
  const results = inOrder([...Array(20).keys()], 4, async function* (item) {
    most = Math.max(most, ++open)
    for (let step = 1; step <= 3; step++) {
      steps.set(item, step)
      yield item
    }
    open -= 1
  })
  for await (const item of results) for (const [other, step] of steps) assert.ok(other <= item || step === 1)
  assert.equal(most, 4)
})

test('who stops early ends what was begun, and an error comes when it is its turn', async () => {
  const ended: number[] = []
  const work = async function* (item: number): AsyncGenerator<number, void> {
    try {
      if (item === 2) throw new Error('broken')
      yield item
      await setImmediate() // Long enough for the error of another to be taken for one that nobody handles.
      yield item
    } finally {
      ended.push(item)
    }
  }
  for await (const item of inOrder([0, 1, 3, 4], 3, work)) if (item === 0) break
  assert.deepEqual(new Set(ended), new Set([0, 1, 3]))
  const seen: number[] = []
  await assert.rejects(async () => {
    for await (const item of inOrder([0, 1, 2, 3], 4, work)) seen.push(item)
  }, /broken/)
  assert.deepEqual(seen, [0, 0, 1, 1])
})
