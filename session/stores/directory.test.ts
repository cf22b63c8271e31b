import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { link, mkdir, mkdtemp, open, readdir, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { storeConformance } from './conformance.ts'
import { openDirectoryStore } from './directory.ts'
import { openStore, StoreUrlUnknown } from './open-store.ts'
import { probeStore, StoreOverwrites, StoreUnfit } from './probe.ts'
import { StoreUnavailable, type Store } from './store.ts'

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'steno-store-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

storeConformance('directory', async () => {
  const folder = await temporaryFolder()
  return { open: () => openStore(`file://${folder.path}/store`), [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() }
})

test('objects are read-only files, and folders are closed to others', async () => {
  await using folder = await temporaryFolder()
  await openDirectoryStore(folder.path).putIfAbsent('a/b', Buffer.from('x'))
  assert.equal((await stat(join(folder.path, 'a/b'))).mode & 0o777 & ~0o440, 0)
  assert.equal((await stat(join(folder.path, 'a'))).mode & 0o777 & ~0o750, 0)
})

// Goal: each failure of the system has its remedy, leaves no rubbish, and the next put works. Method: make each call fail once.
for (const [code, remedy] of [
  ['ENOSPC', /Free space/],
  ['EACCES', /access/],
  ['EROFS', /Mount/],
  ['EPERM', /hard links/],
  ['EIO', /healthy/],
] as const) {
  for (const call of ['open', 'link', 'mkdir'] as const) {
    test(`a ${code} from ${call} says what to do and is not the end`, async () => {
      await using folder = await temporaryFolder()
      let failures = 1
      const failing = <Call extends (...given: never[]) => unknown>(name: string, real: Call): Call =>
        ((...given: never[]) => {
          if (name === call && failures-- > 0) throw Object.assign(new Error(`${code}: made up`), { code })
          return real(...given)
        }) as Call
      const store = openDirectoryStore(folder.path, {
        open: failing('open', open),
        link: failing('link', link),
        mkdir: failing('mkdir', mkdir),
      })
      await assert.rejects(
        store.putIfAbsent('a/b', Buffer.from('x')),
        (error) => error instanceof StoreUnavailable && remedy.test(error.remedy),
      )
      assert.deepEqual(await Array.fromAsync(store.list('')), [])
      if (call !== 'mkdir') assert.deepEqual(await readdir(join(folder.path, '.tmp')), [])
      assert.equal(await store.putIfAbsent('a/b', Buffer.from('x')), 'stored')
    })
  }
}

test('a full disk in the middle of an object leaves neither object nor temporary file', async () => {
  await using folder = await temporaryFolder()
  const full: typeof open = async (...given) => {
    const handle = await open(...given)
    handle.writeFile = () =>
      handle.write(Buffer.from('half')).then(() => Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' })))
    return handle
  }
  const store = openDirectoryStore(folder.path, { open: full, link, mkdir })
  await assert.rejects(store.putIfAbsent('a', Buffer.from('whole')), StoreUnavailable)
  assert.deepEqual(await readdir(folder.path), ['.tmp'])
  assert.deepEqual(await readdir(join(folder.path, '.tmp')), [])
})

test('what a killed process left is removed, what another writes now is not', async () => {
  await using folder = await temporaryFolder()
  await mkdir(join(folder.path, '.tmp'))
  await writeFile(join(folder.path, '.tmp/1-old'), 'x')
  await writeFile(join(folder.path, '.tmp/1-young'), 'x')
  const hourAgo = Date.now() / 1000 - 3600
  await utimes(join(folder.path, '.tmp/1-old'), hourAgo, hourAgo)
  await openDirectoryStore(folder.path).putIfAbsent('a', Buffer.from('x'))
  assert.deepEqual(await readdir(join(folder.path, '.tmp')), ['1-young'])
})

test('reading makes nothing: neither the folder nor a file in it', async () => {
  await using folder = await temporaryFolder()
  const store = openDirectoryStore(join(folder.path, 'none'))
  assert.equal(await store.get('a'), null)
  assert.deepEqual(await Array.fromAsync(store.list('')), [])
  assert.deepEqual(await readdir(folder.path), [])
})

test('links, pipes and foreign names are listed but never read through', { skip: process.platform === 'win32' }, async () => {
  await using folder = await temporaryFolder()
  await writeFile(join(folder.path, 'outside'), 'secret')
  const root = join(folder.path, 'store')
  await mkdir(root)
  await symlink(join(folder.path, 'outside'), join(root, 'link'))
  execFileSync('mkfifo', [join(root, 'pipe')])
  await writeFile(join(root, 'strange name'), 'x')
  await writeFile(join(root, '.hidden'), 'x')
  const store = openDirectoryStore(root)
  assert.deepEqual(
    (await Array.fromAsync(store.list(''))).map(({ key }) => key),
    ['.hidden', 'link', 'pipe', 'strange name'],
  )
  assert.equal(await store.get('link'), null)
  assert.equal(await store.get('pipe'), null)
})

test('a URL of another kind is refused with what is supported', async () => {
  for (const url of ['ftp://host/x', '/var/lib/steno', 'file://host/x', 'file:relative', '', 'file:///a?b', 'https://user:hunter2@x/']) {
    await assert.rejects(
      openStore(url),
      (error) => error instanceof StoreUrlUnknown && /file:\/\/\//.test(error.remedy) && !/hunter2/.test(String(error)),
      url,
    )
  }
  assert.equal((await openStore('file:///var/lib/a%20b')).url, 'file:///var/lib/a%20b')
})

test('a store that overwrites, or that does not say that it refused, is refused', async () => {
  await using folder = await temporaryFolder()
  const real = openDirectoryStore(folder.path)
  const overwrite = async (key: string, bytes: Buffer): Promise<'stored' | 'exists'> => {
    await real.delete(key)
    return real.putIfAbsent(key, bytes)
  }
  let puts = 0
  const unfit: readonly Store['putIfAbsent'][] = [
    overwrite,
    async (key, bytes) => ((await overwrite(key, bytes)) === 'stored' && puts++ > 0 ? 'exists' : 'stored'),
    async (key, bytes) => ((await real.putIfAbsent(key, bytes)) === 'exists' ? 'stored' : 'stored'),
    async () => 'exists',
    async () => 'stored',
  ]
  const isRefused = (error: unknown): boolean => error instanceof StoreUnfit || error instanceof StoreOverwrites
  for (const putIfAbsent of unfit) await assert.rejects(probeStore({ ...real, putIfAbsent }), isRefused)
  assert.deepEqual(await Array.fromAsync(real.list('')), [])
})
