/** Goal: each sslmode and each way of signing in means what libpq's documentation says. Method: real servers, one per configuration. */
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { decodeErrorResponse, encodeMessage } from '../../postgres/startup-messages.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connectUpstream, openTransport, sendCancel } from './connect.ts'
import type { UpstreamSession } from './connect.ts'
import { SignInImpossible, TlsFilesUnusable, UpstreamRefused, UpstreamUnreachable } from './errors.ts'

const freePortNobodyListensOn = 1

async function connect(
  text: string,
  more: {
    parameters?: Record<string, string>
    cleartext?: boolean
    database?: string
    environment?: Record<string, string>
  } = {},
): Promise<UpstreamSession> {
  const settings = parseConnectionString(text, more.environment ?? {})
  return connectUpstream(
    settings,
    { database: more.database ?? settings.database ?? 'postgres', parameters: more.parameters ?? {} },
    { allowCleartextPassword: more.cleartext ?? false },
  )
}
const end = (session: UpstreamSession): void => void session.socket.destroy()

/** Runs one query over the session as its new owner would, and gives what came. */
async function query(session: UpstreamSession, sql: string): Promise<string> {
  const pieces: Buffer[] = [session.leftover]
  session.socket.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
  await new Promise<void>((resolve, reject) => {
    session.socket.once('close', () => reject(new Error('closed')))
    session.socket.on('data', (bytes: Buffer) => {
      pieces.push(bytes)
      if (Buffer.concat(pieces).subarray(-6, -1).toString('latin1') === 'Z\0\0\0\u0005') resolve()
    })
    session.socket.resume()
  })
  return Buffer.concat(pieces).toString('latin1')
}

