/** Goal: an archive that keeps to the OCI image layout. Method: reads it back and follows every digest. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { compressLayer, makeImage, makeLayer, withoutTag, type ImageFacts } from './oci.ts'
import { temporaryFolder } from './test-image.ts'

const facts: ImageFacts = {
  architecture: 'arm64',
  user: '1:1',
  environment: ['A=b'],
  entrypoint: ['/x'],
  command: [],
  workingFolder: '/',
  labels: { one: 'two' },
  created: new Date(0).toISOString(),
}
type Descriptor = { digest: string; size: number; mediaType: string; annotations?: Record<string, string> }

test('every blob is named by its digest, and index, manifest and configuration lead to all of them', () => {
  const layers = [
    makeLayer([{ kind: 'file', path: 'a', mode: 0o644, content: Buffer.from('a') }], 'first'),
    compressLayer(makeLayer([{ kind: 'file', path: 'b', mode: 0o644, content: Buffer.from('b') }], 'second')),
  ]
  const { archive, digest } = makeImage(facts, layers, { names: ['registry:5000/x:1'], isNamedByDigest: true })
  using folder = temporaryFolder()
  execFileSync('tar', ['-xf', '-', '-C', folder.path], { input: archive })
  const blob = ({ digest: wanted, size }: Descriptor): Buffer => {
    const content = readFileSync(join(folder.path, 'blobs', wanted.replace(':', '/')))
    assert.equal(`sha256:${createHash('sha256').update(content).digest('hex')}`, wanted)
    assert.equal(content.length, size)
    return content
  }
  assert.deepEqual(JSON.parse(readFileSync(join(folder.path, 'oci-layout'), 'utf8')), { imageLayoutVersion: '1.0.0' })
  const { manifests } = JSON.parse(readFileSync(join(folder.path, 'index.json'), 'utf8')) as { manifests: Descriptor[] }
  assert.deepEqual(
    manifests.map(({ annotations }) => annotations?.['io.containerd.image.name']),
    ['registry:5000/x:1', `registry:5000/x@${digest}`],
  )
  assert.ok(manifests.every((manifest) => manifest.digest === digest))
  const manifest = JSON.parse(blob(manifests[0]!).toString()) as { config: Descriptor; layers: Descriptor[] }
  const config = JSON.parse(blob(manifest.config).toString()) as { architecture: string; rootfs: { diff_ids: string[] } }
  assert.equal(config.architecture, 'arm64')
  const unpacked = manifest.layers.map((layer) => (layer.mediaType.endsWith('gzip') ? gunzipSync(blob(layer)) : blob(layer)))
  assert.deepEqual(
    config.rootfs.diff_ids,
    unpacked.map((tar) => `sha256:${createHash('sha256').update(tar).digest('hex')}`),
  )
  assert.equal(readdirSync(join(folder.path, 'blobs/sha256')).length, 4)
})

test('a layer compressed twice is the same bytes, with no time in it', () => {
  const layer = makeLayer([{ kind: 'file', path: 'a', mode: 0o644, content: Buffer.alloc(100_000, 'steno') }], 'one')
  const [once, again] = [compressLayer(layer), compressLayer(layer)]
  assert.ok(once.blob.equals(again.blob))
  assert.equal(once.blob.readUInt32LE(4), 0) // RFC 1952: MTIME.
  assert.ok(once.blob.length < layer.blob.length)
  assert.equal(once.diffId, layer.diffId)
})

test('a name loses its tag, and never its port', () => {
  for (const [name, bare] of [
    ['x:1', 'x'],
    ['localhost:5000/x', 'localhost:5000/x'],
    ['localhost:5000/x/y:1', 'localhost:5000/x/y'],
  ] as const) {
    assert.equal(withoutTag(name), bare)
  }
})
