/** Goal: each sslmode means what libpq's documentation says, and a session has what was asked for. Method: real servers with and without TLS. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connect, end, query } from './connect-for-tests.ts'
import { connectUpstream, openTransport, sendCancel } from './connect.ts'
import { TlsFilesUnusable, UpstreamUnreachable } from './errors.ts'

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
  const untilSleeping = async (processId: number): Promise<void> => {
    const asleep = `select 1 from pg_stat_activity where pid = ${processId} and wait_event = 'PgSleep'`
    while ((await secure.query(asleep)).length === 0) await sleep(10)
  }
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
      const answer = query(session, 'select pg_sleep(120)')
      await untilSleeping(session.processId)
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
    const answer = query(current, 'select pg_sleep(120)')
    await untilSleeping(current.processId)
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
