// What can go wrong where results wait for the store. Titles are the first column of docs/failures.md.
import assert from 'node:assert/strict'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, ConnectionEnded, firstColumn } from '../nothing-lost/remembering-client.ts'
import { bringStoreBack, takeStoreAway } from '../stored/store-away.ts'
import { startProxyProcess } from '../support/proxy.ts'

let database: EmbeddedPostgres
before(async () => {
  database = await startPostgres()
  await database.query('create table made (number int)')
})
after(() => database.stop())

const endedWith = (code: string) => (error: unknown) => error instanceof ConnectionEnded && error.fields?.get('C') === code

test('the store is away for longer than a result may wait for it', { timeout: 300_000 }, async () => {
  await using proxy = await startProxyProcess({
    upstream: database.url,
    arguments: ['--level', 'stored', '--store-wait-milliseconds', '4000'],
  })
  const client = await connectRemembering(proxy.port, 'overdue')
  await takeStoreAway(proxy)
  await assert.rejects(client.query('insert into made values (1) returning number'), (error) => {
    assert.ok(endedWith('58030')(error), String(error))
    const { fields } = error as ConnectionEnded
    assert.equal(fields!.get('S'), 'FATAL')
    assert.match(fields!.get('M')!, /^steno withholds this result: the store has not taken its recording for 4 seconds/)
    assert.match(fields!.get('D')!, /may have taken effect/)
    assert.match(fields!.get('H')!, /store/)
    return true
  })
  assert.deepEqual(await database.query('select number from made'), [{ number: 1 }])
  await assert.rejects(connectRemembering(proxy.port, 'refused'), endedWith('58030'))
  await bringStoreBack(proxy)
  const other = await connectRemembering(proxy.port, 'afterwards')
  assert.deepEqual(firstColumn(await other.query("select 'goes on'")), ['goes on'])
  await other.end()
  assert.equal(await proxy.stop(), 0)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  const overdue = (await readRecorded(proxy.storeFolder)).get('overdue')!
  assert.equal(overdue.closeReason, 'recording-failed')
  assert.ok(overdue.backend.includes('INSERT 0 1'), 'what the database answered is recorded')
})

test('a session whose results wait for the store cannot be stored any more', { timeout: 300_000 }, async () => {
  await using proxy = await startProxyProcess({ upstream: database.url, arguments: ['--level', 'stored'] })
  const other = await connectRemembering(proxy.port, 'other')
  const client = await connectRemembering(proxy.port, 'occupied')
  const names = (await readdir(proxy.storeFolder, { recursive: true })).filter((name) => name.endsWith('.steno')).sort()
  // Something else lies where each session's next part belongs; the one that asks meets it.
  const next = names.at(-1)!.replace('000001', '000002')
  await writeFile(join(proxy.storeFolder, next), 'not a segment')
  await chmod(join(proxy.storeFolder, next), 0o440)
  await assert.rejects(client.query("select 'never seen'"), endedWith('58030'))
  assert.ok(!client.received().includes('never seen'))
  assert.deepEqual(firstColumn(await other.query("select 'goes on'")), ['goes on'])
  await other.end()
  assert.match(proxy.log(), /OBJECT_CONFLICT/)
})
