// Goal: through the relay a session is what it is without: same servers chosen, same checks, same cancel requests; names are never resolved
// here; a relay that refuses or goes away is told with what to do. Method: a relay of the test's own over real TLS, and real databases.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import tls from 'node:tls'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectUpstream, sendCancel, type UpstreamSession } from '../upstream/connect.ts'
import { UpstreamUnreachable } from '../upstream/errors.ts'
import { tunnelDial } from './dial.ts'
import { createRelayClient } from './relay-client.ts'
import { startTestRelay, type TestRelay } from './test-relay.ts'

let database: EmbeddedPostgres
before(async () => {
  // On every address of loopback, so that one port is many servers' to a client.
  database = await startPostgres({ tls: true, settings: { listen_addresses: '127.0.0.1,127.0.0.2,127.0.0.3' } })
})
after(() => database.stop('immediate'))

const dialThrough = (relay: TestRelay) => tunnelDial(createRelayClient(relay), 'orders')

async function connect(relay: TestRelay, text: string): Promise<UpstreamSession> {
  return connectUpstream(
    parseConnectionString(`${text} user=${database.superuser} password=${database.password}`),
    { database: 'postgres', parameters: {} },
    { allowCleartextPassword: false, dial: dialThrough(relay) },
  )
}

async function query(session: UpstreamSession, sql: string): Promise<string> {
  const pieces: string[] = []
  session.socket.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
  await new Promise<void>((resolve, reject) => {
    session.socket.once('close', () => reject(new Error('closed')))
    session.socket.on('data', (bytes: Buffer) => {
      pieces.push(bytes.toString('latin1'))
      if (pieces.slice(-6).join('').slice(-6, -1) === 'Z\0\0\0\u0005') resolve()
    })
    session.socket.resume()
  })
  session.socket.removeAllListeners('data').removeAllListeners('close').pause()
  return pieces.join('')
}

const unresolvable = 'db.shop.invalid'

test('a name that only the relay knows leads to the database, verified by that name inside the tunnel', async () => {
  await using relay = await startTestRelay()
  relay.names.set('localhost', ['127.0.0.1'])
  relay.names.set(unresolvable, ['127.0.0.1'])
  const verified = `port=${database.port} sslmode=verify-full sslrootcert=${database.certificates!.ca}`
  const session = await connect(relay, `host=localhost ${verified}`)
  assert.match(session.tls ?? '', /^TLSv1\.3/)
  assert.match(await query(session, 'select $$is $$ || ssl from pg_stat_ssl where pid = pg_backend_pid()'), /is true/)
  assert.deepEqual(relay.asked, [
    { what: 'connect', target: `localhost:${database.port}`, database: 'orders', address: undefined, token: 'Bearer token-1' },
  ])
  session.socket.destroy()
  const plain = await connect(relay, `host=${unresolvable} port=${database.port} sslmode=disable`)
  assert.equal(plain.tls, null)
  assert.match(await query(plain, 'select $$is $$ || ssl from pg_stat_ssl where pid = pg_backend_pid()'), /is false/)
  plain.socket.destroy()
  await assert.rejects(connect(relay, `host=${unresolvable} ${verified}`), /is not for the host name db\.shop\.invalid/)
})

test('more bytes than any buffer holds come whole through both layers of TLS', async () => {
  await using relay = await startTestRelay()
  const session = await connect(relay, `host=127.0.0.1 port=${database.port} sslmode=require`)
  const answer = await query(session, "select repeat('0123456789abcdef', 1024) from generate_series(1, 1000)")
  assert.equal(answer.match(/0123456789abcdef/g)!.length, 1_024_000)
  session.socket.destroy()
})

test('TLS to the database runs over the handle of TLS to the relay, with no stream of JavaScript between the two', async () => {
  await using relay = await startTestRelay()
  const session = await connect(relay, `host=127.0.0.1 port=${database.port} sslmode=require`)
  // What Node wraps: a socket with a handle as it is, anything else in a `JSStreamSocket`, which is far slower.
  const { _parent: below } = session.socket as unknown as { readonly _parent: unknown }
  assert.ok(below instanceof tls.TLSSocket)
  session.socket.destroy()
})

test('a cancel request goes to the address that runs the statement, whatever the name leads to by then', async () => {
  await using relay = await startTestRelay()
  relay.names.set(unresolvable, ['127.0.0.2', '127.0.0.1'])
  const text = `host=${unresolvable} port=${database.port} sslmode=require`
  const session = await connect(relay, text)
  const running = query(session, 'select pg_sleep(60)')
  while ((await database.query("select 1 from pg_stat_activity where query = 'select pg_sleep(60)'")).length === 0);
  relay.names.set(unresolvable, ['127.0.0.3'])
  const settings = parseConnectionString(`${text} user=x`)
  await sendCancel(settings, session.target, session.processId, session.cancelKey, { dial: dialThrough(relay) })
  assert.match(await running, /57014/)
  assert.deepEqual(
    relay.asked.map(({ what, target, address }) => [what, target, address]),
    [
      ['connect', `${unresolvable}:${database.port}`, undefined],
      ['connect', `${unresolvable}:${database.port}`, '127.0.0.2'],
    ],
  )
  session.socket.destroy()
})

