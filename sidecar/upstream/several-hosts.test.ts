/** Goal: of several hosts the fitting one is found, as libpq would. Method: real servers, of two versions, and ports where nobody listens. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connect, end } from './connect-for-tests.ts'
import { SignInImpossible, UpstreamRefused, UpstreamUnreachable } from './errors.ts'

const freePortNobodyListensOn = 1

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
