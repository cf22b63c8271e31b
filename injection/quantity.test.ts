import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compareQuantities } from '../crds/quantity.ts'
import { canonicalQuantity } from './quantity.ts'

// What kubectl shows of pods that were created with the first.
const stored: [string, string][] = [
  ['1024Mi', '1Gi'],
  ['576Mi', '576Mi'],
  ['1.5Gi', '1536Mi'],
  ['0.5Ki', '512'],
  ['62.5Ki', '64k'],
  ['1500.5Ki', '1536512'],
  ['1023', '1023'],
  ['0.5', '500m'],
  ['.25', '250m'],
  ['1000m', '1'],
  ['1500m', '1500m'],
  ['1000', '1k'],
  ['128000000', '128M'],
  ['1e3', '1e3'],
  ['0.1m', '1m'],
  ['1e4', '10e3'],
  ['2048', '2048'],
  ['0', '0'],
  ['0Mi', '0'],
]
for (const [given, kept] of stored)
  test(`a quantity is spelled as the API server stores it: ${given} as ${kept}`, () => {
    assert.equal(canonicalQuantity(given), kept)
  })

test('what is no quantity is left for the API server to refuse', () => {
  for (const text of ['', '.', 'Mi', '5 Mi', '1e', '1.5.5', '--1']) assert.equal(canonicalQuantity(text), text)
})

test('a stored spelling is the same quantity, and is stored as it is', () => {
  const suffix = fc.constantFrom('', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e3', 'E2')
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100_000 }), fc.constantFrom('', '.5', '.25'), suffix, (whole, fraction, unit) => {
      const text = `${whole}${fraction}${unit}`
      const canonical = canonicalQuantity(text)
      assert.equal(compareQuantities(canonical, text), 0, `${text} became ${canonical}`)
      assert.equal(canonicalQuantity(canonical), canonical)
    }),
  )
})
