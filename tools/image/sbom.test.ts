/** Goal: the bill names everything once, so that a scanner finds it, and holds nothing that changes by itself. Method: facts in small. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { debianPackagesOf } from './debian-records.ts'
import { sbomOf, type SbomFacts } from './sbom.ts'

const facts: SbomFacts = {
  version: '1.2.3',
  processor: 'amd64',
  packagePaths: ['node_modules/@scope/a', 'node_modules/b', 'node_modules/@scope/a/node_modules/b'],
  locked: {
    'node_modules/@scope/a': { version: '1.0.0', license: 'MIT', integrity: `sha512-${Buffer.alloc(64, 1).toString('base64')}` },
    'node_modules/b': { version: '2.0.0', license: '(MIT OR Apache-2.0)' },
    'node_modules/@scope/a/node_modules/b': { version: '1.9.0' },
  },
  node: { version: '24.0.0', content: Buffer.from('node') },
  libraries: [
    { path: '/lib/libc.so.6', content: Buffer.from('c'), debian: { name: 'libc6', version: '2.36-9+deb12u10', architecture: 'amd64' } },
    { path: '/lib/libm.so.6', content: Buffer.from('m'), debian: null },
  ],
}
type Bill = {
  bomFormat: string
  specVersion: string
  components: { 'bom-ref': string; name: string; purl?: string; hashes?: { content: string }[]; licenses?: unknown[] }[]
  dependencies: { dependsOn: string[] }[]
}

test('each component is there with its package URL, licence and digest', () => {
  const bill = JSON.parse(sbomOf(facts)) as Bill
  assert.deepEqual([bill.bomFormat, bill.specVersion], ['CycloneDX', '1.5'])
  assert.deepEqual(
    bill.components.map(({ purl }) => purl),
    [
      'pkg:npm/%40scope/a@1.0.0',
      'pkg:npm/b@2.0.0',
      'pkg:npm/b@1.9.0',
      'pkg:generic/node@24.0.0',
      'pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64',
      undefined,
    ],
  )
  assert.equal(bill.components[0]?.hashes?.[0]?.content, '01'.repeat(64))
  assert.deepEqual(bill.components[1]?.licenses, [{ expression: '(MIT OR Apache-2.0)' }])
  const references = bill.components.map((component) => component['bom-ref'])
  assert.equal(new Set(references).size, references.length)
  assert.deepEqual(bill.dependencies[0]?.dependsOn, references)
})

test('two bills of the same facts are the same bytes', () => {
  assert.equal(sbomOf(facts), sbomOf(structuredClone(facts)))
})

test('a system without Debian’s records has libraries without packages', () => {
  assert.deepEqual(debianPackagesOf(['/lib/libc.so.6'], '/nonexistent'), [null])
})
