// What can be wrong with spool, store and recordings. Titles are the first column of docs/failures.md.
import assert from 'node:assert/strict'
import { writeSync } from 'node:fs'
import { chmod, cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { createLog } from '../../base/log.ts'
import { startProxy } from '../../sidecar/main.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, errorIn, firstColumn } from '../nothing-lost/remembering-client.ts'
import { testSettings } from '../nothing-lost/test-settings.ts'
import { startProxyProcess, steno, type RunningProxy, type StenoResult } from '../support/proxy.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
})
after(() => database.stop())

async function folderFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-failures-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A store with one session of one statement. */
async function recordOne(proxy: RunningProxy, name: string): Promise<void> {
  const client = await connectRemembering(proxy.port, name)
  await client.query(`select '${name}'`)
  await client.end()
}

function startAgain(proxy: RunningProxy, args: readonly string[]): Promise<StenoResult> {
  return steno(['proxy', '--listen', '127.0.0.1:0', '--store', proxy.storeUrl, '--spool', proxy.spoolFolder, ...args], {
    environment: { STENO_UPSTREAM: database.url },
  })
}

async function segmentsOf(storeFolder: string): Promise<string[]> {
  const names = await readdir(storeFolder, { recursive: true })
  return names.filter((name) => name.endsWith('.steno')).map((name) => join(storeFolder, name))
}

test('the disk of the spool is full', async (t) => {
  const folder = await folderFor(t)
  let isFull = false
  const spoolWrite = ((...call: Parameters<typeof writeSync>) => {
    if (isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    return writeSync(...call)
  }) as typeof writeSync
  const settings = { ...testSettings(database.url, folder), recordWaitMilliseconds: 200 }
  const proxy = await startProxy(settings, createLog({ level: 'silent' }), { spoolWrite })
  const client = await connectRemembering(proxy.port, 'full')
  isFull = true
  const fields = errorIn(await client.query("select 'refused'"))
  assert.deepEqual([fields?.get('S'), fields?.get('C')], ['ERROR', '53100'])
  isFull = false
  assert.deepEqual(firstColumn(await client.query("select 'passes'")), ['passes'])
  await client.end()
  await proxy.stop()
  await assertVerified(join(folder, 'store'), join(folder, 'spool'))
  const { statements } = (await readRecorded(join(folder, 'store'))).get('full')!
  assert.deepEqual(
    statements.map(({ sql }) => sql),
    ["select 'passes'"],
  )
})

test('the store refuses while the proxy runs', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  const client = await connectRemembering(proxy.port, 'store-away')
  await rename(proxy.storeFolder, `${proxy.storeFolder}-away`)
  await writeFile(proxy.storeFolder, '') // A file in the folder's place refuses everything, to root too.
  assert.deepEqual(firstColumn(await client.query("select 'passes'")), ['passes'])
  while (!proxy.log().includes('STORE_UNAVAILABLE')) await client.query("select 'passes'")
  await rm(proxy.storeFolder)
  await rename(`${proxy.storeFolder}-away`, proxy.storeFolder)
  await client.end()
  assert.equal(await proxy.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  assert.ok((await readRecorded(proxy.storeFolder)).get('store-away')!.backend.equals(client.received()))
})

test('the store cannot be used when the proxy starts', async (t) => {
  const folder = await folderFor(t)
  await writeFile(join(folder, 'store'), '')
  const { status, stderr } = await steno(
    ['proxy', '--listen', '127.0.0.1:0', '--store', pathToFileURL(join(folder, 'store')).href, '--spool', join(folder, 'spool')],
    { environment: { STENO_UPSTREAM: database.url } },
  )
  assert.equal(status, 1)
  assert.match(stderr, /STORE_UNAVAILABLE/)
})

test('a recording is damaged', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  await recordOne(proxy, 'one')
  await recordOne(proxy, 'two')
  assert.equal(await proxy.stop(), 0)
  const recorded = await readRecorded(proxy.storeFolder)
  const [one, two] = ['one', 'two'].map((name) => recorded.get(name)!.session)
  const segment = (await segmentsOf(proxy.storeFolder)).find((path) => path.includes(one!))!
  const bytes = await readFile(segment)
  bytes[bytes.length - 20]! ^= 1
  await chmod(segment, 0o640)
  await writeFile(segment, bytes)
  const verified = await steno(['verify', '--all', '--store', proxy.storeUrl])
  assert.equal(verified.status, 1)
  assert.match(verified.stdout, /OBJECT_DIGEST|SEGMENT_DAMAGED/)
  assert.ok(verified.stdout.includes(one!))
  const shown = await steno(['show', one!, '--statement', '1', '--store', proxy.storeUrl])
  assert.equal(shown.status, 1)
  assert.match(shown.stderr, /RECORDING_DAMAGED/)
  assert.equal((await steno(['show', two!, '--statement', '1', '--store', proxy.storeUrl])).status, 0, 'the others can be read')
})

test('a recording of another recorder lies in the store', async (t) => {
  await using own = await startProxyProcess({ upstream: database.url })
  await using other = await startProxyProcess({ upstream: database.url })
  await recordOne(own, 'own')
  await recordOne(other, 'foreign')
  assert.deepEqual([await own.stop(), await other.stop()], [0, 0])
  const without = await folderFor(t)
  await cp(own.storeFolder, without, { recursive: true })
  await cp(join(other.storeFolder, 'sessions'), join(without, 'sessions'), { recursive: true })
  const unnamed = await steno(['verify', '--all', '--store', pathToFileURL(without).href])
  assert.equal(unnamed.status, 1)
  assert.match(unnamed.stdout, /OBJECT_NOT_IN_LEDGER/)
  // With its ledger too it is sound in itself, and still not of a recorder that anybody trusts.
  await cp(other.storeFolder, own.storeFolder, { recursive: true })
  const trusted = await steno(['verify', '--all', '--store', own.storeUrl, '--spool', own.spoolFolder])
  assert.equal(trusted.status, 1)
  assert.match(trusted.stdout, /RECORDER_UNTRUSTED/)
})

