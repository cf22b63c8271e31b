/** Goal: a pattern covers exactly the hosts it says, and a ceiling exactly the patterns within it. Method: tables, and hosts of any shape. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ceilingAdmits, hostMatches, isHostPattern } from './host-pattern.ts'

const matches: readonly (readonly [string, string, boolean])[] = [
  ['db.example.com', 'db.example.com', true],
  ['db.example.com', 'DB.example.COM', true],
  ['db.example.com', 'db.example.com.', true],
  ['db.example.com.', 'db.example.com', true],
  ['*.example.com.', 'db.example.com', true],
  ['db.example.com', 'xdb.example.com', false],
  ['db.example.com', 'db.example.com.evil.net', false],
  ['*.example.com', 'db.example.com', true],
  ['*.example.com', 'a.b.example.com', true],
  ['*.example.com', 'example.com', false],
  ['*.example.com', '.example.com', false],
  ['*.example.com', 'evilexample.com', false],
  ['*.example.com', '*.example.com', false],
  ['*', 'anything', true],
  ['*', '10.0.0.1', false],
  ['*.0.0.1', '10.0.0.1', false],
  ['10.0.0.1', '10.0.0.1', true],
  ['10.0.0.1', '10.0.0.10', false],
  ['fd00::5', '[FD00:0::5]', true],
  ['fd00::5', 'fd00::6', false],
  ['localhost', 'localhost', true],
  ['db', '', false],
  ['*', '', false],
  ['*', 'a b', false],
  ['*', '/var/run/postgresql', false],
]
for (const [pattern, host, covers] of matches) {
  test(`${pattern} ${covers ? 'covers' : 'does not cover'} ${JSON.stringify(host)}`, () => assert.equal(hostMatches(pattern, host), covers))
}

test('a host may stand in a policy when it is a name, a wildcard of whole labels, or an address', () => {
  for (const good of [
    'db',
    'db.example.com',
    '_db._tcp.example',
    '*.example.com',
    'db.corp.',
    '*.corp.',
    '10.0.0.5',
    'fd00::5',
    'x'.repeat(253),
  ])
    assert.ok(isHostPattern(good), good)
  for (const bad of [
    '',
    '*',
    '*.',
    '.',
    'a..',
    '10.0.0.5.',
    '1.2.3.',
    'a..b',
    '-a',
    'a-',
    'a.*.b',
    '*a.b',
    '10.0.0.256',
    '1.2.3',
    '[::1]',
    'a:5432',
    'a/b',
    'a b',
    'x'.repeat(254),
  ]) {
    assert.ok(!isHostPattern(bad), bad)
  }
})

test('what a ceiling admits covers no host that the ceiling itself does not cover', () => {
  const label = fc.constantFrom('a', 'b', 'eu', 'com')
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
  const pattern = fc.tuple(fc.boolean(), name).map(([wild, text]) => (wild ? `*.${text}` : text))
  fc.assert(
    fc.property(fc.array(pattern, { maxLength: 3 }), pattern, name, (hosts, asked, host) => {
      if (!ceilingAdmits({ hosts, addressRanges: [] }, asked) || !hostMatches(asked, host)) return
      assert.ok(
        hosts.some((outer) => hostMatches(outer, host)),
        `${asked} within ${hosts.join(' ')} covers ${host}`,
      )
    }),
    { numRuns: 2000 },
  )
})

test('an address is admitted by its range or by its own name, a name never by a range', () => {
  assert.ok(ceilingAdmits({ hosts: [], addressRanges: ['10.0.0.0/8'] }, '10.1.2.3'))
  assert.ok(ceilingAdmits({ hosts: ['10.1.2.3'], addressRanges: [] }, '10.1.2.3'))
  assert.ok(!ceilingAdmits({ hosts: ['*'], addressRanges: [] }, '10.1.2.3'))
  assert.ok(!ceilingAdmits({ hosts: [], addressRanges: ['0.0.0.0/0', '::/0'] }, 'db.example.com'))
})
