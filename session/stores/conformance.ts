/** The suite that each kind of store passes. Call `storeConformance` in the store's own test file. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { BadKey } from './keys.ts'
import { probeStore } from './probe.ts'
import type { ObjectInformation, Store } from './store.ts'

/** An empty place for objects; `open` may be called several times and always gives the same objects. */
export type StorePlace = AsyncDisposable & { open(): Promise<Store> }

async function listed(store: Store, prefix: string): Promise<ObjectInformation[]> {
  return Array.fromAsync(store.list(prefix))
}

export function storeConformance(name: string, createPlace: () => Promise<StorePlace>): void {
  const promise = (title: string, run: (store: Store, place: StorePlace) => Promise<void>): void => {
    test(`${name}: ${title}`, async () => {
      await using place = await createPlace()
      await run(await place.open(), place)
    })
  }

  promise('of 20 puts of one key at once exactly one is stored, and it is whole', async (store, place) => {
    const other = await place.open()
    const candidates = Array.from({ length: 20 }, (_, at) => Buffer.alloc(100_000 + at, at))
    const outcomes = await Promise.all(candidates.map((bytes, at) => (at % 2 === 0 ? store : other).putIfAbsent('a/one', bytes)))
    assert.equal(outcomes.filter((outcome) => outcome === 'stored').length, 1)
    assert.deepEqual(await store.get('a/one'), candidates[outcomes.indexOf('stored')])
    assert.deepEqual(await listed(store, ''), [{ key: 'a/one', bytes: candidates[outcomes.indexOf('stored')]!.length }])
  })

  promise('a reader sees all of an object or nothing', async (store) => {
    const bytes = randomBytes(8 * 1024 * 1024)
    let done = false
    const writing = store.putIfAbsent('a/big', bytes).finally(() => (done = true))
    let looks = 0
    while (!done) {
      const head = await store.head('a/big')
      if (head !== null) assert.equal(head.bytes, bytes.length)
      for await (const object of store.list('a/')) assert.equal(object.bytes, bytes.length)
      looks += 1
    }
    assert.equal(await writing, 'stored')
    assert.ok(looks > 0)
  })

  promise('an object of 64 MiB comes back as it was, whole and in ranges', async (store) => {
    const bytes = randomBytes(64 * 1024 * 1024)
    assert.equal(await store.putIfAbsent('a/big', bytes), 'stored')
    assert.ok((await store.get('a/big'))?.equals(bytes))
    assert.ok((await store.range('a/big', 12_345_678, 23_456_789))?.equals(bytes.subarray(12_345_678, 23_456_789)))
  })

  promise('a range ends where the object ends, and is null where there is none', async (store) => {
    await store.putIfAbsent('a/x', Buffer.from('0123456789'))
    assert.equal(String(await store.range('a/x', 2, 5)), '234')
    assert.equal(String(await store.range('a/x', 8, 50)), '89')
    assert.equal(String(await store.range('a/x', 10, 50)), '')
    assert.equal(String(await store.range('a/x', 70, 90)), '')
    assert.equal(await store.range('a/y', 0, 1), null)
  })

  promise('what is not there is null, also where a folder of that name is', async (store) => {
    await store.putIfAbsent('a/b/c', Buffer.from('x'))
    for (const key of ['a', 'a/b', 'a/b/d', 'a/b/c/d', 'z']) {
      assert.equal(await store.get(key), null, key)
      assert.equal(await store.head(key), null, key)
    }
    assert.deepEqual(await store.head('a/b/c'), { key: 'a/b/c', bytes: 1 })
  })

  promise('an empty object is an object', async (store) => {
    assert.equal(await store.putIfAbsent('a/empty', Buffer.alloc(0)), 'stored')
    assert.equal(await store.putIfAbsent('a/empty', Buffer.from('x')), 'exists')
    assert.deepEqual(await store.get('a/empty'), Buffer.alloc(0))
  })

  promise('lists come in the order of the keys, under any prefix', async (store) => {
    const keys = ['a-b', 'a/0', 'a/1/x', 'a/1-y', 'a/10', 'a0', 'B/z', 'b/z'].sort((one, other) =>
      Buffer.compare(Buffer.from(one), Buffer.from(other)),
    )
    for (const key of keys.toReversed()) await store.putIfAbsent(key, Buffer.from(key))
    for (const prefix of ['', 'a', 'a/', 'a/1', 'a/1/', 'b/', 'nothing/', 'B']) {
      const expected = keys.filter((key) => key.startsWith(prefix)).map((key) => ({ key, bytes: key.length }))
      assert.deepEqual(await listed(store, prefix), expected, `prefix '${prefix}'`)
    }
    assert.deepEqual(await store.folders(''), ['B', 'a', 'b'])
    assert.deepEqual(await store.folders('a/'), ['1'])
    assert.deepEqual(await store.folders('nothing/'), [])
  })

  promise('what is deleted is gone, its neighbours stay, and deleting twice is harmless', async (store) => {
    await store.putIfAbsent('a/x', Buffer.from('x'))
    await store.putIfAbsent('a/y', Buffer.from('y'))
    await store.delete('a/x')
    await store.delete('a/x')
    assert.equal(await store.get('a/x'), null)
    assert.deepEqual(await listed(store, ''), [{ key: 'a/y', bytes: 1 }])
    assert.equal(await store.putIfAbsent('a/x', Buffer.from('again')), 'stored')
  })

  promise('objects survive that the store is opened again', async (store, place) => {
    await store.putIfAbsent('a/x', Buffer.from('x'))
    const again = await place.open()
    assert.equal(String(await again.get('a/x')), 'x')
    assert.equal(await again.putIfAbsent('a/x', Buffer.from('y')), 'exists')
  })

  promise('no key reaches outside the store', async (store) => {
    const bad = [
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      '../a',
      'a/../../b',
      'a/.hidden',
      '.tmp/a',
      'a\\b',
      'a\0b',
      'a b',
      'ä',
      'a'.repeat(201),
      'a/'.repeat(500) + 'a',
    ]
    for (const key of bad) {
      await assert.rejects(store.putIfAbsent(key, Buffer.alloc(1)), BadKey, key)
      for (const read of [() => store.get(key), () => store.head(key), () => store.range(key, 0, 1), () => store.delete(key)]) {
        await assert.rejects(async () => read(), BadKey, key)
      }
    }
    for (const prefix of ['..', '../', 'a/../', '/']) {
      await assert.rejects(async () => listed(store, prefix), BadKey, prefix)
      await assert.rejects(async () => store.folders(prefix), BadKey, prefix)
    }
    assert.deepEqual(await listed(store, ''), [])
  })

  promise('the probe finds it fit and leaves nothing behind', async (store) => {
    await probeStore(store)
    assert.deepEqual(await listed(store, ''), [])
  })
}
