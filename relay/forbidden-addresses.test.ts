// Goal: no spelling of an address gets past what forbids it. Method: a table of addresses, and properties over all forms that carry IPv4.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressFormsOf, textOf } from './address-forms.ts'
import { firstAddressesOf, whatForbids } from './forbidden-addresses.ts'

const none = { what: () => null }
const whatOf = (text: string, cluster: { what(text: string): string | null } = none): string | null => {
  const forms = addressFormsOf(text)
  assert.ok(forms !== null, text)
  return whatForbids(forms, cluster)
}

const forbidden = [
  ['0.0.0.0', 'unspecified'],
  ['0.1.2.3', 'unspecified'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['169.254.169.254', 'link-local'],
  ['169.254.170.2', 'link-local'],
  ['192.0.0.192', 'protocols'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.255', 'multicast'],
  ['255.255.255.255', 'broadcast'],
  ['240.0.0.1', 'reserved'],
  ['100.100.100.200', 'metadata'],
  ['168.63.129.16', 'metadata'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback'],
  ['fe80::1', 'link-local'],
  ['febf::1', 'link-local'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
  ['fd00:ec2::254', 'metadata'],
  ['FD00:0EC2::254', 'metadata'],
  ['fd20:ce::254', 'metadata'],
  ['2001:0:1::1', 'Teredo'],
  ['::127.0.0.1', 'loopback'],
  ['::ffff:7f00:1', 'loopback'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['0:0:0:0:0:ffff:127.0.0.1', 'loopback'],
  ['64:ff9b::127.0.0.1', 'loopback'],
  ['64:ff9b::a9fe:a9fe', 'link-local'],
  ['64:ff9b:1::a9fe:a9fe', 'link-local'],
  ['64:ff9b:1:a9fe:a9:fe00::', 'link-local'],
  ['64:ff9b:1:00a9:fe:a9fe::', 'link-local'],
  ['64:ff9b:1:1:a9:fea9:fe00:0', 'link-local'],
  ['2002:7f00:1::1', 'loopback'],
  ['2002:a9fe:a9fe::', 'link-local'],
  ['2a00::5efe:127.0.0.1', 'loopback'],
  ['2a00::200:5efe:127.0.0.1', 'loopback'],
] as const
for (const [text, word] of forbidden)
  test(`${text} is forbidden`, () => {
    assert.match(whatOf(text) ?? 'allowed', new RegExp(word))
  })

test('addresses of databases are allowed', () => {
  for (const text of [
    '10.0.0.5',
    '192.168.1.1',
    '172.16.0.1',
    '8.8.8.8',
    '100.64.0.1',
    '2a00::1',
    'fd12:3456::5',
    '64:ff9b::a00:5',
    '64:ff9b:1::a00:5',
    '64:ff9b:1:a00:0:500::',
    '2002:a00:5::1',
  ])
    assert.equal(whatOf(text), null, text)
})

const four = fc.tuple(...Array.from({ length: 4 }, () => fc.integer({ min: 0, max: 255 }))).map((parts) => parts.join('.'))
const hexOf = (text: string): string => {
  const [a, b, c, d] = text.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
  return `${a}${b}:${c}${d}`
}

test('an IPv4 address is forbidden in IPv6 whenever it is forbidden itself, and whatever the cluster forbids is in every form', () => {
  fc.assert(
    fc.property(four, (text) => {
      const hex = hexOf(text)
      const plain = whatOf(text)
      const mapped = [`::ffff:${text}`, `::ffff:${hex}`, `0:0:0:0:0:FFFF:${hex}`]
      const carrying = [`64:ff9b::${hex}`, `64:ff9b::${text}`, `64:ff9b:1::${hex}`, `2002:${hex}::1`, `2a00::5efe:${hex}`]
      for (const form of mapped) {
        assert.equal(addressFormsOf(form)?.text, text, form)
        assert.equal(whatOf(form), plain, form)
      }
      if (plain !== null) for (const form of carrying) assert.notEqual(whatOf(form), null, form)
      const cluster = { what: (asked: string) => (asked === text ? 'a node' : null) }
      for (const form of [text, ...mapped, ...carrying]) assert.notEqual(whatOf(form, cluster), null, form)
    }),
  )
})

test('every spelling of an IPv6 address has one canonical text, which is an address again', () => {
  const groups = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(groups, (values) => {
      const long = values.map((value) => value.toString(16).padStart(4, '0').toUpperCase()).join(':')
      const forms = addressFormsOf(long)
      assert.ok(forms !== null)
      const short = new URL(`http://[${long}]`).hostname.slice(1, -1)
      assert.equal(addressFormsOf(short)?.text, forms.text)
      assert.equal(textOf(forms.address), forms.text)
      assert.deepEqual(addressFormsOf(forms.text), forms)
    }),
  )
})

test('what is no address, or has a zone, is none', () => {
  for (const text of [
    '',
    'db',
    '1.2.3',
    '127.1',
    '0x7f.0.0.1',
    '010.0.0.1',
    'fe80::1%eth0',
    '::ffff:1.2.3.256',
    ':::',
    '1::2::3',
    '2130706433',
  ])
    assert.equal(addressFormsOf(text), null, text)
  fc.assert(fc.property(fc.string(), (text) => void addressFormsOf(text)))
})

test('the first two addresses of a node’s range of pods', () => {
  assert.deepEqual(firstAddressesOf('10.244.3.0/24'), ['10.244.3.0', '10.244.3.1'])
  assert.deepEqual(firstAddressesOf('fd00:1::/64'), ['fd00:1:0:0:0:0:0:0', 'fd00:1:0:0:0:0:0:1'])
  assert.deepEqual(firstAddressesOf('10.0.0.1/32'), [])
  assert.deepEqual(firstAddressesOf('none'), [])
})
