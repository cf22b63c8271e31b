// What the database may do, or fail to do. Titles are the first column of docs/failures.md.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { connectRemembering, ConnectionEnded, message, query } from '../nothing-lost/remembering-client.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { startProxyProcess, stopUntilStored } from '../support/proxy.ts'
import { startFailureWorld, untilReceived } from './world.ts'

const endedWith = (code: string) => (error: unknown) => {
  assert.ok(error instanceof ConnectionEnded, String(error))
  assert.equal(error.fields?.get('C'), code)
  return true
}

test('the database disappears in mid-row', async () => {
  await using database = await startPostgres()
  await using proxy = await startProxyProcess({ upstream: database.url })
  const client = await connectRemembering(proxy.port, 'cut-off')
  client.send(query("select repeat('r', 100000) from generate_series(1, 100000)"))
  await untilReceived(client, 250_000)
  await database.stop('immediate')
  await client.ended
  await assert.rejects(connectRemembering(proxy.port, 'too-late'), endedWith('08006'))
  await stopUntilStored(proxy, database.url)
  await assertVerified(proxy.storeFolder, proxy.spoolFolder)
  const conversation = (await readRecorded(proxy.storeFolder)).get('cut-off')!
  assert.ok(conversation.backend.equals(client.received()), 'everything that the database sent was delivered and is recorded')
  assert.equal(conversation.closeReason, 'upstream-gone')
})

test('the database ends one session', async () => {
  await using database = await startPostgres()
  await using world = await startFailureWorld(database.url)
  const client = await connectRemembering(world.port, 'ended')
  await database.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ended'")
  const { fields } = await client.ended
  assert.equal(fields?.get('C'), '57P01')
  await world.assertOthersGoOn()
  const conversation = (await world.recorded()).get('ended')!
  assert.equal(conversation.closeReason, 'upstream-gone')
  assert.ok(conversation.backend.equals(client.received()))
})

test('the password for the database is wrong', async () => {
  await using database = await startPostgres()
  await using proxy = await startProxyProcess({ upstream: database.url.replace(database.password, 'wrong-password') })
  await assert.rejects(connectRemembering(proxy.port, 'refused'), (error: unknown) => {
    endedWith('28P01')(error)
    assert.match((error as ConnectionEnded).fields!.get('M')!, /^password authentication failed for user "postgres"$/)
    return true
  })
  assert.ok(!proxy.log().includes('wrong-password'))
  assert.equal(await proxy.stop(), 0)
  assert.equal((await readRecorded(proxy.storeFolder)).size, 0)
})

test('the database announces parameters without end', async () => {
  await using database = await startPostgres()
  await using world = await startFailureWorld(database.url)
  const parameter = message('S', `talk\0${'\u0001'.repeat(60_000)}\0`)
  const greeting = [message('R', '\0\0\0\0'), parameter, message('K', '\0\0\0\x01\0\0\0\x01'), message('Z', 'I')]
  let isEndless = false
  const talker = createServer((socket) => {
    socket.on('error', () => undefined)
    const talk = (): void => {
      if (isEndless) while (socket.writable && socket.write(parameter));
    }
    socket.on('drain', talk)
    socket.once('data', () => {
      socket.write(Buffer.concat(isEndless ? greeting.slice(0, 2) : greeting))
      talk()
    })
  })
  await once(talker.listen(0, '127.0.0.1'), 'listening')
  const { port } = talker.address() as AddressInfo
  await using proxy = await startProxyProcess({ upstream: `postgresql://shop@127.0.0.1:${port}/shop?sslmode=disable` })
  await assert.rejects(connectRemembering(proxy.port, 'overwhelmed', { database: 'shop' }), endedWith('08P01'))
  assert.equal(await proxy.stop(), 0)
  isEndless = true
  await using passing = await startProxyProcess({ upstream: `host=127.0.0.1 port=${port} sslmode=disable` })
  await assert.rejects(connectRemembering(passing.port, 'overwhelmed', { database: 'shop' }), endedWith('08P01'))
  talker.close()
  await world.assertOthersGoOn()
})

test('the database cannot be reached', async () => {
  const port = await freePort()
  await using proxy = await startProxyProcess({ upstream: `postgresql://shop:secret@127.0.0.1:${port}/postgres` })
  await assert.rejects(connectRemembering(proxy.port, 'unreached'), (error: unknown) => {
    endedWith('08006')(error)
    const fields = (error as ConnectionEnded).fields!
    assert.match(fields.get('M')!, new RegExp(`127\\.0\\.0\\.1:${port}.*ECONNREFUSED`))
    assert.match(fields.get('H')!, /Check that the database runs/)
    return true
  })
  assert.equal(await proxy.stop(), 0)
})
