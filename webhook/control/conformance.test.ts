// Goal: a store behind control is a store. Method: the suite of all stores, over real TLS, with a caller who may use any key; and reading
// what was written once more through the auditor's door.
import assert from 'node:assert/strict'
import { rmdir } from 'node:fs/promises'
import http from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { storeConformance } from '../../session/stores/conformance.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import type { Access } from './access.ts'
import { startTestControl, type TestControl, type TestControlOptions } from './test-control.ts'

const everything: Access = {
  mayRead: () => Promise.resolve(true),
  checkList: () => Promise.resolve(),
  checkPutter: () => Promise.resolve(),
  checkPut: () => Promise.resolve(),
  stored: () => Promise.resolve(),
  checkDelete: () => Promise.resolve(),
  deleted: () => undefined,
}

/** With the proof that control makes at start over, and its empty folder gone, before anybody looks for what is left behind. */
async function startedControl(seams: TestControlOptions['seams'] = {}): Promise<TestControl> {
  let behind: Store | null = null
  const over = (directory: Store): Store => new Proxy(directory, { get: (target, name: keyof Store) => (behind ?? target)[name] })
  const control = await startTestControl({ seams, over })
  await control.server.lookAtStores()
  await rmdir(join(control.folder, 'store/probe'))
  behind = openDirectoryStore(join(control.folder, 'store')) // The one before believes that its folders are there.
  return control
}

storeConformance('control', async () => {
  const control = await startedControl({ access: () => everything })
  return { open: () => control.client('any'), [Symbol.asyncDispose]: () => control[Symbol.asyncDispose]() }
})

test('an auditor reads what is stored, whole, in part and in lists, and changes nothing', async () => {
  await using control = await startedControl()
  await control.directory.putIfAbsent('a/x', Buffer.from('0123456789'))
  await control.directory.putIfAbsent('b/y', Buffer.alloc(3_000_000, 7))
  const reader = control.reader()
  assert.equal(String(await reader.get('a/x')), '0123456789')
  assert.ok((await reader.get('b/y'))?.equals(Buffer.alloc(3_000_000, 7)))
  assert.equal(String(await reader.range('a/x', 2, 5)), '234')
  assert.deepEqual(await Array.fromAsync(reader.list('a')), [{ key: 'a/x', bytes: 10 }])
  assert.deepEqual(await reader.folders(''), ['a', 'b'])
  assert.equal(await reader.get('a/none'), null)
  await assert.rejects(reader.putIfAbsent('a/z', Buffer.from('z')), /no key is known/)
  await assert.rejects(reader.delete('a/x'), /deletes nothing/)
  const origin = `http://127.0.0.1:${control.server.readerPort}`
  const put = await fetch(`${origin}/v1/stores/default/objects/a/z`, { method: 'PUT', body: 'z' })
  assert.equal(put.status, 405)
  const listed = (await (await fetch(`${origin}/v1/stores`)).json()) as { stores: { name: string }[] }
  assert.deepEqual(
    listed.stores.map(({ name }) => name),
    ['default'],
  )
})

test('a page of another origin, or under another name, reads nothing', async () => {
  await using control = await startTestControl()
  const url = `http://127.0.0.1:${control.server.readerPort}/v1/stores`
  assert.equal((await fetch(url)).status, 200)
  assert.equal((await fetch(url, { headers: { origin: 'http://evil.example' } })).status, 404)
  const status = await new Promise((resolve, reject) => {
    http.get(url, { headers: { host: 'evil.example' } }, (answer) => resolve(answer.resume().statusCode)).on('error', reject)
  })
  assert.equal(status, 404)
})
