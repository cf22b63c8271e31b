/**
 * Goal: the API server takes what the schemas in `crds/` take, refuses what they refuse with the same message, and fills in the same defaults.
 * Method: the project's CustomResourceDefinitions are applied as they are in the chart; then each example and each row of the table of bad
 * objects is given to the real server, as a dry run, so that nothing stays.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { parseAllDocuments } from 'yaml'
import { addressRangeOf } from '../../crds/address-range.ts'
import { badObjects, goodObjects, type PlainObject } from '../../crds/bad-objects-for-tests.ts'
import { generatedFiles } from '../../crds/generated-files.ts'
import { isHostPattern } from '../../crds/host-pattern.ts'
import { kinds } from '../../crds/kinds.ts'
import { readObject } from '../../crds/read-object.ts'
import { clusterTest, createNamespace, eventually, getJson, kubectl, ran, refused } from './support/kubectl.ts'

const definitions = fileURLToPath(new URL('../../charts/steno/crds/', import.meta.url))
const examples = new URL('../../examples/kubernetes/', import.meta.url)

type Definition = {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[] }
}

/** Applies the definitions; the server serves the kinds when this is over. */
async function applyDefinitions(): Promise<void> {
  await kubectl(['apply', '--server-side', '--force-conflicts', '--field-manager=steno-crds', '-f', definitions])
  for (const { plural } of kinds) {
    await kubectl(['wait', '--for=condition=Established', '--timeout=30s', `crd/${plural}.steno.dev`])
  }
}

/** Objects of steno in a file; those that live in a namespace are put into `namespace`. */
function exampleObjects(file: string, namespace: string): PlainObject[] {
  return parseAllDocuments(readFileSync(new URL(file, examples), 'utf8'))
    .map((document) => document.toJS() as PlainObject)
    .filter(({ apiVersion }) => apiVersion.startsWith('steno.dev/'))
    .map((object) => inNamespace(object, namespace))
}

function inNamespace(object: PlainObject, namespace: string): PlainObject {
  if (object.kind !== 'SessionPolicy') return object
  const metadata = { ...object.metadata, namespace }
  return { ...object, metadata }
}

/** What the server makes of the object, without keeping it, whether or not the cluster has one of its name. */
async function dryRun(object: PlainObject): Promise<unknown> {
  const args = ['--dry-run=server', '-o', 'json', '-f', '-']
  const created = await ran('kubectl', ['create', ...args], JSON.stringify(object))
  if (created.code === 0) return JSON.parse(created.stdout)
  assert.match(created.stderr, /already exists/)
  return JSON.parse(await kubectl(['replace', ...args], JSON.stringify(object)))
}

clusterTest('the server finds nothing to object to in the definitions, and each is structural', async () => {
  await applyDefinitions()
  for (const { plural, shortNames } of kinds) {
    const { status } = await getJson<Definition>([`crd/${plural}.steno.dev`])
    const conditions = status?.conditions ?? []
    assert.equal(conditions.find(({ type }) => type === 'NamesAccepted')?.status, 'True', plural)
    const nonStructural = conditions.find(({ type }) => type === 'NonStructuralSchema')
    assert.equal(nonStructural, undefined, nonStructural?.message)
    for (const name of [plural, ...shortNames.map((short) => `${short}.steno.dev`)]) await kubectl(['get', name, '--all-namespaces'])
  }
  assert.ok(generatedFiles().size > kinds.length)
})

clusterTest('kubectl explain shows the description of a field', async () => {
  await applyDefinitions()
  const shown = await eventually('the server publishes the schema', () => kubectl(['explain', 'sessionpolicy.spec.databases.tls.mode']))
  assert.match(shown, /The weakest TLS that is accepted towards the database/)
  assert.match(shown, /ENUM:\s+disable\s+require\s+verify-ca\s+verify-full/)
})

