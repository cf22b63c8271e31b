/** Goal: SCRAM as the RFCs have it, from both ends. Method: the RFC's own example, our two ends against each other, and every message bent. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { KnownError } from '../../base/errors.ts'
import { md5Answer } from './md5.ts'
import { findPassword } from './password-file.ts'
import { createScramClient } from './scram-client.ts'
import { createScramServer, TokenRefused } from './scram-server.ts'
import { createKeyCache, deriveKeys, preparePassword, ScramFailed } from './scram.ts'
import { Secret } from './secret.ts'

const clientOf = (password: string) => createScramClient({ password: new Secret(password), channelBinding: { kind: 'impossible' } })
async function exchange(token: string, password: string): Promise<void> {
  const server = createScramServer({ secret: new Secret(token) }).start()
  const client = clientOf(password)
  client.verify(server.verify(await client.final(server.challenge(client.first()))))
}

test('RFC 7677: the keys of its example give its proof and its signature', async () => {
  // The RFC's client names a user and ours does not, so the exchange is computed here from the same derived keys.
  const { createHmac } = await import('node:crypto')
  const keys = await deriveKeys('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096)
  const authMessage =
    'n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
  const signature = createHmac('sha256', keys.storedKey).update(authMessage).digest()
  const proof = Buffer.from(keys.clientKey.map((byte, at) => byte ^ signature[at]!)).toString('base64')
  assert.equal(proof, 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=')
  assert.equal(createHmac('sha256', keys.serverKey).update(authMessage).digest('base64'), '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

test('the right token is let in, whatever it is made of', async () => {
  for (const token of ['secret', 'пароль', 'a\u00adb', '\u0627x', 'I\u00aaX', '😀', 'tab\there']) await exchange(token, token)
})

test('a client that could bind to a channel, and one with an authorization identity, are taken', async () => {
  const server = createScramServer({ secret: new Secret('token') })
  const client = createScramClient({ password: new Secret('token'), channelBinding: { kind: 'unused' } })
  const open = server.start()
  client.verify(open.verify(await client.final(open.challenge(client.first()))))
  server.start().challenge(Buffer.from('n,a=someone,n=anyone,r=abc'))
  const bound = createScramClient({ password: new Secret('token'), channelBinding: { kind: 'bound', certificateHash: Buffer.alloc(32) } })
  assert.equal(bound.mechanism, 'SCRAM-SHA-256-PLUS')
  assert.throws(() => server.start().challenge(bound.first()), ScramFailed)
})

test('a wrong token is refused as PostgreSQL refuses a wrong password', async () => {
  await assert.rejects(
    exchange('secret', 'Secret'),
    (error) => error instanceof TokenRefused && error.sqlState === '28P01' && !error.message.includes('ecret'),
  )
})

test('passwords are prepared as PostgreSQL prepares them', () => {
  const cases: [string, string][] = [
    ['plain ascii \x01', 'plain ascii \x01'],
    ['I\u00adX', 'IX'], // A soft hyphen is nothing.
    ['\u00aa', 'a'], // Compatibility characters are normalised.
    ['a\u00a0b', 'a b'], // A no-break space is a space.
    ['\u0627\u0031', '\u0627\u0031'], // Mixed directions cannot be prepared: as it is.
    ['é\u0007', 'é\u0007'], // A control character neither.
    ['\u00ad', '\u00ad'], // What would be nothing stays.
    ['\u0221', '\u0221'], // Unassigned in Unicode 3.2.
  ]
  for (const [from, to] of cases) assert.equal(preparePassword(from), to)
})

test('a bent message from the server is refused before anything is proven', async () => {
  const nonce = 'fixed'
  const bad = [
    '',
    'r=fixed,s=AAAA,i=4096',
    'r=other1,s=AAAA,i=4096',
    'r=fixed1,s=,i=4096',
    'r=fixed1,s=A,i=4096',
    'r=fixed1,s=AAAA,i=0',
    'r=fixed1,s=AAAA,i=-1',
    'r=fixed1,s=AAAA,i=1e3',
    'r=fixed1,s=AAAA,i=10000000',
    'm=x,r=fixed1,s=AAAA,i=1',
    's=AAAA,r=fixed1,i=1',
    `r=fixed1,s=${'A'.repeat(2000)},i=1`,
  ]
  for (const challenge of bad) {
    const client = createScramClient({ password: new Secret('x'), channelBinding: { kind: 'impossible' }, nonce })
    client.first()
    await assert.rejects(client.final(Buffer.from(challenge)), ScramFailed, challenge)
  }
  // The cap is what stops a hostile server: without it this would take seconds of a thread.
  const before = process.cpuUsage()
  await assert.rejects(clientOf('x').final(Buffer.from('r=1,s=AAAA,i=999999999')), ScramFailed)
  const { user, system } = process.cpuUsage(before)
  assert.ok((user + system) / 1_000 < 500)
})

test('a server that does not know the password is found out', async () => {
  const server = createScramServer({ secret: new Secret('right') }).start()
  const client = clientOf('right')
  const final = server.verify(await client.final(server.challenge(client.first())))
  for (let at = 2; at < final.length; at++) {
    const bent = Buffer.from(final)
    bent[at]! ^= 1
    assert.throws(() => client.verify(bent), ScramFailed)
  }
  for (const text of ['', 'v=', 'v=AAAA', 'e=other-error', 'x']) assert.throws(() => client.verify(Buffer.from(text)), ScramFailed)
  client.verify(final)
})

test('no bytes from an agent do anything but be refused', async () => {
  const server = createScramServer({ secret: new Secret('token') })
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 60 }),
      fc.constantFrom('', 'n,,n=,r=abc', 'y,,', 'c=biws,r=', 'p=tls-server-end-point,,n=,r=a'),
      (tail, head) => {
        const bytes = Buffer.concat([Buffer.from(head), tail])
        for (const step of ['challenge', 'verify'] as const) {
          const open = server.start()
          if (step === 'verify') open.challenge(Buffer.from('n,,n=,r=abc'))
          try {
            open[step](bytes)
            assert.equal(step, 'challenge', 'nothing random is a proof')
          } catch (error) {
            assert.ok(error instanceof KnownError, String(error))
          }
        }
      },
    ),
    { numRuns: 1000 },
  )
})

test('a proof for one exchange is worth nothing in another', async () => {
  const server = createScramServer({ secret: new Secret('token') })
  const [one, other] = [server.start(), server.start()]
  const client = clientOf('token')
  const proof = await client.final(one.challenge(client.first()))
  other.challenge(client.first())
  assert.throws(() => other.verify(proof), ScramFailed)
})

test('derived keys are remembered, and only so many', async () => {
  const cache = createKeyCache({ entriesMax: 2 })
  const salt = Buffer.alloc(16)
  const first = await cache.keysOf(new Secret('a'), salt, 4096)
  assert.equal(await cache.keysOf(new Secret('a'), salt, 4096), first)
  assert.notEqual(await cache.keysOf(new Secret('b'), salt, 4096), first)
  assert.notEqual(await cache.keysOf(new Secret('a'), Buffer.alloc(16, 1), 4096), first)
  assert.equal(cache.size, 2)
})

test('the MD5 answer is the documented one', () => {
  const hex = (text: string | Buffer): string => createHash('md5').update(text).digest('hex')
  const salt = Buffer.from([1, 2, 3, 0xff])
  assert.equal(md5Answer({ user: 'u', password: new Secret('p'), salt }), `md5${hex(Buffer.concat([Buffer.from(hex('pu')), salt]))}`)
})

test('a password file is read as libpq reads it', () => {
  const file = [
    '# comment',
    'h:5432:db:me:first',
    '*:5432:*:other:a\\:b\\\\c',
    'h\\:x:1:d:u:esc',
    '\\:\\:1:1:d:u:six',
    '::2:1:d:u:bare',
    'h:*:*:*:last:ignored',
    '',
  ].join('\r\n')
  const find = (host: string, port: number, database: string, user: string) =>
    findPassword(file, { host, port, database, user })?.reveal() ?? null
  assert.equal(find('h', 5432, 'db', 'me'), 'first')
  assert.equal(find('x', 5432, 'y', 'other'), 'a:b\\c')
  assert.equal(find('h:x', 1, 'd', 'u'), 'esc')
  assert.equal(find('::1', 1, 'd', 'u'), 'six')
  assert.equal(find('::2', 1, 'd', 'u'), 'bare') // libpq compares character by character, so this fits too.
  assert.equal(find('h', 9, 'any', 'any'), 'last')
  assert.equal(find('g', 9, 'any', 'any'), null)
})
