// Goal: a connection passes only where policy says so, however host and mode are written. Method: tables of what is and what is not allowed,
// and made-up names around a wildcard.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { effectiveMode, hostIsAllowed, isWholeName, problemsOf, type RealConnection } from './allowed.ts'

const hosts = ['db.example.com', '*.prod.example.com', '10.1.2.3', '2001:db8::1']

for (const [host, expected] of [
  ['db.example.com', true],
  ['DB.Example.COM', true],
  ['db.example.com.', true],
  ['db.example.com.evil.net', false],
  ['xdb.example.com', false],
  ['a.prod.example.com', true],
  ['a.b.prod.example.com', true],
  ['prod.example.com', false],
  ['.prod.example.com', false],
  ['evilprod.example.com', false],
  ['a/.prod.example.com', false],
  ['a .prod.example.com', false],
  ['10.1.2.3', true],
  ['10.1.2.30', false],
  ['010.1.2.3', false],
  ['2001:db8:0::1', true],
  ['2001:DB8::1', true],
  ['2001:db8::1%eth0', false],
  ['::ffff:10.1.2.3', false],
  ['', false],
  ['*.prod.example.com', false],
] as const) {
  test(`the host ${JSON.stringify(host)} is ${expected ? '' : 'not '}allowed`, () => {
    assert.equal(hostIsAllowed(host, hosts), expected)
  })
}

test('a dot at the end of a host, here or there, changes nothing of what is allowed', () => {
  for (const host of ['db.corp', 'db.corp.'])
    for (const dot of ['', '.']) {
      for (const pattern of ['db.corp', '*.corp']) assert.ok(hostIsAllowed(host, [pattern + dot]), `${host} ${pattern}${dot}`)
      for (const pattern of ['corp', '*.db.corp', 'xdb.corp']) assert.ok(!hostIsAllowed(host, [pattern + dot]), `${host} ${pattern}${dot}`)
    }
})

test('a wildcard allows what lies below it and nothing else', () => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/)
  fc.assert(
    fc.property(fc.array(label, { minLength: 1, maxLength: 4 }), fc.constantFrom('.', '-', '', '/', '@'), (labels, joint) => {
      const name = `${labels.join('.')}${joint}prod.example.com`
      assert.equal(hostIsAllowed(name, hosts), joint === '.', name)
    }),
  )
})

for (const [host, patterns, expected] of [
  ['db.corp', ['db.corp.'], true],
  ['DB.corp.', ['db.Corp.'], true],
  ['db.corp', ['*.corp.'], true],
  ['a.db.corp', ['*.corp.'], true],
  ['db.corp', ['db.corp', '*.corp.'], true],
  ['db.corp', ['db.corp'], false],
  ['db.corp.', ['db.corp'], false],
  ['db.corp', ['*.corp', 'other.corp.'], false],
  ['corp', ['*.corp.'], false],
  ['10.0.0.5', ['10.0.0.5'], false],
  ['/run/postgresql', ['*.corp.'], false],
] as const) {
  test(`${host} is ${expected ? '' : 'not '}looked up as a whole name where ${patterns.join(' and ')} is allowed`, () => {
    assert.equal(isWholeName(host, patterns), expected)
  })
}

for (const [floor, written, expected] of [
  ['verify-full', null, 'verify-full'],
  ['require', null, 'require'],
  ['require', 'verify-full', 'verify-full'],
  ['verify-ca', 'require', 'verify-ca'],
  ['disable', null, 'prefer'],
  ['disable', 'disable', 'disable'],
] as const) {
  test(`under ${floor}, sslmode ${written ?? 'unsaid'} becomes ${expected}`, () => assert.equal(effectiveMode(floor, written), expected))
}

const fitting: RealConnection = { hosts: [{ name: 'db.example.com', address: null, port: 5432 }], database: 'shop', sslMode: 'verify-full' }
const listener = { allowed: { hosts, port: 5432, databaseNames: ['shop', 'stock'] }, tls: { mode: 'verify-ca' as const, caVariable: null } }

for (const [what, change, count] of [
  ['fits', {}, 0],
  ['opens another database of the policy', { database: 'stock' }, 0],
  ['names no database', { database: null }, 0],
  ['says nothing of TLS', { sslMode: null }, 0],
  ['is as strict as asked', { sslMode: 'verify-ca' }, 0],
  ['is weaker', { sslMode: 'require' }, 1],
  ['names an address beside an allowed name', { hosts: [{ name: 'db.example.com', address: '10.9.9.9', port: 5432 }] }, 1],
  ['names an allowed address beside an allowed name', { hosts: [{ name: 'db.example.com', address: '10.1.2.3', port: 5432 }] }, 0],
  ['has a second host elsewhere', { hosts: [...fitting.hosts, { name: 'else.net', address: null, port: 5432 }] }, 1],
  ['is wrong in everything', { hosts: [{ name: 'else.net', address: null, port: 1 }], database: 'x', sslMode: 'disable' }, 4],
] as const) {
  test(`a connection that ${what} has ${count} problems`, () => {
    const real = { ...fitting, ...(change as Partial<RealConnection>) }
    assert.equal(problemsOf(real, listener, { mayBeShown: true }).length, count)
    const hidden = JSON.stringify(problemsOf(real, listener, { mayBeShown: false }))
    assert.doesNotMatch(hidden, /else\.net|10\.9\.9\.9|"x\\"/, 'what may not be shown is not')
  })
}
