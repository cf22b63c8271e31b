// Goal: a connection that the policy does not allow never opens, and whoever looks at the pod is told why without being told a secret.
// Method: the sidecar as a process; each case ends it with the exit code for configuration, and its log and termination message are read.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import type { Listener } from '../../crds/sidecar-config.ts'
import { findSecrets } from '../secrets/search.ts'
import { listenerFor, spawnSidecar } from './sidecar-process.ts'

const password = 'Kx7-unutterable-Qz'
const allowed = { hosts: ['db.example.com', '*.prod.example.com', '10.1.2.3'], port: 5432, databaseNames: ['shop'] }
const verifyFull = { mode: 'verify-full', caVariable: null } as const

type Case = {
  readonly what: string
  readonly url: string | undefined
  readonly says: RegExp
  readonly tls?: Listener['tls']
  readonly variables?: Readonly<Record<string, string>>
}

const cases: readonly Case[] = [
  {
    what: 'another host',
    url: `postgresql://u:${password}@evil.example.net/shop`,
    says: /host "evil\.example\.net", and the policy allows db\.example\.com, \*\.prod/,
  },
  { what: 'the domain of a wildcard itself', url: `postgresql://u:${password}@prod.example.com/shop`, says: /host "prod\.example\.com"/ },
  {
    what: 'one host of several',
    url: `postgresql://u:${password}@db.example.com,other.example.com/shop`,
    says: /host "other\.example\.com"/,
  },
  {
    what: 'an address behind an allowed name',
    url: `postgresql://u:${password}@db.example.com/shop?hostaddr=10.9.9.9`,
    says: /host "10\.9\.9\.9"/,
  },
  { what: 'another port', url: `postgresql://u:${password}@db.example.com:6432/shop`, says: /port 6432, and the policy allows 5432/ },
  {
    what: 'another database',
    url: `postgresql://u:${password}@db.example.com/payroll`,
    says: /database "payroll", and the policy allows shop/,
  },
  {
    what: 'weaker TLS',
    url: `postgresql://u:${password}@db.example.com/shop?sslmode=require`,
    says: /sslmode=require, and the policy demands verify-full/,
  },
  {
    what: 'no TLS, as drivers write it',
    url: `postgresql://u:${password}@db.example.com/shop?ssl=false`,
    says: /sslmode=disable, and the policy demands verify-full/,
  },
  { what: 'a Unix socket', url: `postgresql://u:${password}@/shop?host=/var/run/postgresql`, says: /no host, or a Unix socket/ },
  { what: 'no host', url: `postgresql://u:${password}@/shop`, says: /no host, or a Unix socket/ },
  { what: 'no user', url: 'postgresql://db.example.com/shop', says: /names no user/ },
  { what: 'a password without a user', url: `postgresql://:${password}@db.example.com/shop`, says: /names no user/ },
  {
    what: 'a file of the agent',
    url: `postgresql://u:${password}@db.example.com/shop?sslcert=/etc/agent/tls.crt`,
    says: /names a file by sslcert/,
  },
  {
    what: 'certificates in a file of the agent',
    url: `postgresql://u:${password}@db.example.com/shop?sslrootcert=/etc/agent/ca.crt`,
    says: /file of certificates by sslrootcert/,
  },
  {
    what: 'a mode that is none',
    url: `postgresql://u:${password}@db.example.com/shop?sslmode=strict`,
    says: /sslmode has a value that cannot be used/,
  },
  { what: 'another engine', url: `mysql://u:${password}@db.example.com/shop`, says: /holds no connection string of PostgreSQL/ },
  {
    what: 'a password that is not encoded',
    url: `postgresql://u:a@${password}/b@db.example.com/shop`,
    says: /\(not shown\)|cannot|behind the first/,
  },
  { what: 'a password with a question mark', url: `postgresql://u:12?${password}@db.example.com/shop`, says: /not shown|names no user/ },
  { what: 'nothing', url: '', says: /STENO_SOURCE_0_DATABASE_URL is empty or not set/ },
  { what: 'no variable', url: undefined, says: /STENO_SOURCE_0_DATABASE_URL is empty or not set/ },
  {
    what: 'an authority that is missing',
    url: `postgresql://u:${password}@db.example.com/shop`,
    tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' },
    says: /STENO_CA_0 holds no certificate/,
  },
  {
    what: 'an authority that is none',
    url: `postgresql://u:${password}@db.example.com/shop`,
    tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' },
    variables: { STENO_CA_0: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
    says: /STENO_CA_0 holds a certificate that cannot be read/,
  },
  {
    what: 'verify-ca by anybody',
    url: `postgresql://u:${password}@db.example.com/shop`,
    tls: { mode: 'verify-ca', caVariable: null },
    says: /a certificate that anybody can get/,
  },
]

for (const { what, url, says, tls = verifyFull, variables = {} } of cases) {
  test(
    `a connection with ${what} is refused, with its reason in the termination message and no secret`,
    { timeout: 300_000 },
    async (t) => {
      const listener = { ...listenerFor(0, { localPort: 15_432, port: 5432, tls }), allowed }
      const sidecar = await spawnSidecar(t, {
        listeners: [listener],
        variables: { ...(url === undefined ? {} : { STENO_SOURCE_0_DATABASE_URL: url }), ...variables },
      })
      assert.equal(await sidecar.ended, 78)
      const message = sidecar.terminationMessage()
      assert.match(message, says)
      assert.match(message, /^steno did not start: SOURCES_REFUSED: database database-0 \(STENO_SOURCE_0_DATABASE_URL\): /)
      assert.ok(message.trim().split('\n').length === 2, 'the second line says what to do')
      assert.match(sidecar.stderr(), /"code":"SOURCES_REFUSED"/)
      const places = [message, sidecar.stdout(), sidecar.stderr()].map((text, at) => ({ name: String(at), bytes: Buffer.from(text) }))
      assert.deepEqual(findSecrets(places, new Map([['the password', password]])), [])
      assert.deepEqual(readdirSync(sidecar.folder).sort(), ['store', 'termination-log'], 'nothing is begun')
    },
  )
}

test('all that does not fit is said at once, for every database', { timeout: 300_000 }, async (t) => {
  const sidecar = await spawnSidecar(t, {
    listeners: [0, 1].map((number) => ({ ...listenerFor(number, { localPort: 15_432 + number, port: 5432, tls: verifyFull }), allowed })),
    variables: {
      STENO_SOURCE_0_DATABASE_URL: `postgresql://u:${password}@a.example.net:1/x?sslmode=disable`,
      STENO_SOURCE_1_DATABASE_URL: `postgresql://u:${password}@b.example.net/shop`,
    },
  })
  assert.equal(await sidecar.ended, 78)
  const message = sidecar.terminationMessage()
  for (const part of [/database-0.*"a\.example\.net"/, /port 1,/, /database "x"/, /sslmode=disable/, /database-1.*"b\.example\.net"/])
    assert.match(message, part)
})

for (const [what, configText] of [
  ['no JSON', '{'],
  ['of another version', '{"version":2}'],
  ['missing', ''],
] as const) {
  test(`a configuration that is ${what} is refused as such`, { timeout: 300_000 }, async (t) => {
    const sidecar = await spawnSidecar(t, { listeners: [], configText })
    assert.equal(await sidecar.ended, 78)
    assert.match(sidecar.terminationMessage(), /^steno did not start: SIDECAR_CONFIG_INVALID: STENO_SIDECAR_CONFIG/)
  })
}