describe('sslmode', () => {
  let secure: EmbeddedPostgres
  let plain: EmbeddedPostgres
  before(async () => {
    secure = await startPostgres({ tls: true })
    plain = await startPostgres()
  })
  after(async () => {
    await secure.stop('immediate')
    await plain.stop('immediate')
  })
  // The outcome for: a server with TLS and no root file; TLS with the right root; with a foreign root; with the right root but another
  // host name; and a server without TLS. 'tls' and 'plain' are sessions, 'fails' is none.
  const table: [string, string, string, string, string, string][] = [
    ['disable', 'plain', 'plain', 'plain', 'plain', 'plain'],
    ['allow', 'plain', 'plain', 'plain', 'plain', 'plain'],
    ['prefer', 'tls', 'tls', 'plain', 'tls', 'plain'],
    ['require', 'tls', 'tls', 'fails', 'tls', 'fails'],
    ['verify-ca', 'no file', 'tls', 'fails', 'tls', 'no file'],
    ['verify-full', 'no file', 'tls', 'fails', 'fails', 'no file'],
  ]
  for (const [mode, ...expected] of table) {
    test(`sslmode=${mode} does exactly what it says against every kind of server`, async () => {
      const { ca, otherCa } = secure.certificates!
      const at = (server: EmbeddedPostgres, host: string, more: string): string =>
        `${host} port=${server.port} user=${server.superuser} password=${server.password} sslmode=${mode} ${more}`
      const local = 'host=localhost hostaddr=127.0.0.1'
      const cases = [
        at(secure, local, ''),
        at(secure, local, `sslrootcert=${ca}`),
        at(secure, local, `sslrootcert=${otherCa}`),
        at(secure, 'host=elsewhere.test hostaddr=127.0.0.1', `sslrootcert=${ca}`),
        at(plain, local, ''),
      ]
      for (const [index, text] of cases.entries()) {
        let outcome: string
        try {
          const session = await connect(text)
          outcome = session.tls === null ? 'plain' : 'tls'
          if (session.tls !== null) assert.match(session.tls, /^TLSv1\.3 TLS_/)
          const [row] = await query(session, 'select ssl::text || $$!$$ from pg_stat_ssl where pid = pg_backend_pid()').then((answer) =>
            /true!|false!/.exec(answer)!,
          )
          assert.equal(row, session.tls === null ? 'false!' : 'true!')
          end(session)
        } catch (error) {
          assert.ok(error instanceof UpstreamUnreachable || error instanceof TlsFilesUnusable, String(error))
          assert.ok(!error.message.includes(secure.password) && !error.message.includes(plain.password))
          outcome = error instanceof TlsFilesUnusable ? 'no file' : 'fails'
        }
        assert.equal(outcome, expected[index], `case ${index}`)
      }
    })
  }
  test('an address is verified against the addresses in the certificate', async () => {
    const text = `host=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=verify-full sslrootcert=${secure.certificates!.ca}`
    end(await connect(text))
  })
  test('a root.crt in the home folder makes require verify', async () => {
    const home = await mkdtemp(join(tmpdir(), 'steno-home-'))
    try {
      await mkdir(join(home, '.postgresql'))
      const text = `host=localhost hostaddr=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=require`
      await copyFile(secure.certificates!.otherCa, join(home, '.postgresql/root.crt'))
      await assert.rejects(connect(text, { environment: { HOME: home } }), UpstreamUnreachable)
      await copyFile(secure.certificates!.ca, join(home, '.postgresql/root.crt'))
      end(await connect(text, { environment: { HOME: home } }))
    } finally {
      await rm(home, { recursive: true })
    }
  })
  test('direct TLS agrees on the protocol and works', async () => {
    const session = await connect(
      `host=localhost hostaddr=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=require sslnegotiation=direct`,
    )
    assert.notEqual(session.tls, null)
    end(session)
  })
  test('a named root file that is missing is an error, not a connection without verification', async () => {
    await assert.rejects(
      connect(`host=127.0.0.1 port=${secure.port} user=x sslmode=require sslrootcert=/nonexistent/root.crt`),
      TlsFilesUnusable,
    )
  })
  test('the transport alone obeys sslmode too', async () => {
    const settings = parseConnectionString(
      `host=localhost hostaddr=127.0.0.1 port=${secure.port} sslmode=verify-full sslrootcert=${secure.certificates!.ca}`,
    )
    const connection = await openTransport(settings, settings.hosts[0]!)
    assert.notEqual(connection.tls, null)
    assert.equal(connection.socket.listenerCount('data'), 0)
    connection.socket.destroy()
    const other = parseConnectionString(`host=127.0.0.1 port=${plain.port} sslmode=require`)
    await assert.rejects(openTransport(other, other.hosts[0]!), UpstreamUnreachable)
  })
  test('a Unix socket is never encrypted, whatever sslmode says', async () => {
    const session = await connect(
      `host=${secure.folder} port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=verify-full`,
    )
    assert.equal(session.tls, null)
    assert.match(await query(session, 'select 42'), /42/)
    end(session)
  })
  test('a cancel stops what runs, over TLS and plain', async () => {
    for (const mode of ['disable', 'require']) {
      const settings = parseConnectionString(
        `host=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=${mode}`,
      )
      const session = await connectUpstream(settings, { database: 'postgres', parameters: {} }, { allowCleartextPassword: false })
      const answer = query(session, 'select pg_sleep(20)')
      await sleep(100)
      await sendCancel(settings, session.target, session.processId, session.cancelKey)
      assert.match(await answer, /57014/)
      end(session)
    }
  })
  test('protocol 3.2 is asked for when the string says so, and gives a longer cancel key', async () => {
    const text = `host=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password} sslmode=disable`
    const [old, current] = [await connect(text), await connect(`${text} max_protocol_version=3.2`)]
    assert.deepEqual([old.protocolMinor, old.cancelKey.length], [0, 4])
    assert.deepEqual([current.protocolMinor, current.cancelKey.length], [2, 32])
    const answer = query(current, 'select pg_sleep(20)')
    await sleep(100)
    await sendCancel(parseConnectionString(text), current.target, current.processId, current.cancelKey)
    assert.match(await answer, /57014/)
    end(old)
    end(current)
  })
  test('what the server said at start-up is kept for the agent, and nothing of the authentication', async () => {
    const session = await connect(`host=127.0.0.1 port=${secure.port} user=${secure.superuser} password=${secure.password}`, {
      parameters: { application_name: 'agent', TimeZone: 'Asia/Tokyo' },
    })
    assert.equal(session.parameters['application_name'], 'agent')
    assert.equal(session.parameters['TimeZone'], 'Asia/Tokyo')
    assert.equal(session.transactionStatus, 'I'.charCodeAt(0))
    assert.ok(session.startupFrames.every((frame) => frame[0] === 'S'.charCodeAt(0)) && session.startupFrames.length > 5)
    assert.deepEqual(
      session.socket
        .eventNames()
        .filter(
          (name) => ['data', 'readable', 'end'].includes(String(name)) && session.socket.listenerCount(name) > (name === 'end' ? 1 : 0),
        ),
      [],
    )
    end(session)
  })
  test("the operator's options win over the agent's, however the agent sets them", async () => {
    const text = `host=127.0.0.1 port=${plain.port} user=${plain.superuser} password=${plain.password} options='-c statement_timeout=111 --lock-timeout=222'`
    const session = await connect(text, {
      parameters: { options: '-c statement_timeout=5 -c work_mem=9MB', statement_timeout: '6', Lock_timeout: '7', user: 'root' },
    })
    const answer = await query(
      session,
      "select 'a' || current_setting('statement_timeout') || ':' || current_setting('lock_timeout') || ':' || current_setting('work_mem') || ':' || current_user",
    )
    assert.match(answer, /a111ms:222ms:9MB:postgres/)
    end(session)
  })
})

