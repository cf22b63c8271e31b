// Goal: of a pod as the webhook made it people see what it has and where its credential went, and none of its values. Method: the plugin
// with a kubectl that answers by a table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import type { SidecarFacts } from '../../cli/kubectl/sidecar-facts.ts'
import { createTestKubectl, type KubectlAnswers, type Ran } from '../../cli/kubectl/test-kubectl.ts'
import { readSessionPolicy } from '../../crds/read-object.ts'
import { injectPod } from '../../injection/inject-pod.ts'

const secret = 'sesame'
const policyObject = {
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'SessionPolicy',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: { databases: [{ name: 'orders', hosts: ['orders.db.example.com'], databaseNames: ['orders'] }] },
}
const labels = { 'steno.dev/inject': 'enabled' }

/** As it came out of admission, with a status. */
function livePod(state: object = { running: { startedAt: '2026-11-21T09:00:04Z' } }, status: object = {}): V1Pod {
  const env = [
    { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders', key: 'url' } } },
    { name: 'TOKEN', value: secret },
  ]
  const pod: V1Pod = { metadata: { name: 'agent' }, spec: { containers: [{ name: 'agent', image: 'agent:1', env }] } }
  const injection = injectPod(
    { namespace: 'shop', namespaceLabels: labels, pod },
    {
      ...{ policies: [readSessionPolicy(policyObject)], clusterPolicies: [], sidecarImage: 'steno:now', version: '0.1.0' },
      ...{
        relayEndpoint: 'steno-relay.steno-system.svc:8443',
        controlUrl: 'https://steno-control.steno-system.svc:443',
        controlCa: 'CA',
        controlPublicKey: 'KEY',
      },
    },
  )
  assert.ok(injection.kind === 'injected')
  const initContainerStatuses = [{ name: 'steno', ready: true, restartCount: 0, image: 'steno:now', imageID: '', state, ...status }]
  return Object.assign(injection.pod, { status: { initContainerStatuses } })
}

async function explain(answers: KubectlAnswers, ...args: string[]): Promise<Ran> {
  using kubectl = createTestKubectl({
    'get -n shop pod agent': livePod(),
    'get -n shop sessionpolicies.steno.dev': { items: [policyObject] },
    'get clustersessionpolicies.steno.dev': { items: [] },
    'get recordingstores.steno.dev': { items: [{ metadata: { name: 'default' } }] },
    'get admissionparameters.steno.dev steno': { spec: { images: ['steno:now'] } },
    'get namespace shop': { metadata: { labels } },
    ...answers,
  })
  return await kubectl.steno(['explain', 'pod/agent', '-n', 'shop', ...args])
}

test('a pod as the webhook made it is current; variables are named and their values are not shown', async () => {
  const { code, stdout } = await explain({})
  assert.equal(code, 0)
  assert.match(stdout, /^Outcome: +current/m)
  assert.match(stdout, /^ {2}Used by: +agent: DATABASE_URL leads to 127\.0\.0\.1:15432$/m)
  assert.match(stdout, /^ {4}Credential: +STENO_SOURCE_0_DATABASE_URL from Secret orders, key url$/m)
  assert.ok(!stdout.includes(secret) && !(await explain({}, '--json')).stdout.includes(secret))
})

test('as JSON there is one object with sidecar, policy and verdict', async () => {
  const told = JSON.parse((await explain({}, '--json')).stdout) as Record<string, unknown>
  assert.deepEqual(
    [told['pod'], told['outcome'], (told['verdict'] as { severity: string }).severity, (told['sidecar'] as SidecarFacts).image],
    ['agent', 'unchanged', 'good', 'steno:now'],
  )
})

test('policies that changed since, and another image, are told apart', async () => {
  const changed = { ...policyObject, spec: { ...policyObject.spec, recording: { onFailure: 'continue' } } }
  assert.match((await explain({ 'get -n shop sessionpolicies.steno.dev': { items: [changed] } })).stdout, /^Outcome: +stale/m)
  const images = { spec: { images: ['steno:next', 'steno:now'] } }
  assert.match(
    (await explain({ 'get admissionparameters.steno.dev steno': images })).stdout,
    /^Outcome: +its policies are current.*another release/m,
  )
})

test('a sidecar that this release cannot read is of another release, and no reason to refuse a pod that runs', async () => {
  const pod = JSON.parse(JSON.stringify(livePod())) as V1Pod
  const config = pod.spec!.initContainers![0]!.env!.find(({ value }) => value?.startsWith('{'))!
  config.value = '{"version":0}'
  const { stdout } = await explain({ 'get -n shop pod agent': pod })
  assert.match(stdout, /^Outcome: +its policies are current, its sidecar is of another release/m)
  assert.doesNotMatch(stdout, /Refused/)
})

const forbidden = { stderr: 'Error from server (Forbidden): x is forbidden: User "dev" cannot list resource "x"' }

test('who may read the pod alone is shown the pod, and told what is missing', async () => {
  const { code, stdout } = await explain({
    'get -n shop sessionpolicies.steno.dev': forbidden,
    'get clustersessionpolicies.steno.dev': forbidden,
    'get admissionparameters.steno.dev steno': forbidden,
    'get namespace shop': forbidden,
  })
  assert.equal(code, 0)
  assert.match(stdout, /^Outcome: +it has a sidecar; whether it is current cannot be said$/m)
  assert.match(stdout, /^ {2}Given: +shop\/orders, hash [0-9a-f]{32}/m)
  assert.equal(stdout.split('is forbidden').length - 1, 4)
})

test('a pod that is not there, and what is no pod, is told', async () => {
  const { code, stderr } = await explain({ 'get -n shop pod agent': { stderr: 'Error from server (NotFound): pods "agent" not found' } })
  assert.equal(code, 1)
  assert.match(stderr, /OBJECT_NOT_FOUND/)
  using kubectl = createTestKubectl({})
  assert.equal((await kubectl.steno(['explain', 'deployment/shop'])).code, 2)
})
