/**
 * Goal: what admission answers is what a real API server makes of it, with its own plugins and other webhooks before and behind. Method: the
 * admission server runs in the test and is reached by `url:`; pods are created in namespaces that only it is asked about, and are never
 * scheduled; each is read back and injected again, which must change nothing.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { readSessionPolicy } from '../../crds/read-object.ts'
import { injectPod, type AdmissionWorld } from '../../injection/inject-pod.ts'
import { patchBetween } from '../../injection/json-patch.ts'
import { startAdmissionServer, type AdmissionServer, type ReviewFacts } from '../../webhook/admission/server.ts'
import { createAuthority, issueLeaf } from '../../cluster/certificates/authority.ts'
import { addressForWebhooks, addWebhook, agentPod, apiServer, getKubeconfig, labelled, otherInjector } from './injection-world.ts'
import { apply, clusterTest, createNamespace, eventually, getJson, kubectl, ran, refused } from './support/kubectl.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
const burst = 1_000
const burstConnections = 32
const sidecarName = 'steno'

let namespace: string
let labels: Readonly<Record<string, string>>
let world: AdmissionWorld | null
let server: AdmissionServer
let reviewed: ReviewFacts[] = []
const cleanups: (() => PromiseLike<unknown>)[] = []

before(async () => {
  if (!isThere) return
  const address = await addressForWebhooks()
  const own = await createNamespace('t-injection', { 'pod-security.kubernetes.io/enforce': 'privileged' })
  cleanups.push(() => own[Symbol.asyncDispose]())
  namespace = own.name
  labels = (await getJson<{ metadata: { labels: Record<string, string> } }>(['namespace', namespace])).metadata.labels
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
  const authority = await createAuthority(validity)
  const leaf = await issueLeaf(authority, [address], validity)
  world = {
    policies: [policy()],
    clusterPolicies: [],
    namespaceLabels: new Map([[namespace, labels]]),
    sidecarImage: 'registry.example.com/steno:1',
    controlUrl: 'https://steno-control.steno-system.svc:443',
    relayEndpoint: 'steno-relay.steno-system.svc:8443',
    controlCa: authority.cert,
    controlPublicKey: '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n',
    version: '1.2.3',
  }
  server = await startAdmissionServer({
    listen: { host: address, port: 0 },
    certificates: { current: () => leaf, onChange: () => () => undefined },
    world: () => world,
    log: { info: quiet, warn: quiet, error: quiet, debug: quiet },
    onReviewed: (facts) => reviewed.push(facts),
  })
  cleanups.push(() => server.close())
  const ours = { url: `https://${address}:${server.port}/mutate`, ca: authority.cert, podLabels: {}, adds: sidecarName }
  cleanups.push(await addWebhook(namespace, 'a', ours))
  const other = await otherInjector(address, leaf)
  cleanups.push(() => other.close())
  const theirs = {
    url: `https://${address}:${other.port}/`,
    ca: authority.cert,
    podLabels: { 'other-injector': 'wanted' },
    adds: 'other-init',
  }
  cleanups.push(await addWebhook(namespace, 'b', theirs))
})
after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup()
})

clusterTest('a pod that the API server has stored is what would be injected again, with the ServiceAccount plugin around it', async () => {
  const pod = await create(agentPod())
  assert.equal(pod.spec?.initContainers?.[0]?.name, sidecarName)
  const [sidecar] = pod.spec?.initContainers ?? []
  const token = pod.spec?.volumes?.find(({ name }) => name.startsWith('kube-api-access-'))?.name
  assert.ok(token !== undefined, 'the plugin gave the agent its token')
  assert.ok(pod.spec?.containers[0]?.volumeMounts?.some(({ name }) => name === token))
  assert.deepEqual(
    sidecar?.volumeMounts?.map(({ name }) => name),
    ['steno-spool', 'steno-token', 'steno-token'],
  )
  assert.equal(pod.spec?.containers[0]?.env?.[0]?.value, 'postgresql://agent@127.0.0.1:15432/orders?sslmode=disable')
  assertSteady(pod)
})

clusterTest('a dry run says what a pod would become, and leaves nothing', async () => {
  const answer = await kubectl(['create', '-n', namespace, '--dry-run=server', '-o', 'json', '-f', '-'], JSON.stringify(agentPod('dry')))
  const pod = JSON.parse(answer) as V1Pod
  assert.equal(pod.spec?.initContainers?.[0]?.name, sidecarName)
  assertSteady(pod)
  assert.match(await refused(['get', 'pod', '-n', namespace, 'dry']), /not found/)
})

const template = { metadata: { labels: { app: 'agent' } }, spec: agentPod().spec }
const owners: [string, object][] = [
  [
    'Deployment',
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'agent' },
      spec: { selector: { matchLabels: { app: 'agent' } }, template },
    },
  ],
  [
    'StatefulSet',
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'agent' },
      spec: { serviceName: 'agent', selector: { matchLabels: { app: 'agent' } }, template },
    },
  ],
  [
    'Job',
    {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'agent' },
      spec: { template: { spec: Object.assign({}, template.spec, { restartPolicy: 'Never' }) } },
    },
  ],
]
for (const [kind, owner] of owners)
  clusterTest(`the pod of a ${kind} is injected, and stays as it is`, async () => {
    await apply(owner, ['-n', namespace])
    const pod = await eventually('the pod is created', async () => {
      const { items } = await getJson<{ items: V1Pod[] }>(['pods', '-n', namespace])
      const ownerKind = kind === 'Deployment' ? 'ReplicaSet' : kind
      return items.find(({ metadata }) => metadata?.ownerReferences?.some((reference) => reference.kind === ownerKind))
    })
    assert.equal(pod.spec?.initContainers?.[0]?.name, sidecarName)
    assertSteady(pod)
    await kubectl(['delete', kind, 'agent', '-n', namespace, '--wait=false'])
  })

clusterTest('a CronJob’s pod is injected when its Job is made', async () => {
  const spec = Object.assign({}, template.spec, { restartPolicy: 'Never' })
  const cron = { schedule: '0 0 1 1 *', jobTemplate: { spec: { template: { spec } } } }
  await apply({ apiVersion: 'batch/v1', kind: 'CronJob', metadata: { name: 'nightly' }, spec: cron }, ['-n', namespace])
  await kubectl(['create', 'job', '--from=cronjob/nightly', 'nightly-now', '-n', namespace])
  const pod = await eventually('the pod is created', async () => {
    const { items } = await getJson<{ items: V1Pod[] }>(['pods', '-n', namespace, '-l', 'job-name=nightly-now'])
    return items[0]
  })
  assertSteady(pod)
})

clusterTest('a namespace that enforces Pod Security restricted takes a restricted pod with the sidecar', async () => {
  await kubectl(['label', 'namespace', namespace, '--overwrite', 'pod-security.kubernetes.io/enforce=restricted'])
  try {
    const securityContext = { runAsUser: 1_000, runAsNonRoot: true, fsGroup: 2_000, seccompProfile: { type: 'RuntimeDefault' } }
    const pod = agentPod('restricted', { securityContext })
    Object.assign(pod.spec!.containers[0]!, { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } })
    assertSteady(await create(pod))
    assert.match(
      await refused(['create', '-n', namespace, '-f', '-'], JSON.stringify(agentPod('loose'))),
      /violates PodSecurity "restricted/,
    )
  } finally {
    await kubectl(['label', 'namespace', namespace, '--overwrite', 'pod-security.kubernetes.io/enforce=privileged'])
  }
})

clusterTest('what a LimitRange gives the sidecar does not set off another change', async () => {
  const limits = [{ type: 'Container', default: { cpu: '500m', memory: '300Mi' }, defaultRequest: { cpu: '50m' } }]
  await apply({ apiVersion: 'v1', kind: 'LimitRange', metadata: { name: 'limits' }, spec: { limits } }, ['-n', namespace])
  try {
    const pod = await create(agentPod('limited'))
    assert.deepEqual(pod.spec?.initContainers?.[0]?.resources, {
      limits: { cpu: '500m', memory: '256Mi' },
      requests: { cpu: '10m', memory: '96Mi' },
    })
    assertSteady(pod)
  } finally {
    await kubectl(['delete', 'limitrange', 'limits', '-n', namespace])
  }
})

clusterTest('another injector that comes later and puts itself first is put behind the sidecar again', async () => {
  reviewed = []
  const pod = await create(labelled(agentPod('disturbed'), { 'other-injector': 'wanted' }))
  assert.deepEqual(
    reviewed.map(({ outcome }) => outcome),
    ['injected', 'injected'],
    'the API server asked twice',
  )
  assert.deepEqual(
    pod.spec?.initContainers?.map(({ name }) => name),
    [sidecarName, 'other-init'],
  )
  assert.ok(!pod.spec?.initContainers?.[0]?.env?.some(({ name }) => name === 'OTHER'))
  assert.ok(pod.spec?.containers[0]?.env?.some(({ name }) => name === 'OTHER'))
  const appended = pod.spec?.containers.find(({ name }) => name === 'other')
  assert.equal(appended?.env?.[0]?.value, pod.spec?.containers[0]?.env?.[0]?.value, 'the appended container got the same listener')
  assertSteady(pod)
})

clusterTest('the manifest of a running pod can be created again', async () => {
  const pod = await create(agentPod('original'))
  const copy = await create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'copy' },
    ...(pod.spec === undefined ? {} : { spec: pod.spec }),
  })
  assert.deepEqual(copy.spec?.initContainers, pod.spec?.initContainers)
  assertSteady(copy)
})

clusterTest('kubectl shows a refusal with every rule and remedy, and a warning', async () => {
  const pod = agentPod('bad', { hostNetwork: true, shareProcessNamespace: true })
  const said = await refused(['create', '-n', namespace, '-f', '-'], JSON.stringify(pod))
  assert.match(
    said,
    /denied the request: steno cannot take this pod, for 2 reasons: \(1\) HostNetwork at spec\.hostNetwork: .*\(2\) ShareProcessNamespace/,
  )
  const { stderr } = await ran(
    'kubectl',
    ['create', '-n', namespace, '-f', '-'],
    JSON.stringify(agentPod('hasty', { terminationGracePeriodSeconds: 3 })),
  )
  assert.match(stderr, /Warning: steno: terminationGracePeriodSeconds is raised from 3 to 15/)
})

clusterTest('while the world is not known the failurePolicy acts', async () => {
  const known = world
  world = null
  try {
    const pod = await create(agentPod('early'))
    assert.equal(pod.spec?.initContainers, undefined, 'Ignore lets it pass; the admission policies are what refuses it in a release')
  } finally {
    world = known
  }
})

clusterTest(
  'of a thousand pods in a burst none is bare and none is refused',
  async () => {
    const request = apiServer(await getKubeconfig(), burstConnections)
    const started = performance.now()
    const left = Array.from({ length: burst }, (_, index) => `burst-${index}`)
    const failures: string[] = []
    let [bare, steady] = [0, 0]
    await Promise.all(
      Array.from({ length: burstConnections }, async () => {
        for (let name = left.pop(); name !== undefined; name = left.pop()) {
          const { status, body } = await request('POST', `/api/v1/namespaces/${namespace}/pods`, agentPod(name))
          const pod = JSON.parse(body) as V1Pod
          if (status !== 201) failures.push(body)
          else if (pod.spec?.initContainers?.[0]?.name !== sidecarName) bare++
          else if (isSteady(pod)) steady++
        }
      }),
    )
    const seconds = (performance.now() - started) / 1_000
    process.stderr.write(`${burst} pods in ${seconds.toFixed(1)} s: ${bare} bare, ${failures.length} refused\n`)
    assert.deepEqual([failures.slice(0, 3), bare, steady], [[], 0, burst])
  },
  { timeoutMilliseconds: 300_000 },
)

function quiet(): void {}

function policy() {
  const database = { name: 'orders', hosts: ['orders-db.data.svc.cluster.local'], databaseNames: ['orders'] }
  return readSessionPolicy({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name: 'orders', namespace },
    spec: {
      databases: [database],
      // In spellings that the API server stores otherwise.
      recording: { spoolBytesMax: '960Mi' },
      sidecar: { resources: { requests: { cpu: '0.01' } } },
    },
  })
}

async function create(pod: V1Pod): Promise<V1Pod> {
  return JSON.parse(await kubectl(['create', '-n', namespace, '-o', 'json', '-f', '-'], JSON.stringify(pod))) as V1Pod
}

function injectedAgain(pod: V1Pod) {
  assert.ok(world !== null)
  return injectPod({ namespace, namespaceLabels: labels, pod }, world)
}

function isSteady(pod: V1Pod): boolean {
  const injection = injectedAgain(pod)
  return injection.kind === 'injected' && patchBetween(pod, injection.pod).length === 0
}

function assertSteady(pod: V1Pod): void {
  const injection = injectedAgain(pod)
  assert.ok(injection.kind === 'injected', JSON.stringify(injection))
  assert.deepEqual(patchBetween(pod, injection.pod), [])
}
