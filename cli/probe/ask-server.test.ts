// Goal: what a server does with somebody who comes from here is told rightly, and never told to be closed when it is not. Method: a real
// PostgreSQL with one entry of pg_hba.conf for each way, and listeners that are no PostgreSQL.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, test, type TestContext } from 'node:test'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { askServer, type Answer } from './ask-server.ts'

let encrypted: EmbeddedPostgres
let plain: EmbeddedPostgres

// The first that fits counts, and the names of databases need not exist for it.
before(async () => {
  ;[encrypted, plain] = await Promise.all([
    startPostgres({
      tls: true,
      hba: [
        'hostssl tls_only all 127.0.0.1/32 scram-sha-256',
        'hostnossl plain_only all 127.0.0.1/32 scram-sha-256',
        'host trusting all 127.0.0.1/32 trust',
        'hostssl certified all 127.0.0.1/32 cert',
        'host by_user agent 127.0.0.1/32 scram-sha-256',
        'host elsewhere all 192.0.2.0/24 scram-sha-256',
        'host all all 0.0.0.0/0 reject',
      ],
    }),
    startPostgres({ hba: ['host scram all 127.0.0.1/32 scram-sha-256', 'host all all 0.0.0.0/0 reject'] }),
  ])
})
after(() => Promise.all([encrypted.stop(), plain.stop()]))

const ask = (port: number, names: string | readonly string[], options: { user?: string; millisecondsMax?: number } = {}): Promise<Answer> =>
  askServer({
    ...{ address: '127.0.0.1', port, databaseNames: [names].flat(), user: 'steno_probe', millisecondsMax: 60_000 },
    ...options,
  })
const kindOf = async (answer: Promise<Answer>): Promise<string> => (await answer).kind

for (const [name, kind] of [
  ['tls_only', 'answers'],
  ['plain_only', 'answers'],
  ['trusting', 'answers'],
  // It asks for a certificate that who comes may have: the address is let in.
  ['certified', 'answers'],
  ['elsewhere', 'rejected'],
  ['nowhere', 'rejected'],
] as const)
  test(`a server with TLS ${kind} where pg_hba.conf says ${name}`, async () => assert.equal(await kindOf(ask(encrypted.port, name)), kind))

test('a server without TLS is asked in plain, and both its words are understood', async () => {
  assert.equal(await kindOf(ask(plain.port, 'scram')), 'answers')
  const { kind, detail } = await ask(plain.port, 'nowhere')
  assert.equal(kind, 'rejected')
  assert.match(detail, /^28000: .*pg_hba\.conf/)
})

test('an entry for one user is found by that user alone, and one for another database by asking for each', async () => {
  assert.equal(await kindOf(ask(encrypted.port, 'by_user')), 'rejected')
  assert.equal(await kindOf(ask(encrypted.port, 'by_user', { user: 'agent' })), 'answers')
  assert.equal(await kindOf(ask(encrypted.port, ['nowhere', 'elsewhere', 'plain_only'])), 'answers')
})

test('no password is sent, and the server notes no failed one', async () => {
  const answers = await Promise.all(['tls_only', 'plain_only'].map((name) => ask(encrypted.port, name)))
  assert.ok(answers.every(({ kind }) => kind === 'answers'))
  const { readFileSync } = await import('node:fs')
  assert.doesNotMatch(readFileSync(encrypted.logFile, 'utf8'), /password authentication failed/)
})

/** The port of something that does with each connection what it is told. */
async function listening(t: TestContext, onConnection: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

const errorOf = (code: string, message: string): Buffer => {
  const body = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`)
  const header = Buffer.from([0x45, 0, 0, 0, 0])
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}
/** No TLS, then this. */
const saying = (answer: Buffer) => (socket: net.Socket) =>
  void socket.once('data', () => {
    socket.write('N')
    socket.once('data', () => socket.write(answer))
  })

test('nobody there is refused, and nobody who answers a connection is silent', async (t) => {
  const port = await listening(t, () => undefined)
  const gone = net.createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const { port: free } = gone.address() as AddressInfo
  gone.close()
  await once(gone, 'close')
  assert.equal(await kindOf(ask(free, 'orders')), 'refused')
  // Taken by something that says nothing, which is not the same as nobody: a proxy may take what the server would not.
  assert.equal(await kindOf(ask(port, 'orders', { millisecondsMax: 50 })), 'unclear')
  // Of a documentation range (RFC 5737): nothing comes back, or there is no way.
  const { kind } = await ask(5432, 'orders', { millisecondsMax: 50, ...{ address: '192.0.2.1' } })
  assert.ok(kind === 'silent' || kind === 'refused', kind)
})

test('who takes a connection and ends it, or cannot take anybody now, leaves it unclear', async (t) => {
  const ending = await listening(t, (socket) => socket.destroy())
  const starting = await listening(t, saying(errorOf('57P03', 'the database system is starting up')))
  const full = await listening(t, saying(errorOf('53300', 'sorry, too many clients already')))
  for (const port of [ending, starting, full]) assert.equal(await kindOf(ask(port, 'orders')), 'unclear')
})

test('any other word is an open door: an error of another kind, another protocol, a refusal that is not of the address', async (t) => {
  const answers = [
    errorOf('3D000', 'database "orders" does not exist'),
    errorOf('28P01', 'password authentication failed'),
    errorOf('28000', 'role "steno_probe" does not exist'),
    Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
  ]
  for (const answer of answers) assert.equal(await kindOf(ask(await listening(t, saying(answer)), 'orders')), 'answers')
  assert.equal(await kindOf(ask(await listening(t, (socket) => void socket.write('SSH-2.0-x\r\n')), 'orders')), 'answers')
})