clusterTest('each example is accepted as it is written, and read back as our reader reads it', async () => {
  await applyDefinitions()
  await using namespace = await createNamespace('t-crds')
  const files = readdirSync(examples, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'))
  const objects = files.flatMap((file) => exampleObjects(file, namespace.name))
  assert.ok(objects.length >= 4, `examples: ${objects.length}`)
  const good = goodObjects.map((object) => inNamespace(object, namespace.name))
  for (const object of [...objects, ...good]) {
    const answered = (await dryRun(object)) as { spec: unknown }
    const label = `${object.kind} ${object.metadata.name}`
    // The server fills in defaults; the reader must find nothing to add to them, and the same from the bare object.
    assert.deepEqual(answered.spec, JSON.parse(JSON.stringify(readObject(answered).spec, unquoted)), label)
    assert.deepEqual(readObject(answered).spec, readObject(object).spec, label)
  }
})

/** The reader gives every quantity as text; the server keeps `cpu: 1` a number. */
function unquoted(key: string, value: unknown): unknown {
  return key === 'cpu' && typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value
}

clusterTest(
  'each bad object is refused with the expected message',
  async (context: TestContext) => {
    await applyDefinitions()
    await using namespace = await createNamespace('t-crds')
    for (const { what, object, serverSays } of badObjects) {
      await context.test(what, async () => {
        const text = JSON.stringify(inNamespace(object, namespace.name))
        const said = await refused(['create', '--dry-run=server', '-f', '-'], text)
        assert.ok(said.includes(serverSays), said)
      })
    }
  },
  { timeoutMilliseconds: 300_000 },
)

clusterTest('the server takes for addresses and ranges exactly what our reader takes for them', async () => {
  await applyDefinitions()
  const nearly = fc.stringMatching(/^[0-9a-f:.]{1,16}$/)
  const address = fc.oneof(fc.ipV4(), fc.ipV6(), nearly)
  const hosts = sampleOf(address, [
    '1:2:3:4:5:6:7::',
    '::1:2:3:4:5:6:7:8',
    '::ffff:1:2',
    '0::ffff:1:2',
    '::fffe:1:2',
    '1::2::3',
    ':::',
    '::',
  ])
  const addressRanges = sampleOf(
    fc.tuple(address, fc.nat({ max: 140 })).map(([text, length]) => `${text}/${length}`),
    ['10.0.0.0/32', '10.0.0.0/33', '::/128', '::/129', '::/', '::/08', '10.0.0.1', '::ffff:1:2/96', '1/1', '10.0.0.0/8/8'],
  )
  const policy = {
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'ClusterSessionPolicy',
    metadata: { name: 't-crds-addresses' },
    spec: { ceiling: { hosts, addressRanges } },
  }
  const said = await refused(['create', '--dry-run=server', '-f', '-'], JSON.stringify(policy))
  const indexes = (field: string): number[] =>
    [...said.matchAll(new RegExp(`spec\\.ceiling\\.${field}\\[(\\d+)\\]: Invalid`, 'g'))]
      .map(([, index]) => Number(index))
      .sort((a, b) => a - b)
  const expected = (texts: readonly string[], isGood: (text: string) => boolean): number[] =>
    texts.flatMap((text, index) => (isGood(text) ? [] : [index]))
  const refusedHosts = expected(hosts, isHostPattern)
  assert.ok(refusedHosts.length > 20 && refusedHosts.length < 180, `refused: ${refusedHosts.length} of ${hosts.length}`)
  assert.deepEqual(indexes('hosts'), refusedHosts)
  assert.deepEqual(
    indexes('addressRanges'),
    expected(addressRanges, (text) => addressRangeOf(text) !== null),
  )
})

/** 200 different texts at most, the same in every run, that a list's items may be as far as their length goes. */
function sampleOf(texts: fc.Arbitrary<string>, always: readonly string[]): string[] {
  const sampled = fc.sample(texts, { numRuns: 200, seed: 7 }).filter((text) => text.length <= 43)
  return [...new Set([...always, ...sampled])].slice(0, 200)
}

clusterTest('status is a subresource: spec writers cannot write it, and writing it leaves spec and generation alone', async () => {
  await applyDefinitions()
  await using namespace = await createNamespace('t-crds')
  const [policy] = goodObjects
  assert.ok(policy !== undefined)
  const pods = { matched: 1, injected: 1, stale: 0, bare: 0 }
  const at = ['-n', namespace.name, 'sessionpolicy', 'orders']
  type Read = { metadata: { generation: number }; spec: object; status?: { pods: unknown } }
  // Each answer is looked at as it came: where steno runs, it writes a status of its own a moment later.
  const create = ['create', '-n', namespace.name, '-o', 'json', '-f', '-']
  const created = JSON.parse(await kubectl(create, JSON.stringify({ ...policy, status: { pods } }))) as Read
  assert.equal(created.status, undefined)
  const ready = {
    type: 'Ready',
    status: 'False',
    reason: 'StoreUnknown',
    message: 'There is no such store.',
    lastTransitionTime: new Date(0).toISOString(),
  }
  const patch = (status: object): string[] => [
    'patch',
    ...at,
    '--subresource=status',
    '--type=merge',
    '-o',
    'json',
    '-p',
    JSON.stringify({ status, spec: { databases: [] } }),
  ]
  const patched = JSON.parse(await kubectl(patch({ observedGeneration: 1, pods, conditions: [ready] }))) as Read
  assert.deepEqual(patched.status?.pods, pods)
  assert.equal(patched.metadata.generation, created.metadata.generation)
  assert.deepEqual(patched.spec, created.spec)
  assert.match(
    await kubectl(['get', ...at]),
    /NAME\s+READY\s+MATCHED\s+INJECTED\s+STALE\s+BARE\s+AGE\norders\s+\w+\s+\d+\s+\d+\s+\d+\s+\d+/,
  )
  assert.match(await refused(patch({ conditions: [{ ...ready, status: 'Maybe' }] })), /supported values: "True", "False", "Unknown"/)
})

clusterTest('a typing mistake in a manifest is refused by kubectl with its path', async () => {
  await applyDefinitions()
  await using namespace = await createNamespace('t-crds')
  const [policy] = goodObjects
  const { code, stderr } = await ran(
    'kubectl',
    ['create', '--dry-run=server', '-n', namespace.name, '-f', '-'],
    JSON.stringify({ ...policy, spec: { databases: [{ name: 'a', hosts: ['a.example.com'], databaseNames: ['a'], hots: [] }] } }),
  )
  assert.notEqual(code, 0)
  assert.match(stderr, /unknown field "spec\.databases\[0\]\.hots"/)
})
