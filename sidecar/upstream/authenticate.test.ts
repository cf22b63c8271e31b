/** Goal: each way of signing in means what libpq's documentation says. Method: real servers, one per configuration. */
import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeErrorResponse } from '../../postgres/startup-messages.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { connect, end } from './connect-for-tests.ts'
import type { UpstreamSession } from './connect.ts'
import { SignInImpossible, TlsFilesUnusable, UpstreamRefused, UpstreamUnreachable } from './errors.ts'

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
    // Whoever signs in next finds room.
    while ((await server.query("select 1 from pg_stat_activity where usename = 'scram'")).length > 0) await sleep(10)
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
