// Goal: no piece of a password is ever named as a host, however the URL that holds it was misspelt. Method: passwords with what ends the
// parts of a URL, put unencoded into each written form; everything said of them is searched.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Listener } from '../../crds/sidecar-config.ts'
import { placesOf } from '../upstream/addresses.ts'
import { podUpstream } from './upstream.ts'

const variable = 'STENO_SOURCE_0_DATABASE_URL'
const listener: Listener = {
  database: 'orders',
  localPort: 15_432,
  allowed: { hosts: ['db.example.com'], port: 5432, databaseNames: ['shop'] },
  tls: { mode: 'verify-full', caVariable: null },
  source: { kind: 'url', variable },
}

test('whatever a password does to the URL around it, nothing of it is told', () => {
  const piece = fc.stringMatching(/^(Xq|Zw|7831|Vk)$/)
  const password = fc.array(fc.tuple(piece, fc.constantFrom('@', ':', '/', '?', '#', '&', '=', ' ', '%', "'", '\\', ',', '[', ']', '')), {
    minLength: 1,
    maxLength: 4,
  })
  const form = fc.constantFrom(
    (secret: string) => `postgresql://user:${secret}@db.example.com:5432/shop`,
    (secret: string) => `postgresql+psycopg2://user:${secret}@db.example.com/shop?sslmode=require`,
    (secret: string) => `jdbc:postgresql://db.example.com/shop?user=user&password=${secret}`,
    (secret: string) => `host=db.example.com dbname=shop user=user password=${secret}`,
    (secret: string) => `host=db.example.com password='${secret}' user=user dbname=shop`,
  )
  fc.assert(
    fc.property(password, form, (pieces, write) => {
      const upstream = podUpstream(listener, new Map([[variable, write(pieces.flat().join(''))]]))
      const said = upstream.kind === 'unfit' ? JSON.stringify(upstream.problems) : JSON.stringify([upstream.settings, upstream.warnings])
      assert.doesNotMatch(said, /Xq|Zw|7831|Vk/)
    }),
    { numRuns: 2_000 },
  )
})

test('a policy without TLS leaves the connection what it says; with an authority each certificate must come from it', () => {
  const open: Listener = { ...listener, tls: { mode: 'disable', caVariable: null } }
  const of = (text: string, by = open) => podUpstream(by, new Map([[variable, text]]))
  const plain = of('postgresql://u:p@db.example.com/shop?sslmode=disable')
  assert.ok(plain.kind === 'fits' && plain.settings.tls.mode === 'disable' && plain.settings.tls.rootCertificates === null)
  const unsaid = of('postgresql://u:p@db.example.com/shop', listener)
  assert.ok(unsaid.kind === 'fits' && unsaid.settings.tls.mode === 'verify-full')
  assert.deepEqual(unsaid.settings.tls.rootCertificates, { kind: 'public' })
  const system = of('postgresql://u:p@db.example.com/shop?sslrootcert=system')
  assert.ok(system.kind === 'fits' && system.settings.tls.mode === 'verify-full')
})

test('a name that the policy says is whole is looked up as it stands, and is otherwise what the connection string says', async () => {
  const asked: string[] = []
  const placesFor = async (hosts: string[], text: string) => {
    const allowed = { ...listener.allowed, hosts }
    const upstream = podUpstream({ ...listener, allowed }, new Map([[variable, text]]))
    assert.ok(upstream.kind === 'fits')
    for (const host of upstream.settings.hosts)
      await placesOf(host, {
        signal: AbortSignal.timeout(120_000),
        shuffled: false,
        lookUp: async (name) => {
          asked.push(name)
          return Promise.resolve([{ address: '10.0.0.5' }])
        },
      })
    return upstream.settings.hosts.map(({ name }) => name).join()
  }
  const two = 'host=db.corp,a.replicas.corp user=u password=p dbname=shop'
  assert.equal(await placesFor(['db.corp.', '*.replicas.corp'], two), 'db.corp,a.replicas.corp')
  await placesFor(['db.corp', '*.replicas.corp.'], two)
  await placesFor(['db.corp'], 'host=db.corp. user=u password=p dbname=shop')
  await placesFor(['db.corp.'], 'host=db.corp. user=u password=p dbname=shop')
  assert.deepEqual(asked, ['db.corp.', 'a.replicas.corp', 'db.corp', 'a.replicas.corp.', 'db.corp.', 'db.corp.'])
})

test('neither the home folder nor PG variables of the sidecar itself have a say', () => {
  process.env['PGPASSWORD'] = 'other'
  process.env['PGSSLCERT'] = '/etc/other'
  const upstream = podUpstream(listener, new Map([[variable, 'postgresql://u@db.example.com/shop']]))
  delete process.env['PGPASSWORD']
  delete process.env['PGSSLCERT']
  assert.ok(upstream.kind === 'fits')
  const { password, passwordFile, tls } = upstream.settings
  assert.deepEqual([password, passwordFile, tls.certificate, tls.defaultFolder], [null, null, null, null])
})