test('every address of a name is looked at for a server of the wanted kind, each once', async () => {
  await using relay = await startTestRelay()
  relay.names.set(unresolvable, ['127.0.0.1', '127.0.0.2', '127.0.0.3'])
  await assert.rejects(
    connect(relay, `host=${unresolvable} port=${database.port} sslmode=disable target_session_attrs=standby`),
    UpstreamUnreachable,
  )
  assert.deepEqual(
    relay.asked.map(({ what, address }) => [what, address]),
    [
      ['connect', undefined],
      ['probe', undefined],
      ['connect', '127.0.0.2'],
      ['connect', '127.0.0.3'],
    ],
  )
})

test('load_balance_hosts=random spreads over the addresses of a name', async () => {
  await using relay = await startTestRelay()
  relay.names.set(unresolvable, ['127.0.0.1', '127.0.0.2', '127.0.0.3'])
  const reached = new Set<string | undefined>()
  for (let tries = 0; tries < 60 && reached.size < 3; tries++) {
    const session = await connect(relay, `host=${unresolvable} port=${database.port} sslmode=disable load_balance_hosts=random`)
    reached.add(session.target.pinnedAddress)
    session.socket.destroy()
  }
  assert.deepEqual([...reached].map(String).sort(), ['127.0.0.1', '127.0.0.2', '127.0.0.3'])
})

test('the next host of the connection string is tried when the relay does not reach the first', async () => {
  await using relay = await startTestRelay()
  relay.names.set('second.invalid', ['127.0.0.1'])
  const session = await connect(relay, `host=first.invalid,second.invalid port=${database.port} sslmode=disable`)
  assert.equal(session.host, 'second.invalid')
  session.socket.destroy()
})

for (const [code, status, remedy, hint] of [
  [
    'TARGET_NOT_ALLOWED',
    403,
    'Add it to `databases[].hosts` of the SessionPolicy.',
    /^Add it to `databases\[\]\.hosts` of the SessionPolicy\.$/,
  ],
  ['TARGET_NOT_ALLOWED', 403, '', /`databases\[\]\.hosts`.*of the SessionPolicy/],
  ['SOURCE_UNFIT', 403, '', /Create the pod again/],
  ['TOO_MANY_TUNNELS', 429, '', /Close connections/],
] as const) {
  test(`a refusal reaches the agent with what to do about it: ${code}, ${remedy === '' ? 'without' : 'with'} the relay's own words`, async () => {
    await using relay = await startTestRelay()
    relay.refusals.push({ status, code, message: 'because\nof this', remedy })
    await assert.rejects(connect(relay, `host=${unresolvable} port=5432 sslmode=prefer`), (error: unknown) => {
      assert.ok(error instanceof UpstreamUnreachable)
      assert.match(error.message, new RegExp(`${unresolvable}:5432: ${code}: because of this`))
      assert.match(error.fields.hint ?? '', hint)
      return true
    })
    assert.equal(relay.asked.length, 1, 'what lasts is not asked again')
  })
}

test('a replica that stops or is full is tried again within the connect timeout', async () => {
  await using relay = await startTestRelay()
  for (const code of ['STOPPING', 'BUSY', 'CLUSTER_UNAVAILABLE']) relay.refusals.push({ status: 503, code, message: code, remedy: 'Wait.' })
  const session = await connect(relay, `host=127.0.0.1 port=${database.port} sslmode=disable`)
  assert.equal(relay.asked.length, 4)
  session.socket.destroy()
})

test('a relay that is away for a moment is waited for; one that stays away is told when the connect timeout is over', async () => {
  await using relay = await startTestRelay()
  await relay.stop()
  const text = `host=127.0.0.1 port=${database.port} sslmode=disable`
  const connecting = connect(relay, text)
  setTimeout(() => void relay.restart(), 300)
  ;(await connecting).socket.destroy()
  await relay.stop()
  await assertOnceWithin(8_000, () =>
    assert.rejects(
      connect(relay, `${text} connect_timeout=2`),
      /RELAY_UNREACHABLE: the relay at 127\.0\.0\.1 cannot be reached: .*ECONNREFUSED/,
    ),
  )
})

test('a token that the kubelet has replaced is read anew, and one that was refused is read once more', async () => {
  await using relay = await startTestRelay()
  const client = createRelayClient(relay)
  const ask = () => client.probe({ database: 'orders', host: '127.0.0.1', port: 1 }, { signal: AbortSignal.timeout(120_000) })
  await ask()
  await writeFile(relay.tokenFile, 'token-22\n')
  await ask()
  relay.refusals.push({ status: 407, code: 'TOKEN_UNFIT', message: 'expired', remedy: '' })
  await ask()
  assert.deepEqual(
    relay.asked.map(({ token }) => token),
    ['Bearer token-1', 'Bearer token-22', 'Bearer token-22', 'Bearer token-22'],
  )
  await writeFile(relay.tokenFile, 'two words\n')
  await assert.rejects(
    ask(),
    (error: unknown) => error instanceof Error && /TOKEN_MISSING/.test(error.message) && !/two words/.test(error.message),
  )
})

test('a relay of another authority is believed nothing, and is given no token', async () => {
  await using relay = await startTestRelay()
  await using other = await startTestRelay()
  const client = createRelayClient({ ...relay, caPem: other.caPem })
  await assert.rejects(
    client.connect({ database: 'orders', host: '127.0.0.1', port: database.port }, null, { signal: AbortSignal.timeout(120_000) }),
    /RELAY_UNTRUSTED/,
  )
  assert.deepEqual(relay.asked, [])
})
