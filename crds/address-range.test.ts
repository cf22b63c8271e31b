/**
 * Goal: addresses and ranges are read as the internet standards write them. Method: Node's own reader as the reference, over
 * addresses that fast-check makes and over texts that are nearly ones; ranges by a table.
 */
import assert from 'node:assert/strict'
import { isIP, isIPv4 } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressOf, addressRangeOf, rangeHolds } from './address-range.ts'

/** Node reads these too. */
const isNotOurs = (text: string): boolean => /^[0:]*:ffff:/i.test(text) || (text.includes(':') && text.includes('.'))

test('what Node takes for an address is one, and nothing else', () => {
  const nearly = fc.stringMatching(/^[0-9a-fA-F:.]{0,20}$/)
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), nearly), (text) => {
      if (isNotOurs(text)) return
      assert.equal(addressOf(text) !== null, isIP(text) !== 0, text)
      assert.equal(addressOf(text)?.bits ?? 0, isIP(text) === 0 ? 0 : isIPv4(text) ? 32 : 128)
    }),
    { numRuns: 2000 },
  )
})

test('what might be read in two ways is no address: leading zeros, zones, dots in IPv6, brackets, ports', () => {
  const texts = [
    '010.0.0.1',
    '10.0.0',
    '10.0.0.256',
    'fe80::1%eth0',
    '::ffff:10.0.0.1',
    'fd00::10.0.0.1',
    '1:2:3:4:5:6:7::8',
    '::ffff:a00:1',
    '[::1]',
    '10.0.0.1:80',
    '',
    ':',
    ':::',
    '1::2::3',
  ]
  for (const text of texts) assert.equal(addressOf(text), null, text)
})

test('one address has one value, however it is written', () => {
  const same = ['fd00::5', 'FD00::5', 'fd00:0:0:0:0:0:0:5', 'fd00:0000::0005']
  assert.equal(new Set(same.map((text) => addressOf(text)?.value)).size, 1)
})

const ranges: readonly (readonly [string, string, boolean])[] = [
  ['10.0.0.0/8', '10.255.255.255', true],
  ['10.0.0.0/8', '11.0.0.0', false],
  ['10.1.2.3/16', '10.1.255.1', true],
  ['0.0.0.0/0', '203.0.113.9', true],
  ['10.0.0.1/32', '10.0.0.1', true],
  ['10.0.0.1/32', '10.0.0.2', false],
  ['::/0', '2001:db8::1', true],
  ['::/0', '10.0.0.1', false],
  ['0.0.0.0/0', '::1', false],
  ['fd00::/8', 'fdff::1', true],
  ['fd00::/8', 'fe00::1', false],
]
for (const [range, address, holds] of ranges) {
  test(`${range} ${holds ? 'holds' : 'does not hold'} ${address}`, () => {
    const parsedRange = addressRangeOf(range)
    const parsed = addressOf(address)
    assert.ok(parsedRange !== null && parsed !== null)
    assert.equal(rangeHolds(parsedRange, parsed), holds)
  })
}

test('what is no range is none', () => {
  for (const text of ['10.0.0.0', '10.0.0.0/33', '::/129', '10.0.0.0/08', '10.0.0.0/-1', '/8', '10.0.0.0/8/8', 'x/8']) {
    assert.equal(addressRangeOf(text), null, text)
  }
})
