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

test('a pod that is being deleted is said to be so first', async () => {
  const pod = JSON.parse(JSON.stringify(livePod())) as { metadata: Record<string, unknown> }
  const deletionTimestamp = '2026-11-21T09:00:30Z'
  pod.metadata['deletionTimestamp'] = deletionTimestamp
  const answers = { 'get -n shop pod agent': pod }
  const { stdout } = await explain(answers)
  assert.match(stdout, /^Outcome: +TERMINATING: it is being deleted, and gone by 2026-11-21T09:00:30Z; until then: current/m)
  const told = JSON.parse((await explain(answers, '--json')).stdout) as { terminatesAt: string }
  assert.equal(told.terminatesAt, deletionTimestamp)
})

test('of a workload the pods that stay are told first', async () => {
  const pod = (name: string, more: object = {}): object => ({
    metadata: { name, ownerReferences: [{ uid: 'job-1' }], ...more },
    spec: { containers: [] },
  })
  using kubectl = createTestKubectl({
    'get -n shop jobs.batch import': { metadata: { uid: 'job-1' } },
    'get -n shop pods': { items: [pod('goes', { deletionTimestamp: '2026-11-21T09:00:30Z' }), pod('stays')] },
    'get -n shop sessionpolicies.steno.dev': { items: [] },
    'get clustersessionpolicies.steno.dev': { items: [] },
    'get recordingstores.steno.dev': { items: [] },
    'get admissionparameters.steno.dev steno': { spec: { images: ['steno:now'] } },
    'get namespace shop': { metadata: { labels } },
  })
  const { stdout } = await kubectl.steno(['explain', 'job', 'import', '-n', 'shop'])
  assert.deepEqual(
    [...stdout.matchAll(/^(?:Name|Outcome): +([^\s:]+)/gm)].map(([, word]) => word),
    ['stays', 'BARE', 'goes', 'TERMINATING'],
  )
})

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
  assert.match(stderr, /kubectl steno explain deployment\/NAME/)
  using kubectl = createTestKubectl({})
  const other = await kubectl.steno(['explain', 'service/shop'])
  assert.deepEqual([other.code, other.stderr.includes('not service/shop')], [2, true])
})

const template = {
  metadata: { labels: { app: 'agent' } },
  spec: {
    containers: [
      { name: 'agent', image: 'agent:1', env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders', key: 'url' } } }] },
    ],
  },
}
const deployment = {
  metadata: { name: 'worker', uid: 'd-1' },
  spec: { selector: { matchLabels: { app: 'agent' } }, template },
}
/** As the webhook made it, for the owner of this UID. */
function ownPod(name: string, uid: string): V1Pod {
  const pod = livePod()
  Object.assign(pod.metadata!, ownedBy(name, uid))
  return pod
}
const ownedBy = (name: string, uid: string): object => ({ name, ownerReferences: [{ uid }] })

async function explainWorkload(what: string, answers: KubectlAnswers, ...args: string[]): Promise<Ran> {
  using kubectl = createTestKubectl({
    'get -n shop sessionpolicies.steno.dev': { items: [policyObject] },
    'get clustersessionpolicies.steno.dev': { items: [] },
    'get recordingstores.steno.dev': { items: [{ metadata: { name: 'default' } }] },
    'get admissionparameters.steno.dev steno': { spec: { images: ['steno:now'] } },
    'get namespace shop': { metadata: { labels } },
    'get -n shop deployments.apps worker': deployment,
    'get -n shop replicasets.apps': {
      items: [{ metadata: { ...ownedBy('worker-7d4', 'd-1'), uid: 'r-1' } }, { metadata: { name: 'other', uid: 'r-2' } }],
    },
    ...answers,
  })
  return await kubectl.steno(['explain', what, '-n', 'shop', ...args])
}

test('a Deployment stands for its pods, and for no others of the same labels', async () => {
  const pods = {
    'get -n shop pods -l app=agent': { items: [ownPod('worker-7d4-a', 'r-1'), ownPod('worker-7d4-b', 'r-1'), ownPod('other-c', 'r-2')] },
  }
  const { code, stdout } = await explainWorkload('deploy/worker', pods)
  assert.equal(code, 0, stdout)
  assert.deepEqual(
    [...stdout.matchAll(/^Name: +(.*)\nNamespace: +shop\nOutcome: +current/gm)].map(([, name]) => name),
    ['worker-7d4-a', 'worker-7d4-b'],
  )
  const documents = (await explainWorkload('deployment/worker', pods, '--json')).stdout.trim().split('\n')
  assert.deepEqual(
    documents.map((line) => (JSON.parse(line) as { pod: string }).pod),
    ['worker-7d4-a', 'worker-7d4-b'],
  )
})

test('a workload without a pod is explained by its template, with what the API server says', async () => {
  const message = 'pods "worker-7d4-" is forbidden: ValidatingAdmissionPolicy'
  const refused = {
    'get -n shop pods -l app=agent': { items: [] },
    'get -n shop deployments.apps worker': { ...deployment, status: { conditions: [{ type: 'ReplicaFailure', status: 'True', message }] } },
  }
  const { code, stdout } = await explainWorkload('deployment/worker', refused)
  assert.equal(code, 0, stdout)
  assert.match(stdout, /^Not made: +pods "worker-7d4-" is forbidden/m)
  assert.match(
    stdout,
    /^deployment\/worker has no pod\. One that it makes now:\nName: +deployment\/worker\n[\s\S]*^Outcome: +admitted, with the sidecar$/m,
  )
})

test('a CronJob stands for the pods of its Jobs', async () => {
  const own = ownPod('nightly-28541230-x2k9p', 'j-1')
  own.status!.phase = 'Succeeded'
  const { stdout } = await explainWorkload('cj/nightly', {
    'get -n shop cronjobs.batch nightly': { metadata: { name: 'nightly', uid: 'c-1' }, spec: { jobTemplate: { spec: { template } } } },
    'get -n shop jobs.batch': { items: [{ metadata: { ...ownedBy('nightly-28541230', 'c-1'), uid: 'j-1' } }] },
    'get -n shop pods': { items: [own] },
  })
  assert.match(stdout, /^Name: +nightly-28541230-x2k9p\n[\s\S]*Outcome: +current.*it has ended$/m)
})
