/** Goal: quantities mean what Kubernetes means by them. Method: a table from resource.Quantity's documentation, and comparison by bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bytesOf, compareQuantities, isQuantity, quantityOfBytes } from './quantity.ts'

const table: readonly (readonly [string, number | null])[] = [
  ['0', 0],
  ['512Mi', 536_870_912],
  ['0.5Gi', 536_870_912],
  ['1.5Gi', 1_610_612_736],
  ['1Ki', 1024],
  ['1k', 1000],
  ['1M', 1_000_000],
  ['2e3', 2000],
  ['2E3', 2000],
  ['1E', null], // 10^18 is more than a number holds exactly.
  ['100m', 1],
  ['1500m', 2],
  ['.5Ki', 512],
  ['5.Ki', 5120],
  ['-1Mi', null],
  ['', null],
  ['Mi', null],
  ['512MiB', null],
  ['512 Mi', null],
  ['1,5Gi', null],
  ['0x10', null],
  ['NaN', null],
  ['9'.repeat(40), null],
]
for (const [quantity, bytes] of table) {
  test(`${JSON.stringify(quantity)} is ${bytes ?? 'no number of bytes'}`, () => assert.equal(bytesOf(quantity), bytes))
}

test('comparison is exact across units and below one', () => {
  assert.equal(compareQuantities('1Gi', '1024Mi'), 0)
  assert.equal(compareQuantities('1G', '1Gi'), -1)
  assert.equal(compareQuantities('1', '999m'), 1)
  assert.equal(compareQuantities('100m', '0.1'), 0)
  assert.equal(compareQuantities('9Ei', '9.000000000000000001Ei'), -1)
  assert.equal(compareQuantities('1', 'x'), null)
  assert.ok(isQuantity('100m') && !isQuantity('-100m') && !isQuantity('x'))
})

test('a number of bytes written as a quantity is read as the same number', () => {
  fc.assert(fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => assert.equal(bytesOf(quantityOfBytes(bytes)), bytes)))
  assert.equal(quantityOfBytes(576 * 2 ** 20), '576Mi')
  assert.equal(quantityOfBytes(1000), '1000')
})
