/**
 * Goal: what the API server would refuse is refused here with the same words, and defaults are those of the API server.
 * Method: the table of bad objects, which e2e gives to a real API server too; the examples; objects of any shape.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseAllDocuments } from 'yaml'
import { badObjects, goodObjects } from './bad-objects-for-tests.ts'
import { ObjectNotValid, readObject, readRecordingStore, readSessionPolicy, unknownFieldsOf } from './read-object.ts'

for (const { what, object, says } of badObjects) {
  test(`refused, with the field and what to do: ${what}`, () => {
    assert.throws(
      () => readObject(object),
      (error) => {
        assert.ok(error instanceof ObjectNotValid)
        assert.ok(error.message.includes(says), error.message)
        assert.ok(
          error.problems.every(({ path }) => path === '' || /^(spec|metadata|apiVersion|kind)/.test(path)),
          error.message,
        )
        return true
      },
    )
  })
}

test('each good object, and each example, is read and has no unknown field', () => {
  const folder = new URL('../examples/kubernetes/', import.meta.url)
  const examples = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .flatMap((file) => parseAllDocuments(readFileSync(new URL(file, folder), 'utf8')).map((document) => document.toJS() as unknown))
    .filter((object) => (object as { apiVersion: string }).apiVersion.startsWith('steno.dev/'))
  assert.ok(examples.length >= 4)
  for (const object of [...goodObjects, ...examples]) {
    readObject(object)
    assert.deepEqual(unknownFieldsOf(object), [])
  }
})

test('what is absent has the default of the API server', () => {
  const [policy] = goodObjects
  const { spec } = readSessionPolicy(policy)
  assert.deepEqual(spec, {
    selector: {},
    databases: [
      {
        name: 'orders',
        engine: 'postgresql',
        hosts: ['orders.db.example.com'],
        port: 5432,
        databaseNames: ['orders'],
        tls: { mode: 'verify-full' },
        variables: [{ form: 'url', name: 'DATABASE_URL' }],
      },
    ],
    recording: { level: 'results', store: 'default', onFailure: 'block', spoolBytesMax: '512Mi', spoolAgeSecondsMax: 3600 },
    enforcement: { mode: 'Relay', onOpenPath: 'Block' },
    network: { allow: [] },
    secrets: { allowKeys: [] },
    sidecar: { resources: {} },
  })
  const store = { apiVersion: 'steno.dev/v1alpha1', kind: 'RecordingStore', metadata: { name: 'default' }, spec: { type: 'volume' } }
  assert.deepEqual(readRecordingStore(store).spec, { type: 'volume', volume: { path: '/var/lib/steno/store' } })
})

test('fields of the object’s metadata and status are kept', () => {
  const [policy] = goodObjects
  const read = readSessionPolicy({
    ...policy,
    metadata: { name: 'orders', namespace: 'shop', generation: 3, managedFields: [{ manager: 'kubectl' }] },
    status: { observedGeneration: 3, pods: { matched: 4, injected: 2, stale: 1, bare: 1 } },
  })
  assert.equal(read.metadata.generation, 3)
  assert.deepEqual(read.status?.pods, { matched: 4, injected: 2, stale: 1, bare: 1 })
})

test('a typing mistake is named with its path, and a field of a later release does not stop the reader', () => {
  const object = {
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name: 'orders' },
    spec: { databasse: [], databases: [{ name: 'a', hosts: ['a.example.com'], databaseNames: ['a'], hots: [] }] },
  }
  assert.deepEqual(unknownFieldsOf(object), ['spec.databasse', 'spec.databases[0].hots'])
  assert.equal('hots' in (readSessionPolicy(object).spec.databases[0] ?? {}), false)
})

test('whatever is given, the answer is an object or ObjectNotValid', () => {
  const kinds = fc.constantFrom('SessionPolicy', 'ClusterSessionPolicy', 'RecordingStore', 'AdmissionParameters', 'Pod')
  const names = fc.constantFrom(
    'databases',
    'hosts',
    'variables',
    'form',
    'type',
    's3',
    'volume',
    'ceiling',
    'floor',
    'recording',
    'selector',
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.anything(),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(names, tie('any'), { maxKeys: 4 }),
    ),
  })).any
  fc.assert(
    fc.property(kinds, value, value, (kind, metadata, spec) => {
      try {
        readObject({ apiVersion: 'steno.dev/v1alpha1', kind, metadata, spec })
      } catch (error) {
        assert.ok(error instanceof ObjectNotValid, String(error))
        assert.ok(error.message.length < 12_000)
      }
    }),
    { numRuns: 500 },
  )
})