describe('signing in', () => {
  const users = ['scram', 'md5', 'clear', 'trusted', 'nossl', 'onlyssl']
  const password = 'pä$$ wörd\u00a0x'
  let server: EmbeddedPostgres
  let base: string
  before(async () => {
    server = await startPostgres({
      tls: true,
      hba: [
        'host all scram 127.0.0.1/32 scram-sha-256',
        'host all md5 127.0.0.1/32 md5',
        'host all clear 127.0.0.1/32 password',
        'host all trusted 127.0.0.1/32 trust',
        'hostnossl all nossl 127.0.0.1/32 scram-sha-256',
        'hostssl all nossl 127.0.0.1/32 reject',
        'hostssl all onlyssl 127.0.0.1/32 scram-sha-256',
        'hostnossl all onlyssl 127.0.0.1/32 reject',
      ],
      settings: { max_connections: '20', superuser_reserved_connections: '3' },
    })
    for (const user of users) {
      await server.query(
        `set password_encryption = '${user === 'md5' ? 'md5' : 'scram-sha-256'}'; create role "${user}" login password '${password}'`,
      )
    }
    base = `host=localhost hostaddr=127.0.0.1 port=${server.port} dbname=postgres`
  })
  after(() => server.stop('immediate'))
  const as = (user: string, more = '', secret = password): string =>
    `${base} user=${user} password='${secret.replaceAll("'", "\\'")}' ${more}`
  const signsIn = async (text: string, more = {}): Promise<void> => end(await connect(text, more))

  test('SCRAM without and with channel binding', async () => {
    await signsIn(as('scram', 'sslmode=disable require_auth=scram-sha-256'))
    await signsIn(as('scram', 'sslmode=require channel_binding=require'))
    await signsIn(as('scram', 'sslmode=require channel_binding=disable'))
    await assert.rejects(connect(as('scram', 'sslmode=disable channel_binding=require')), SignInImpossible)
  })
  test('MD5 where the server asks for it', async () => {
    await signsIn(as('md5', 'sslmode=disable require_auth=md5'))
    await assert.rejects(
      connect(as('md5', 'require_auth=!md5')),
      (error) => error instanceof SignInImpossible && error.message.includes('md5'),
    )
    await assert.rejects(connect(as('md5', 'sslmode=require channel_binding=require')), SignInImpossible)
  })
  test('a password goes out in clear only over TLS, unless that was allowed', async () => {
    await signsIn(as('clear', 'sslmode=require'))
    await assert.rejects(
      connect(as('clear', 'sslmode=disable')),
      (error) => error instanceof SignInImpossible && error.remedy.includes('sslmode'),
    )
    await signsIn(as('clear', 'sslmode=disable'), { cleartext: true })
  })
  test('a server that asks nothing is fine unless something was required', async () => {
    await signsIn(`${base} user=trusted`)
    await signsIn(`${base} user=trusted require_auth=none`)
    await assert.rejects(connect(`${base} user=trusted require_auth=scram-sha-256`), SignInImpossible)
    await assert.rejects(connect(`${base} user=trusted sslmode=require channel_binding=require`), SignInImpossible)
  })
  test("a wrong password brings the database's own error, frame and all", async () => {
    for (const user of ['scram', 'md5']) {
      for (const mode of ['disable', 'prefer', 'require', 'allow']) {
        await assert.rejects(connect(as(user, `sslmode=${mode}`, 'wrong one')), (error) => {
          assert.ok(error instanceof UpstreamRefused, String(error))
          assert.equal(error.fields.code, '28P01')
          assert.equal(error.fields.message, `password authentication failed for user "${user}"`)
          assert.deepEqual(decodeErrorResponse(error.frame.subarray(5)), error.fields)
          return true
        })
      }
    }
  })
  test('no password at all is said before the server is bothered', async () => {
    await assert.rejects(connect(`${base} user=scram`), (error) => error instanceof SignInImpossible && error.remedy.includes('passfile'))
  })
  test('a database that does not exist and a full server answer in their own words', async () => {
    await assert.rejects(
      connect(as('scram'), { database: 'nowhere' }),
      (error) => error instanceof UpstreamRefused && error.fields.code === '3D000',
    )
    const sessions: UpstreamSession[] = []
    try {
      await assert.rejects(
        async () => {
          for (let count = 0; count < 30; count++) sessions.push(await connect(as('scram')))
        },
        (error) => error instanceof UpstreamRefused && error.fields.code === '53300',
      )
    } finally {
      sessions.forEach(end)
    }
    await sleep(100)
  })
  test('allow and prefer go on to the other encryption when the rules of the server demand it', async () => {
    const encrypted = async (text: string): Promise<boolean> => {
      const session = await connect(text)
      end(session)
      return session.tls !== null
    }
    assert.equal(await encrypted(as('onlyssl', 'sslmode=allow')), true)
    assert.equal(await encrypted(as('nossl', 'sslmode=prefer')), false)
    await assert.rejects(
      connect(as('onlyssl', 'sslmode=disable')),
      (error) => error instanceof UpstreamRefused && error.fields.code === '28000',
    )
    await assert.rejects(
      connect(as('nossl', 'sslmode=require')),
      (error) => error instanceof UpstreamRefused && error.fields.code === '28000',
    )
  })
  test('of two refusals the one that says more is told: the wrong password, not the rule for the other encryption', async () => {
    const refused = (error: unknown): boolean => error instanceof UpstreamRefused && error.fields.code === '28P01'
    await assert.rejects(connect(as('onlyssl', 'sslmode=prefer', 'wrong one')), refused)
    await assert.rejects(connect(as('onlyssl', 'sslmode=allow', 'wrong one')), refused)
  })
  test('the password file is asked when the string has no password, and must be private', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'steno-passfile-'))
    const file = join(folder, 'pass')
    try {
      await writeFile(file, `localhost:${server.port}:*:scram:${password}\n`, { mode: 0o600 })
      await signsIn(`${base} user=scram passfile=${file}`)
      await chmod(file, 0o644)
      await assert.rejects(
        connect(`${base} user=scram passfile=${file}`),
        (error) => error instanceof SignInImpossible && error.remedy.includes('0600'),
      )
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('client certificates', () => {
  let server: EmbeddedPostgres
  let folder: string
  before(async () => {
    server = await startPostgres({ tls: true, authentication: 'cert' })
    folder = await mkdtemp(join(tmpdir(), 'steno-client-'))
  })
  after(async () => {
    await server.stop('immediate')
    await rm(folder, { recursive: true })
  })
  const text = (certificate: string, key: string, more = ''): string =>
    `host=localhost hostaddr=127.0.0.1 port=${server.port} user=${server.superuser} sslmode=verify-full sslrootcert=${server.certificates!.ca} sslcert=${certificate} sslkey=${key} ${more}`

  test('the right certificate is let in, with a clear and an encrypted key', async () => {
    const { client, clientKey } = server.certificates!
    end(await connect(text(client, clientKey)))
    const encrypted = join(folder, 'client.key')
    const key = createPrivateKey(await readFile(clientKey)).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'open sesame',
    })
    await writeFile(encrypted, key, { mode: 0o600 })
    end(await connect(text(client, encrypted, "sslpassword='open sesame'")))
    await assert.rejects(
      connect(text(client, encrypted, 'sslpassword=wrong')),
      (error) => error instanceof TlsFilesUnusable && error.remedy.includes('sslpassword') && !error.message.includes('wrong'),
    )
    await chmod(encrypted, 0o644)
    await assert.rejects(
      connect(text(client, encrypted, "sslpassword='open sesame'")),
      (error) => error instanceof TlsFilesUnusable && error.message.includes('others may read'),
    )
  })
  test('no certificate, a foreign one, and one without its key are refused', async () => {
    const { client, otherClient, otherClientKey } = server.certificates!
    await assert.rejects(connect(text("''", "''")), UpstreamRefused)
    await assert.rejects(connect(text(otherClient, otherClientKey)), UpstreamUnreachable)
    await assert.rejects(connect(text(client, join(folder, 'none'))), TlsFilesUnusable)
    const stray = join(folder, 'stray.key')
    await writeFile(stray, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
    await assert.rejects(connect(text(client, stray)), TlsFilesUnusable)
  })
})

describe('several hosts', () => {
  let writable: EmbeddedPostgres
  let readOnly: EmbeddedPostgres
  let older: EmbeddedPostgres | null = null
  const password = 'same'
  before(async () => {
    writable = await startPostgres()
    readOnly = await startPostgres()
    for (const server of [writable, readOnly]) await server.query(`create role u login password '${password}'`)
    await readOnly.query('alter role u set default_transaction_read_only = on')
  })
  after(async () => {
    await writable.stop('immediate')
    await readOnly.stop('immediate')
    await older?.stop('immediate')
  })
  const to = (ports: number[], more = ''): string =>
    `host=${ports.map(() => '127.0.0.1').join(',')} port=${ports.join(',')} user=u password=${password} dbname=postgres sslmode=disable ${more}`

  test('a dead host is passed over', async () => {
    const session = await connect(to([freePortNobodyListensOn, writable.port]))
    assert.equal(session.port, writable.port)
    end(session)
  })
  test('when all are dead, each is named with its reason', async () => {
    await assert.rejects(connect(`host=127.0.0.1,steno.invalid port=${freePortNobodyListensOn},5 user=u password=${password}`), (error) => {
      assert.ok(error instanceof UpstreamUnreachable)
      assert.equal(error.sqlState, '08006')
      assert.deepEqual(
        error.attempts.map(({ host, port }) => `${host}:${port}`),
        [`127.0.0.1:${freePortNobodyListensOn}`, 'steno.invalid:5'],
      )
      assert.match(error.message, /ECONNREFUSED.*does not resolve/s)
      assert.ok(!error.message.includes(password))
      return true
    })
  })
  test('a host that refuses us ends the search', async () => {
    await assert.rejects(connect(to([writable.port, readOnly.port]).replace('password=same', 'password=other')), UpstreamRefused)
  })
  test('target_session_attrs finds the fitting host', async () => {
    const both = [readOnly.port, writable.port]
    const portFor = async (attributes: string, ports = both): Promise<number> => {
      const session = await connect(to(ports, `target_session_attrs=${attributes}`))
      end(session)
      return session.port
    }
    assert.equal(await portFor('any'), readOnly.port)
    assert.equal(await portFor('read-write'), writable.port)
    assert.equal(await portFor('read-only', [writable.port, readOnly.port]), readOnly.port)
    assert.equal(await portFor('primary'), readOnly.port)
    assert.equal(await portFor('prefer-standby'), readOnly.port)
    await assert.rejects(
      connect(to(both, 'target_session_attrs=standby')),
      (error) => error instanceof UpstreamUnreachable && error.message.includes('not a standby'),
    )
  })
  test('load_balance_hosts reaches all of them', async () => {
    const ports = new Set<number>()
    for (let count = 0; count < 40 && ports.size < 2; count++) {
      const session = await connect(to([writable.port, readOnly.port], 'load_balance_hosts=random'))
      ports.add(session.port)
      end(session)
    }
    assert.equal(ports.size, 2)
  })
  test('protocol 3.2 falls back against a server that does not know it', async () => {
    older = await startPostgres({ version: 15 })
    const text = `host=127.0.0.1 port=${older.port} user=${older.superuser} password=${older.password} sslmode=disable`
    const session = await connect(`${text} max_protocol_version=3.2`)
    assert.deepEqual([session.protocolMinor, session.cancelKey.length], [0, 4])
    end(session)
    await assert.rejects(connect(`${text} min_protocol_version=3.2`), SignInImpossible)
  })
})
