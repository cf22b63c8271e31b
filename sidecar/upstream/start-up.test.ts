/** Goal: whatever a server sends, a session or a known error comes of it, in time, and no byte is lost. Method: servers that misbehave on cue. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import tls from 'node:tls'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { assertOnceWithin } from '../../base/test-durations.ts'
import { encodeAuthenticationOk, encodeAuthenticationSasl } from '../../postgres/authentication/messages.ts'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import {
  BadStartup,
  encodeBackendKeyData,
  encodeErrorResponse,
  encodeMessage,
  encodeNegotiateProtocolVersion,
  encodeParameterStatus,
  encodeReadyForQuery,
} from '../../postgres/startup-messages.ts'
import { settingsNamed } from '../../postgres/startup-options.ts'
import { writeCertificates } from '../../tools/certificates.ts'
import type { CertificateFiles } from '../../tools/certificates.ts'
import { connectUpstream, openTransport, sendCancel } from './connect.ts'
import { ConnectAborted, SignInImpossible, UpstreamError, UpstreamRefused, UpstreamUnreachable } from './errors.ts'
import { startupParameters } from './startup-parameters.ts'

type Misbehaviour = (socket: net.Socket) => void
async function serve(behave: Misbehaviour): Promise<AsyncDisposable & { port: number }> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    behave(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
const settingsFor = (port: number, more = 'sslmode=disable') =>
  parseConnectionString(`host=127.0.0.1 port=${port} user=u password=secret ${more}`)
const connect = (port: number, more?: string, signal?: AbortSignal) =>
  connectUpstream(
    settingsFor(port, more),
    { database: 'd', parameters: {} },
    { allowCleartextPassword: true, ...(signal ? { signal } : {}) },
  )

const welcome = [
  encodeAuthenticationOk(),
  encodeParameterStatus('server_version', '18'),
  encodeBackendKeyData(1, Buffer.alloc(4)),
  encodeReadyForQuery('I'),
]

test('bytes that come in one piece with ReadyForQuery are handed over, however the piece is cut', { timeout: 120_000 }, async () => {
  const all = Buffer.concat([...welcome, encodeParameterStatus('x', 'later'), Buffer.from([0x41, 0, 0])])
  const startBytes = Buffer.concat(welcome).length
  for (let cut = 0; cut <= all.length; cut += 3) {
    await using server = await serve((socket) => {
      socket.setNoDelay(true)
      socket.once('data', () => {
        socket.write(all.subarray(0, cut))
        setTimeout(() => socket.write(all.subarray(cut)), 2)
      })
    })
    const session = await connect(server.port)
    let rest = session.leftover
    const wanted = all.subarray(startBytes)
    await new Promise<void>((resolve) => {
      if (rest.length === wanted.length) resolve()
      session.socket.on('data', (bytes: Buffer) => {
        rest = Buffer.concat([rest, bytes])
        if (rest.length === wanted.length) resolve()
      })
      session.socket.resume()
    })
    assert.deepEqual(rest, wanted, `cut at ${cut}`)
    assert.equal(session.startupFrames.length, 1)
    session.socket.destroy()
  }
})

const misbehaviours: [string, Buffer, RegExp][] = [
  ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /no PostgreSQL server/],
  ['an SSH banner', Buffer.from('SSH-2.0-OpenSSH\r\n'), /no PostgreSQL server|protocol/],
  ['a frame of 4 GiB', Buffer.from('52ffffffff00000000', 'hex'), /impossible length/],
  ['a frame longer than any start-up has', Buffer.from('4500100000', 'hex'), /65536/],
  ['readiness without authentication', encodeReadyForQuery('I'), /before the end of the authentication/],
  [
    'a row before it is ready',
    Buffer.concat([encodeAuthenticationOk(), encodeMessage('D', Buffer.alloc(2))]),
    /before the server was ready/,
  ],
  ['an error that does not end', encodeMessage('E', Buffer.from('Sx')), /does not end/],
  ['an authentication request that is too short', encodeMessage('R', Buffer.alloc(2)), /too short/],
  ['a key that is too short', Buffer.concat([encodeAuthenticationOk(), encodeMessage('K', Buffer.alloc(5))]), /impossible length/],
  ['a long key in protocol 3.0', Buffer.concat([encodeAuthenticationOk(), encodeBackendKeyData(1, Buffer.alloc(32))]), /impossible length/],
  ['an unknown transaction status', Buffer.concat([encodeAuthenticationOk(), encodeMessage('Z', Buffer.from('X'))]), /transaction status/],
  ['a newer protocol than was asked for', encodeNegotiateProtocolVersion(2, []), /newer protocol/],
  ['a SASL challenge out of nowhere', encodeMessage('R', Buffer.from('0000000b61', 'hex')), /out of order/],
  [
    'endless notices',
    Buffer.concat(Array.from({ length: 1200 }, () => encodeMessage('N', Buffer.concat([Buffer.alloc(1000, 65), Buffer.alloc(1)])))),
    /more than 1048576/,
  ],
]
for (const [name, bytes, message] of misbehaviours) {
  test(`a server that sends nonsense is named as unreachable with the reason: ${name}`, async () => {
    await using server = await serve((socket) => socket.once('data', () => socket.write(bytes)))
    await assert.rejects(connect(server.port), (error) => {
      assert.ok(error instanceof UpstreamUnreachable, String(error))
      assert.match(error.message, message)
      return true
    })
  })
}

test('a server of which nothing is known any more is refused: hung up at every byte of its start-up', async () => {
  const all = Buffer.concat(welcome)
  for (let cut = 0; cut < all.length; cut += 2) {
    await using server = await serve((socket) => socket.once('data', () => socket.end(all.subarray(0, cut))))
    await assert.rejects(connect(server.port), UpstreamUnreachable)
  }
})

test('a server that says nothing is given up in time, in every phase', { timeout: 120_000 }, async () => {
  for (const [behave, more] of [
    [() => undefined, 'sslmode=disable'],
    [() => undefined, 'sslmode=require'],
    [(socket: net.Socket) => socket.once('data', () => socket.write('S')), 'sslmode=require'],
    [(socket: net.Socket) => socket.once('data', () => socket.write(encodeAuthenticationSasl(['SCRAM-SHA-256']))), 'sslmode=disable'],
  ] as [Misbehaviour, string][]) {
    await using server = await serve(behave)
    await assertOnceWithin(3_000, () =>
      assert.rejects(
        connect(server.port, `${more} connect_timeout=1`),
        (error) => error instanceof UpstreamUnreachable && /no answer within 1 s/.test(error.message),
      ),
    )
  }
})

test('whoever asked can give up at any time', { timeout: 120_000 }, async () => {
  await using server = await serve(() => undefined)
  const controller = new AbortController()
  const waiting = connect(server.port, 'sslmode=disable connect_timeout=0', controller.signal)
  setTimeout(() => controller.abort(), 20)
  await assert.rejects(waiting, ConnectAborted)
  await assert.rejects(connect(server.port, 'sslmode=disable', AbortSignal.abort()), ConnectAborted)
})

test('a server that starts up is passed over, and its own words reach the client when there is no other', async () => {
  const starting = encodeErrorResponse({ severity: 'FATAL', code: '57P03', message: 'the database system is starting up' })
  await using busy = await serve((socket) => socket.once('data', () => socket.end(starting)))
  await using ready = await serve((socket) => socket.once('data', () => socket.write(Buffer.concat(welcome))))
  const both = parseConnectionString(`host=127.0.0.1,127.0.0.1 port=${busy.port},${ready.port} user=u sslmode=disable`)
  const session = await connectUpstream(both, { database: 'd', parameters: {} }, { allowCleartextPassword: false })
  assert.equal(session.port, ready.port)
  session.socket.destroy()
  await assert.rejects(connect(busy.port), (error) => error instanceof UpstreamRefused && error.frame.equals(starting))
})

test('a server too old to say what it is gets asked, and what comes behind its answer is kept', async () => {
  const row = (value: string): Buffer => encodeMessage('D', Buffer.from([0, 1, 0, 0, 0, value.length]), Buffer.from(value))
  const end = [encodeMessage('C', Buffer.from('SHOW\0')), encodeReadyForQuery('I'), Buffer.from('rest')]
  const answers: [string, Buffer[], boolean][] = [
    ['read-write', [row('off')], true],
    ['read-write', [row('on')], false],
    ['read-only', [row('on')], true],
    ['primary', [row('f')], true],
    ['standby', [row('f')], false],
    ['standby', [encodeErrorResponse({ severity: 'ERROR', code: '42883', message: 'no such function' })], false],
    ['standby', [encodeMessage('D', Buffer.from([0, 1, 0, 0, 9, 9]))], false],
    ['standby', [encodeMessage('G', Buffer.alloc(3))], false],
  ]
  for (const [wanted, answer, fits] of answers) {
    await using server = await serve((socket) =>
      socket.once('data', () => {
        socket.write(Buffer.concat(welcome))
        socket.once('data', () => socket.write(Buffer.concat([...answer, ...end])))
      }),
    )
    const connecting = connect(server.port, `sslmode=disable target_session_attrs=${wanted}`)
    if (!fits) await assert.rejects(connecting, UpstreamUnreachable, wanted)
    else {
      const session = await connecting
      assert.equal(session.leftover.toString(), 'rest')
      session.socket.destroy()
    }
  }
})

test('authentication methods that are not spoken are refused with a remedy', async () => {
  for (const [type, name] of [
    [2, 'Kerberos'],
    [7, 'GSSAPI'],
    [9, 'SSPI'],
    [77, 'method 77'],
  ] as const) {
    const request = encodeMessage('R', Buffer.from([0, 0, 0, type]))
    await using server = await serve((socket) => socket.once('data', () => socket.write(request)))
    await assert.rejects(
      connect(server.port),
      (error) => error instanceof SignInImpossible && error.message.includes(name) && error.remedy.includes('pg_hba.conf'),
    )
  }
  await using server = await serve((socket) => socket.once('data', () => socket.write(encodeAuthenticationSasl(['OAUTHBEARER']))))
  await assert.rejects(connect(server.port), (error) => error instanceof SignInImpossible && error.message.includes('OAUTHBEARER'))
})

test('a server that lets us in without proving that it knows the password is refused', async () => {
  await using server = await serve((socket) => {
    socket.once('data', () => {
      socket.write(encodeAuthenticationSasl(['SCRAM-SHA-256']))
      socket.once('data', () => socket.write(Buffer.concat(welcome)))
    })
  })
  await assert.rejects(connect(server.port), (error) => error instanceof SignInImpossible && error.message.includes('proved'))
})

test('channel binding offered over plain is refused: somebody is in between', async () => {
  await using server = await serve((socket) =>
    socket.once('data', () => socket.write(encodeAuthenticationSasl(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']))),
  )
  await assert.rejects(connect(server.port), SignInImpossible)
})

describe('the answer to the request for TLS', () => {
  let folder: string
  let files: CertificateFiles
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'steno-start-up-'))
    files = await writeCertificates(folder, { user: 'u' })
  })
  after(() => rm(folder, { recursive: true }))

  test('bytes behind the S are refused, though the handshake would go well', async () => {
    const [key, cert] = [await readFile(files.serverKey), await readFile(files.server)]
    for (const injected of [Buffer.alloc(0), encodeReadyForQuery('I')]) {
      await using server = await serve((socket) => {
        socket.once('data', () => {
          socket.write(Buffer.concat([Buffer.from('S'), injected]))
          const secure = new tls.TLSSocket(socket, { isServer: true, key, cert })
          secure.on('error', () => undefined)
          secure.once('data', () => secure.write(Buffer.concat(welcome)))
        })
      })
      if (injected.length === 0) (await connect(server.port, 'sslmode=require')).socket.destroy()
      else
        await assert.rejects(
          connect(server.port, 'sslmode=require'),
          (error) => error instanceof UpstreamUnreachable && error.message.includes('in between'),
        )
    }
  })
  test('direct TLS without agreement on the protocol is refused', async () => {
    const secure = tls.createServer({ key: await readFile(files.serverKey), cert: await readFile(files.server) }, (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.write(Buffer.concat(welcome)))
    })
    secure.on('tlsClientError', () => undefined)
    secure.listen(0, '127.0.0.1')
    await once(secure, 'listening')
    try {
      await assert.rejects(
        connect((secure.address() as net.AddressInfo).port, 'sslmode=require sslnegotiation=direct'),
        (error) => error instanceof UpstreamUnreachable && error.message.includes('ALPN'),
      )
    } finally {
      secure.close()
    }
  })
  for (const answer of ['N', 'E', 'X', 'H']) {
    test(`the answer ${answer} never leads to an unencrypted session that sslmode=require forbids`, async () => {
      await using server = await serve((socket) => socket.on('data', () => socket.write(answer)))
      await assert.rejects(connect(server.port, 'sslmode=require'), UpstreamUnreachable)
    })
  }
  test('prefer goes on in plain after an N, and anew after a handshake that fails', async () => {
    for (const answer of ['N', 'S', 'E']) {
      await using server = await serve((socket) => {
        socket.on('data', (bytes) => {
          if (bytes.readUInt32BE(4) === 80_877_103) socket.write(answer)
          else if (bytes[0] === 0) socket.write(Buffer.concat(welcome))
          else socket.end('not a handshake')
        })
      })
      const session = await connect(server.port, 'sslmode=prefer')
      assert.equal(session.tls, null)
      session.socket.destroy()
    }
  })
})

test('a cancel request carries the key and ends when the server hangs up', async () => {
  const came: Buffer[] = []
  await using server = await serve((socket) =>
    socket.once('data', (bytes) => {
      came.push(bytes)
      socket.end()
    }),
  )
  const settings = settingsFor(server.port)
  await sendCancel(settings, settings.hosts[0]!, 42, Buffer.from('0a0b0c0d', 'hex'))
  assert.equal(came[0]!.toString('hex'), '0000001004d2162e0000002a0a0b0c0d')
})

test('an open transport has read nothing and lets its caller read all', async () => {
  await using server = await serve((socket) => socket.write('early'))
  const settings = settingsFor(server.port)
  const { socket, leftover } = await openTransport(settings, settings.hosts[0]!)
  await new Promise((resolve) => setTimeout(resolve, 20))
  const came = once(socket, 'data')
  socket.resume()
  assert.equal(leftover.length, 0)
  assert.equal(String((await came)[0]), 'early')
  socket.destroy()
})

// Goal: no bytes of a server hang or crash steno. Method: its real start-up, bent at random, and random messages; cut at random, then hung up.
test('a mutated start-up ends in a session or a known error', { timeout: 120_000 }, async () => {
  const frames = fc.oneof(
    ...welcome.map((frame) => fc.constant(frame)),
    fc.constant(encodeAuthenticationSasl(['SCRAM-SHA-256'])),
    fc.constant(encodeNegotiateProtocolVersion(0, [])),
    fc
      .tuple(fc.constantFrom(...'RSKZENvADTCG1'.split('')), fc.uint8Array({ maxLength: 20 }))
      .map(([type, body]) => encodeMessage(type, Buffer.from(body))),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(frames, { maxLength: 8 }),
      fc.constantFrom(0, 3, 10),
      fc.nat(),
      fc.nat(255),
      fc.constantFrom('disable', 'prefer', 'require'),
      async (pieces, flips, seed, value, mode) => {
        const bytes = Buffer.concat(pieces)
        for (let flip = 0; flip < Math.min(flips, bytes.length); flip++) bytes[(seed + flip * 7) % bytes.length] = (value + flip) & 255
        const cut = bytes.length === 0 ? 0 : seed % bytes.length
        await using server = await serve((socket) => {
          socket.on('data', () => undefined)
          socket.once('data', () => {
            socket.write(bytes.subarray(0, cut))
            socket.end(bytes.subarray(cut))
          })
        })
        try {
          const session = await connect(server.port, `sslmode=${mode} connect_timeout=2`)
          session.socket.destroy()
        } catch (error) {
          assert.ok(error instanceof UpstreamError, String(error))
          assert.ok(!/no answer within/.test(error.message), 'nothing waits for a server that hung up')
          assert.ok(!error.message.includes('secret'))
        }
      },
    ),
    { numRuns: 400 },
  )
})

test('the names that options set are found as the server finds them', () => {
  assert.deepEqual(settingsNamed('-c a=1 -cb=2 --C-d=3  -c\te=4 -B 5 -c f=x\\ y'), ['a', 'b', 'c_d', 'e', 'f'])
  assert.deepEqual(settingsNamed('-c'), [])
  assert.deepEqual(settingsNamed('\\'), [])
})

test('start-up parameters that no server would take are refused before one is asked', async () => {
  const startup = { database: 'd', parameters: { application_name: 'x'.repeat(10_000) } }
  await assert.rejects(connectUpstream(settingsFor(1), startup, { allowCleartextPassword: false }), BadStartup)
})

test('the agent cannot choose the user, replication or a protocol option', () => {
  const settings = parseConnectionString('host=h user=fixed application_name=mine client_encoding=LATIN1')
  const merged = Object.fromEntries(
    startupParameters(settings, {
      database: 'd',
      parameters: { user: 'root', database: 'other', replication: 'true', '_pq_.x': '1', DateStyle: 'ISO' },
    }),
  )
  assert.deepEqual(merged, { user: 'fixed', database: 'd', DateStyle: 'ISO', application_name: 'mine', client_encoding: 'LATIN1' })
  const own = Object.fromEntries(
    startupParameters(settings, { database: 'd', parameters: { application_name: 'theirs', client_encoding: 'UTF8' } }),
  )
  assert.deepEqual([own['application_name'], own['client_encoding']], ['theirs', 'UTF8'])
})