test('a spool is used with another store', async (t) => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  await recordOne(proxy, 'of-the-first-store')
  assert.equal(await proxy.stop(), 0)
  const other = await folderFor(t)
  const refused = await startAgain(proxy, ['--store', pathToFileURL(other).href])
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /SPOOL_OF_OTHER_STORE/)
  assert.deepEqual(await segmentsOf(other), [])
  const moved = `${proxy.folder}/moved`
  await rename(proxy.storeFolder, moved)
  const args = ['--store', pathToFileURL(moved).href]
  const again = await startProxyProcess({ upstream: database.url, folder: proxy.folder, arguments: args })
  await recordOne(again, 'of-the-same-store')
  assert.equal(await again.stop(), 0)
  await assertVerified(moved, proxy.spoolFolder)
})

test('a stored part of a session is damaged while it is recorded', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  const client = await connectRemembering(proxy.port, 'damaged')
  await client.query("select 'passed'")
  while ((await segmentsOf(proxy.storeFolder)).length === 0) await client.query("select 'passed'")
  await proxy.kill()
  await client.ended
  const segment = (await segmentsOf(proxy.storeFolder)).sort()[0]!
  const bytes = await readFile(segment)
  bytes[bytes.length - 20]! ^= 1
  await chmod(segment, 0o640)
  await writeFile(segment, bytes)
  const next = await startProxyProcess({ upstream: database.url, folder: proxy.folder })
  await recordOne(next, 'after-it')
  assert.equal(await next.stop(), 0)
  assert.match(next.log(), /"level":"error".*set aside.*|set aside.*"level":"error"/)
  assert.match(next.log(), /BAD_SEGMENT/)
  assert.equal((await readdir(proxy.spoolFolder)).filter((name) => name.startsWith('set-aside-')).length, 1)
  const listed = await steno(['sessions', '--store', proxy.storeUrl])
  assert.match(listed.stdout, /after-it/)
})

test('the proxy is stopped while the store refuses', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  const client = await connectRemembering(proxy.port, 'waits')
  await rename(proxy.storeFolder, `${proxy.storeFolder}-away`)
  await writeFile(proxy.storeFolder, '')
  await client.query("select 'waits'")
  while (!proxy.log().includes('STORE_UNAVAILABLE')) await client.query("select 'waits'")
  await client.end()
  const stopped = proxy.stop()
  // One that a wrapper passed on, in the same moment: of two of a kind the system may deliver one.
  process.kill(proxy.pid, 'SIGINT')
  while (!proxy.log().includes('"stopping"')) await new Promise((resolve) => setTimeout(resolve, 10))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  assert.doesNotMatch(proxy.log(), /not everything is stored/)
  const again = performance.now()
  process.kill(proxy.pid, 'SIGTERM')
  assert.equal(await stopped, 1)
  assert.ok(performance.now() - again < 15_000, 'the second signal does not wait')
  assert.match(proxy.log(), /not everything is stored/)
  await rm(proxy.storeFolder)
  await rename(`${proxy.storeFolder}-away`, proxy.storeFolder)
  const next = await startProxyProcess({ upstream: database.url, folder: proxy.folder })
  assert.equal(await next.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  assert.ok((await readRecorded(proxy.storeFolder)).get('waits')!.backend.equals(client.received()))
})

test('another proxy uses the spool', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  const second = await startAgain(proxy, [])
  assert.equal(second.status, 1)
  assert.match(second.stderr, /SPOOL_IN_USE/)
  await recordOne(proxy, 'first-goes-on')
  assert.equal(await proxy.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  assert.ok((await readRecorded(proxy.storeFolder)).has('first-goes-on'))
})

test('a process that was killed left a spool', async (t) => {
  const folder = await folderFor(t)
  const killed = await startProxyProcess({ upstream: database.url, folder, arguments: ['--segment-milliseconds', '60000'] })
  const client = await connectRemembering(killed.port, 'killed')
  await client.query("select 'passed'")
  await killed.kill()
  await client.ended
  // As parallel runs do. Were there two of them, the later would take what the earlier records for a dead process's.
  const starts = await Promise.allSettled(Array.from({ length: 4 }, () => startProxyProcess({ upstream: database.url, folder })))
  const [next, ...more] = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []))
  assert.deepEqual(more, [])
  for (const start of starts) if (start.status === 'rejected') assert.match(String(start.reason), /SPOOL_IN_USE/)
  assert(next !== undefined)
  assert.equal(await next.stop(), 0)
  await assertVerified(next.storeFolder, next.spoolFolder)
  const conversation = (await readRecorded(next.storeFolder)).get('killed')!
  assert.ok(conversation.backend.equals(client.received()))
  assert.deepEqual([conversation.closeReason, conversation.recovered], ['killed', true])
})

test('the address to listen on is taken', async () => {
  await using proxy = await startProxyProcess({ upstream: database.url })
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const taken = `127.0.0.1:${(server.address() as AddressInfo).port}`
  for (const option of ['--listen', '--metrics-listen']) {
    const result = await startAgain(proxy, ['--spool', `${proxy.spoolFolder}-2`, option, taken])
    assert.equal(result.status, 1)
    assert.match(result.stderr, /CANNOT_LISTEN/, option)
  }
  server.close()
})
