// Goal: whatever people and tools write as Kubernetes objects is read, and what is not is named without its content.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { BadObjectFile, bytesMax, readDocuments, type Documents } from './documents.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'steno-documents-'))
})
after(() => rmSync(folder, { recursive: true }))

async function* inputOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text)
}
const read = (text: string, files: readonly string[] = ['-']): Promise<Documents> => readDocuments(files, 'shop', inputOf(text))

const spec = { containers: [{ name: 'agent', image: 'agent:1' }] }
const template = { metadata: { labels: { app: 'agent' } }, spec }
const at = (kind: string, object: object): object => ({ apiVersion: 'v1', kind, metadata: { name: 'agent' }, ...object })

for (const [kind, object] of Object.entries({
  Pod: { spec },
  Deployment: { spec: { template } },
  StatefulSet: { spec: { template } },
  DaemonSet: { spec: { template } },
  ReplicaSet: { spec: { template } },
  ReplicationController: { spec: { template } },
  Job: { spec: { template } },
  CronJob: { spec: { jobTemplate: { spec: { template } } } },
  PodTemplate: { template },
  Rollout: { spec: { template } },
})) {
  test(`the pod of a ${kind} is found`, async () => {
    const { pods } = await read(JSON.stringify(at(kind, object)))
    assert.deepEqual(
      pods.map(({ what, namespace, pod }) => [what, namespace, pod.spec?.containers[0]?.name]),
      [[`${kind} agent`, null, 'agent']],
    )
  })
}

test('several documents, lists in lists, empty documents and other kinds are taken as they come', async () => {
  const list = JSON.stringify({ kind: 'List', items: [at('Pod', { spec }), { kind: 'PodList', items: [at('Pod', { spec })] }] })
  const { pods, namespaces } = await read(
    `---\n---\n# nothing\n---\n${list}\n---\nkind: ConfigMap\ndata: {a: b}\n---\nkind: Namespace\nmetadata: {name: shop, labels: {steno.dev/inject: enabled}}\n`,
  )
  assert.equal(pods.length, 2)
  assert.deepEqual([...namespaces], [['shop', { 'steno.dev/inject': 'enabled' }]])
})

test('a name that the API server makes, and a namespace of the object itself, are told', async () => {
  const { pods } = await read('kind: Pod\nmetadata: {generateName: agent-, namespace: other}\nspec: {containers: [{name: a}]}\n')
  assert.deepEqual([pods[0]?.what, pods[0]?.namespace], ['Pod agent-*', 'other'])
})

test('a policy gets the namespace that is used, and fields that no release knows are named', async () => {
  const policy =
    'apiVersion: steno.dev/v1alpha1\nkind: SessionPolicy\nmetadata: {name: orders}\nspec: {databases: [{name: o, hosts: [h.example], databaseNames: [o], hots: 1}]}\n'
  const { policies, warnings } = await read(`${policy}---\n${JSON.stringify(at('Pod', { spec }))}`)
  assert.equal(policies[0]?.metadata.namespace, 'shop')
  assert.deepEqual(warnings, ['SessionPolicy orders: spec.databases[0].hots is no field, and would be left out'])
})

test('a folder stands for the YAML and JSON files in it', async () => {
  const inner = path.join(folder, 'inner')
  mkdirSync(path.join(inner, 'below'), { recursive: true })
  for (const name of ['b.yaml', 'a.json', 'c.yml', 'notes.txt', 'below/d.yaml'])
    writeFileSync(path.join(inner, name), name.endsWith('.txt') ? '{' : JSON.stringify({ ...at('Pod', { spec }), metadata: { name } }))
  const { pods } = await read('', [inner])
  assert.deepEqual(
    pods.map(({ what }) => what),
    ['Pod a.json', 'Pod b.yaml', 'Pod c.yml'],
  )
})

const secret = 'sesame'
for (const [what, text, message] of [
  ['no YAML', `a: "${secret}\n`, /line \d/],
  ['YAML that only tabs spoil', `a:\n\t- ${secret}`, /is not YAML/],
  ['lists nested deeper than a stack', '['.repeat(200_000), /not YAML/],
  [
    'aliases that multiply',
    `a: &a [${secret}]\n${'bcdefghij'
      .split('')
      .map((name, index, all) => `${name}: &${name} [${`*${all[index - 1] ?? 'a'},`.repeat(9)}]`)
      .join('\n')}`,
    /not YAML|no pod/,
  ],
  ['no objects at all', secret, /no pod and no workload/],
  ['nothing', '', /no pod and no workload/],
  ['a pod without a container', 'kind: Pod\nmetadata: {name: x}\nspec: {}\n', /spec has no containers/],
  ['a pod whose variables are a map', `kind: Pod\nspec: {containers: [{name: a, env: {A: ${secret}}}]}`, /env is no list/],
  ['more than may be read', `# ${'x'.repeat(bytesMax)}`, /longer than 16 MiB/],
] as const) {
  test(`${what} is refused, by its place and without its content`, async () => {
    const error = await read(text).then(
      () => assert.fail('it was taken'),
      (failure: unknown) => failure,
    )
    assert.ok(error instanceof BadObjectFile, String(error))
    assert.match(error.message, message)
    assert.ok(!error.message.includes(secret))
  })
}

test('files that are not there are named', async () => {
  await assert.rejects(read('', [path.join(folder, 'none.yaml')]), /none\.yaml cannot be read/)
})
