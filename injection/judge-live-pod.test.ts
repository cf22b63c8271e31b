// Goal: what the webhook makes is fit for as long as it runs, and nothing else ever is. Method: every pod that the injection makes, as an API
// server keeps it, after what clusters do to pods; and each way in which somebody would make it something else.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import fc from 'fast-check'
import { injectPod, type AdmissionWorld } from './inject-pod.ts'
import { judgeLivePod, judgeLivePodAgain, type LivePodVerdict, type LiveWorld } from './judge-live-pod.ts'
import { containersOf, defaulted, liveWorldOf, running } from './test-live-pods.ts'
import { anyPod } from './test-pods.ts'
import { agentPod, goldenNames, goldenPod, goldenWorld, ordersPolicy, requestFor, testWorld } from './test-world.ts'

const injectedGoldens = goldenNames.filter((name) => injectPod(requestFor(goldenPod(name)), goldenWorld(name)).kind === 'injected')

function live(pod: V1Pod, world: AdmissionWorld = testWorld()): V1Pod {
  const injection = injectPod(requestFor(defaulted(pod)), world)
  assert.ok(injection.kind === 'injected', JSON.stringify(injection))
  return running(structuredClone(injection.pod))
}

function assertFit(verdict: LivePodVerdict, isCurrent = true): void {
  assert.deepEqual(verdict.kind === 'fit' ? verdict.isCurrent : verdict, isCurrent)
}

for (const name of injectedGoldens)
  test(`a pod that was injected is fit and current while it runs: ${name}`, () => {
    const verdict = judgeLivePod(live(goldenPod(name), goldenWorld(name)), liveWorldOf(goldenWorld(name)))
    assertFit(verdict)
    const injection = injectPod(requestFor(goldenPod(name)), goldenWorld(name))
    assert.deepEqual(verdict.kind === 'fit' && verdict.policy, injection.kind === 'injected' && injection.policy)
  })

test('whatever pod is injected is fit and current', () => {
  let count = 0
  fc.assert(
    fc.property(anyPod, (pod) => {
      const injection = injectPod(requestFor(defaulted(pod)), testWorld())
      if (injection.kind !== 'injected') return
      count++
      assertFit(judgeLivePod(running(structuredClone(injection.pod)), liveWorldOf(testWorld())))
    }),
    { numRuns: 500 },
  )
  assert.ok(count > 50, `${count} were injected`)
})

const harmless: readonly (readonly [string, (pod: V1Pod) => void, boolean?])[] = [
  ['a rollout is asked for', (pod) => (pod.metadata!.annotations!['kubectl.kubernetes.io/restartedAt'] = '2026-11-21T20:00:00Z')],
  ['labels and owners are added', (pod) => (pod.metadata!.labels!['pod-template-hash'] = '6d5')],
  ['it ends', (pod) => (pod.metadata!.deletionTimestamp = '2026-11-21T20:00:00Z' as unknown as Date)],
  ['an operator tolerates more', (pod) => pod.spec!.tolerations!.push({ operator: 'Exists' })],
  ['AlwaysPullImages is in force', (pod) => containersOf(pod).forEach((container) => (container.imagePullPolicy = 'Always'))],
  [
    'the API server defaults how resources may be changed',
    (pod) => (sidecarOf(pod).resizePolicy = [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }]),
  ],
  [
    'a LimitRange gave its containers limits',
    (pod) =>
      containersOf(pod).forEach(
        (one) => (one.resources = { limits: { cpu: '1', memory: '256Mi' }, requests: { cpu: '10m', memory: '96Mi' } }),
      ),
  ],
  [
    'a debug container stands beside the agent',
    (pod) => (pod.spec!.ephemeralContainers = [{ name: 'debugger', image: 'busybox', targetContainerName: 'agent' }]),
  ],
  ['the sidecar was given more memory in place', (pod) => (sidecarOf(pod).resources!.limits!['memory'] = '1Gi'), false],
]
for (const [what, change, isCurrent] of harmless)
  test(`a pod stays fit when ${what}`, () => {
    const pod = live(agentPod())
    change(pod)
    assertFit(judgeLivePod(pod, liveWorldOf(testWorld())), isCurrent)
  })

/** As its author wrote it. */
const agent = { name: '', image: 'x', env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }] }

const hostile: readonly (readonly [string, (pod: V1Pod) => void])[] = [
  ['runs another image', (pod) => (sidecarOf(pod).image = 'registry.example.com/steno@sha256:f00')],
  ['runs an image that begins like ours', (pod) => (sidecarOf(pod).image += '0')],
  ['has a command', (pod) => (sidecarOf(pod).command = ['sh'])],
  ['has other arguments', (pod) => (sidecarOf(pod).args = ['sidecar', '--inspect'])],
  ['has no arguments', (pod) => delete sidecarOf(pod).args],
  ['has NODE_OPTIONS', (pod) => sidecarOf(pod).env!.push({ name: 'NODE_OPTIONS', value: '--import=/x' })],
  ['has a variable of any other name', (pod) => sidecarOf(pod).env!.push({ name: 'STENO_EXTRA', value: 'x' })],
  ['takes variables from a ConfigMap', (pod) => (sidecarOf(pod).envFrom = [{ configMapRef: { name: 'x' } }])],
  ['has its configuration twice', (pod) => sidecarOf(pod).env!.push(structuredClone(variable(pod, 'STENO_SIDECAR_CONFIG')))],
  [
    'has its configuration from a ConfigMap',
    (pod) =>
      Object.assign(variable(pod, 'STENO_SIDECAR_CONFIG'), { value: undefined, valueFrom: { configMapKeyRef: { name: 'x', key: 'x' } } }),
  ],
  ['says that it is another pod', (pod) => Object.assign(variable(pod, 'STENO_POD_UID'), { value: 'another', valueFrom: undefined })],
  ['is told of another control', (pod) => configured(pod, (config) => (config.control.url = 'https://steno-control.evil.svc:443'))],
  ['is told of another relay', (pod) => configured(pod, (config) => (config.relay = { endpoint: 'relay.evil.svc:8443' }))],
  ['is told of no relay', (pod) => configured(pod, (config) => (config.relay = null))],
  [
    'trusts another key',
    (pod) => (variable(pod, 'STENO_CONTROL_PUBLIC_KEY').value = '-----BEGIN PUBLIC KEY-----\nMCoZ\n-----END PUBLIC KEY-----\n'),
  ],
  ['has no key', (pod) => (sidecarOf(pod).env = sidecarOf(pod).env!.filter(({ name }) => name !== 'STENO_CONTROL_PUBLIC_KEY'))],
  [
    'may reach another host, under the same hash',
    (pod) => configured(pod, (config) => config.listeners[0].allowed.hosts.push('evil.example.com')),
  ],
  ['may speak without TLS, under the same hash', (pod) => configured(pod, (config) => (config.listeners[0].tls.mode = 'disable'))],
  [
    'may use another database, under the same hash',
    (pod) => configured(pod, (config) => config.listeners[0].allowed.databaseNames.push('payroll')),
  ],
  ['only reports open ways, under the same hash', (pod) => configured(pod, (config) => (config.enforcement.onOpenPath = 'Report'))],
  ['records to another store, under the same hash', (pod) => configured(pod, (config) => (config.control.store = 'other'))],
  ['lets statements pass unrecorded, under the same hash', (pod) => configured(pod, (config) => (config.recording.onFailure = 'continue'))],
  ['names another policy than the annotation', (pod) => configured(pod, (config) => (config.policy.hash = '0'.repeat(32)))],
  ['has a configuration that is none', (pod) => (variable(pod, 'STENO_SIDECAR_CONFIG').value = '{')],
  ['has a configuration that is too long', (pod) => (variable(pod, 'STENO_SIDECAR_CONFIG').value += ' '.repeat(100_000))],
  ['has a configuration of another form', (pod) => configured(pod, (config) => (config.version = 2))],
  [
    'has a mode that nobody knows',
    (pod) => {
      configured(pod, (config) => Object.assign(config, { relay: null, enforcement: { mode: 'None', onOpenPath: 'Block' } }))
      pod.metadata!.labels!['steno.dev/enforcement'] = 'None'
    },
  ],
  [
    'names no policy',
    (pod) => {
      configured(pod, (config) => delete (config.policy as { hash?: string }).hash)
      delete pod.metadata!.annotations!['steno.dev/policy-hash']
    },
  ],
  ['has its volumes twice', (pod) => pod.spec!.volumes!.push(structuredClone(volume(pod, 'steno-spool')))],
  ['stands beside a container that was given the credential', (pod) => pod.spec!.containers.push({ ...agent, name: 'second' })],
  ['stands before an init container that was given the credential', (pod) => pod.spec!.initContainers!.push({ ...agent, name: 'first' })],
  ['stands beside a volume with the credential', (pod) => pod.spec!.volumes!.push({ name: 'x', secret: { secretName: 'orders-db' } })],
  ['runs as root', (pod) => (sidecarOf(pod).securityContext!.runAsUser = 0)],
  ['has a capability', (pod) => (sidecarOf(pod).securityContext!.capabilities!.add = ['SYS_PTRACE'])],
  ['is privileged', (pod) => (sidecarOf(pod).securityContext!.privileged = true)],
  ['ends with its first fault', (pod) => delete sidecarOf(pod).restartPolicy],
  ['runs a hook', (pod) => (sidecarOf(pod).lifecycle!.postStart = { exec: { command: ['sh'] } })],
  ['is probed by a command', (pod) => (sidecarOf(pod).livenessProbe = { exec: { command: ['sh'] } })],
  ['mounts a volume of the agent', (pod) => sidecarOf(pod).volumeMounts!.push({ name: 'kube-api-access-dtxg8', mountPath: '/app' })],
  ['does not mount its spool', (pod) => sidecarOf(pod).volumeMounts!.shift()],
  ['has a terminal', (pod) => (sidecarOf(pod).stdin = true)],
  ['is not there', (pod) => (pod.spec!.initContainers = [])],
  ['is there twice', (pod) => pod.spec!.initContainers!.push(structuredClone(sidecarOf(pod)))],
  ['starts after a container of the author', (pod) => pod.spec!.initContainers!.unshift({ name: 'first', image: 'x' })],
  ['shares its token with the agent', (pod) => pod.spec!.containers[0]!.volumeMounts!.push({ name: 'steno-token', mountPath: '/token' })],
  ['shares its spool with the agent', (pod) => pod.spec!.containers[0]!.volumeMounts!.push({ name: 'steno-spool', mountPath: '/spool' })],
  ['shares its user with the agent', (pod) => (pod.spec!.containers[0]!.securityContext = { runAsUser: 64_242 })],
  ['shares its processes with the agent', (pod) => (pod.spec!.shareProcessNamespace = true)],
  ['is on the node’s network', (pod) => (pod.spec!.hostNetwork = true)],
  ['sees the node’s processes', (pod) => (pod.spec!.hostPID = true)],
  ['is debugged', (pod) => (pod.spec!.ephemeralContainers = [{ name: 'debugger', image: 'busybox', targetContainerName: 'steno' }])],
  [
    'shares its token with a debug container',
    (pod) =>
      (pod.spec!.ephemeralContainers = [{ name: 'debugger', image: 'busybox', volumeMounts: [{ name: 'steno-token', mountPath: '/x' }] }]),
  ],
  [
    'shares its user with a debug container',
    (pod) => (pod.spec!.ephemeralContainers = [{ name: 'debugger', image: 'busybox', securityContext: { runAsUser: 64_242 } }]),
  ],
  [
    'stands beside a debug container with the credential',
    (pod) =>
      (pod.spec!.ephemeralContainers = [
        { name: 'debugger', image: 'busybox', env: [{ name: 'U', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }] },
      ]),
  ],
  [
    'stands beside an agent with the credential',
    (pod) => pod.spec!.containers[0]!.env!.push({ name: 'SECOND_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }),
  ],
  [
    'has a token of another kind',
    (pod) => (volume(pod, 'steno-token').projected!.sources![0]!.serviceAccountToken!.audience = 'steno-relay'),
  ],
  [
    'has a token of the API beside its own',
    (pod) => volume(pod, 'steno-token').projected!.sources!.push({ serviceAccountToken: { path: 'api' } }),
  ],
  ['has the token of a release without a relay', (pod) => volume(pod, 'steno-token').projected!.sources!.pop()],
  ['has its spool in memory', (pod) => (volume(pod, 'steno-spool').emptyDir!.medium = 'Memory')],
  ['has a spool of another size', (pod) => (volume(pod, 'steno-spool').emptyDir!.sizeLimit = '1Mi')],
  [
    'keeps its spool on a claim',
    (pod) => Object.assign(volume(pod, 'steno-spool'), { emptyDir: undefined, persistentVolumeClaim: { claimName: 'x' } }),
  ],
  ['has no volume for its token', (pod) => (pod.spec!.volumes = pod.spec!.volumes!.filter(({ name }) => name !== 'steno-token'))],
  [
    'stands beside another volume with its token',
    (pod) =>
      pod.spec!.volumes!.push({ name: 'mine', projected: { sources: [{ serviceAccountToken: { audience: 'steno-relay', path: 't' } }] } }),
  ],
  ['has another label of its enforcement', (pod) => (pod.metadata!.labels!['steno.dev/enforcement'] = 'CredentialsOnly')],
  ['has no label of its enforcement', (pod) => delete pod.metadata!.labels!['steno.dev/enforcement']],
  ['has no label', (pod) => delete pod.metadata!.labels!['steno.dev/injected']],
  ['has the annotation of another policy', (pod) => (pod.metadata!.annotations!['steno.dev/policy-hash'] = '0'.repeat(32))],
]
for (const [what, change] of hostile)
  test(`a pod is unfit whose sidecar ${what}`, () => {
    const pod = live(agentPod())
    assertFit(judgeLivePod(pod, liveWorldOf(testWorld())))
    change(pod)
    const verdict = judgeLivePod(pod, liveWorldOf(testWorld()))
    assert.equal(verdict.kind, 'unfit', JSON.stringify(verdict))
    assert.doesNotMatch(verdict.kind === 'unfit' ? verdict.reason : '', /evil|STENO_EXTRA/)
  })

/** Of those above, what an earlier policy or release could have had: it is taken from the policies of now. */
const decidedByPolicy = /under the same hash|another size|credential$/
for (const [what, change] of hostile.filter(([name]) => !decidedByPolicy.test(name)))
  test(`neither an older policy nor an older release makes a pod fit whose sidecar ${what}`, () => {
    const changed = liveWorldOf(testWorld(`${ordersPolicy}  recording: { onFailure: continue }\n`))
    const older = {
      ...liveWorldOf(testWorld()),
      images: ['registry.example.com/steno@sha256:next', testWorld().sidecarImage],
      version: '1.3.0',
    }
    for (const world of [changed, older]) {
      const pod = live(agentPod())
      assertFit(judgeLivePod(pod, world), false)
      change(pod)
      assert.equal(judgeLivePod(pod, world).kind, 'unfit')
    }
  })

test('a change of any field of the sidecar that the webhook sets is found', () => {
  const pod = live(agentPod())
  const decided = new Set(['env', 'resources', 'imagePullPolicy'])
  for (const field of Object.keys(sidecarOf(pod)).filter((name) => !decided.has(name))) {
    const changed = structuredClone(pod)
    delete (sidecarOf(changed) as unknown as Record<string, unknown>)[field]
    assert.equal(judgeLivePod(changed, liveWorldOf(testWorld())).kind, 'unfit', field)
  }
  for (const { name } of sidecarOf(pod).env ?? []) {
    const changed = structuredClone(pod)
    sidecarOf(changed).env = sidecarOf(changed).env!.filter((one) => one.name !== name)
    assert.equal(judgeLivePod(changed, liveWorldOf(testWorld())).kind, 'unfit', name)
  }
})

test('a pod of an earlier policy is fit, by the policy of now', () => {
  const pod = live(agentPod())
  const world = liveWorldOf(testWorld(ordersPolicy.replace('orders-db.data', 'other-db.data')))
  const verdict = judgeLivePod(pod, world)
  assert.ok(verdict.kind === 'fit')
  assert.deepEqual([verdict.isCurrent, verdict.policy.databases[0]?.hosts], [false, ['other-db.data.svc.cluster.local']])
})

test('a pod whose policy got another name, or says the same in another order, is fit and not current', () => {
  const two = ordersPolicy.replace('[orders-db.data.svc.cluster.local]', '[a.example.com, b.example.com]')
  const pod = live(agentPod(), testWorld(two))
  for (const policies of [
    two.replace('name: orders,', 'name: renamed,'),
    two.replace('[a.example.com, b.example.com]', '[b.example.com, a.example.com]'),
  ])
    assertFit(judgeLivePod(pod, liveWorldOf(testWorld(policies))), false)
  assertFit(judgeLivePod(pod, liveWorldOf(testWorld(two))))
})

test('a pod as a cluster has it is fit and current', () => {
  const pod = JSON.parse(readFileSync(new URL('live/pod.json', import.meta.url), 'utf8')) as V1Pod
  const policies = `${ordersPolicy
    .replace('orders-db.data.svc.cluster.local', 'orders-db.shop-db-fl6s99.svc.cluster.local')
    .replace(
      'databaseNames: [orders]',
      'databaseNames: [shop]\n      tls: { mode: verify-full, ca: { configMapKeyRef: { name: orders-ca, key: ca.crt } } }',
    )}  enforcement: { mode: CredentialsOnly }\n`
  const images = [sidecarOf(pod).image ?? '']
  const controlPublicKeys = [variable(pod, 'STENO_CONTROL_PUBLIC_KEY').value ?? '']
  assertFit(judgeLivePod(pod, liveWorldOf(testWorld(policies), { images, controlPublicKeys, version: '0.1.0' })))
})

test('a pod of the release before the relay, as a cluster had it, is fit and not current', () => {
  const pod = JSON.parse(readFileSync(new URL('live/pod-without-relay.json', import.meta.url), 'utf8')) as V1Pod
  const image = sidecarOf(pod).image ?? ''
  const key = variable(pod, 'STENO_CONTROL_PUBLIC_KEY').value ?? ''
  const policies = ordersPolicy
    .replace('orders-db.data.svc', 'orders-db.nu-db.svc')
    .replace(
      'databaseNames: [orders]',
      'databaseNames: [shop]\n      tls: { mode: verify-full, ca: { configMapKeyRef: { name: orders-ca, key: ca.crt } } }',
    )
  const world = liveWorldOf(testWorld(policies), {
    images: ['registry.example.com/steno@sha256:next', image],
    controlPublicKeys: [key],
    version: '0.1.0',
  })
  assertFit(judgeLivePod(pod, world), false)
  assert.equal(judgeLivePod(pod, { ...world, images: ['registry.example.com/steno@sha256:next'] }).kind, 'unfit')
  pod.metadata!.labels!['steno.dev/enforcement'] = 'Relay'
  assert.equal(judgeLivePod(pod, world).kind, 'unfit')
})

test('a debug container is told where the relay lets it through: nowhere', () => {
  const pod = live(agentPod())
  pod.spec!.ephemeralContainers = [{ name: 'steno', image: 'busybox' }]
  assert.equal(judgeLivePod(pod, liveWorldOf(testWorld())).kind, 'unfit')
})

const worlds: readonly (readonly [string, Partial<LiveWorld>])[] = [
  ['whose namespace is not opted in', { namespaceLabels: new Map([['other', {}]]) }],
  ['for which a policy cannot be read', { unreadable: new Map([['shop', 'spec: is none']]) }],
  ['whose image is none of the installation’s', { images: ['registry.example.com/steno@sha256:0ld'] }],
  ['whose key is none of control’s', { controlPublicKeys: [] }],
  ['that is exempt', { clusterPolicies: testWorld(exemptPolicy()).clusterPolicies }],
  [
    'whose policies contradict each other',
    {
      policies: [
        ...testWorld().policies,
        ...testWorld(ordersPolicy.replace('name: orders,', 'name: second,').replace('[orders]', '[other]')).policies,
      ],
    },
  ],
]
for (const [which, more] of worlds)
  test(`a pod is unfit ${which}`, () => {
    const verdict = judgeLivePod(live(agentPod()), liveWorldOf(testWorld(), more))
    assert.equal(verdict.kind, 'unfit')
    // Then its sidecar is told.
    const isByPolicies = more.images === undefined && more.controlPublicKeys === undefined
    assert.equal(verdict.kind === 'unfit' && verdict.by, isByPolicies ? 'policies' : undefined)
  })

test('a verdict is taken along into another world exactly when the pod need not be seen again', () => {
  const pod = live(agentPod())
  const facts = { namespace: 'shop', labels: pod.metadata?.labels ?? {} }
  const now = liveWorldOf(testWorld())
  const next = liveWorldOf(testWorld(ordersPolicy.replace('orders-db.data', 'other-db.data')))
  const first = judgeLivePod(pod, now)
  assert.deepEqual(judgeLivePodAgain(facts, first, { ...now }), first)
  assert.deepEqual(judgeLivePodAgain(facts, first, next), judgeLivePod(pod, next))
  // It was not compared with the policy of its hash while another held.
  assert.equal(judgeLivePodAgain(facts, judgeLivePod(pod, next), now), null)
  for (const more of [{ images: [] }, { controlPublicKeys: [] }, { version: '2' }, { controlUrl: 'https://x' }, { relayEndpoint: 'x:1' }])
    assert.equal(judgeLivePodAgain(facts, first, { ...now, ...more }), null, JSON.stringify(more))
  assert.equal(judgeLivePodAgain(facts, { kind: 'unfit', reason: 'x' }, now), null)
  assert.equal(judgeLivePodAgain(facts, first, { ...now, namespaceLabels: new Map() })?.kind, 'unfit')
  const wider = liveWorldOf(testWorld(`${ordersPolicy}  sidecar: { resources: { limits: { memory: 1Gi } } }\n`))
  assert.equal(judgeLivePodAgain(facts, first, wider), null)
  assertFit(judgeLivePod(pod, wider), false)
})

function exemptPolicy(): string {
  return `
apiVersion: steno.dev/v1alpha1
kind: ClusterSessionPolicy
metadata: { name: floor }
spec:
  exemptPods: [{ namespaces: [shop], reason: is not an agent }]
`
}

function sidecarOf(pod: V1Pod): V1Container {
  const sidecar = (pod.spec?.initContainers ?? []).find(({ name }) => name === 'steno')
  assert.ok(sidecar !== undefined)
  return sidecar
}

function variable(pod: V1Pod, name: string): NonNullable<V1Container['env']>[number] {
  const found = (sidecarOf(pod).env ?? []).find((one) => one.name === name)
  assert.ok(found !== undefined)
  return found
}

function volume(pod: V1Pod, name: string): NonNullable<NonNullable<V1Pod['spec']>['volumes']>[number] {
  const found = (pod.spec?.volumes ?? []).find((one) => one.name === name)
  assert.ok(found !== undefined)
  return found
}

type Told = {
  version: number
  control: { url: string; store: string }
  relay: object | null
  enforcement: { onOpenPath: string }
  policy: { hash: string }
  recording: { onFailure: string }
  listeners: [{ allowed: { hosts: string[]; databaseNames: string[] }; tls: { mode: string } }]
}

function configured(pod: V1Pod, change: (config: Told) => unknown): void {
  const one = variable(pod, 'STENO_SIDECAR_CONFIG')
  const config = JSON.parse(one.value ?? '') as Told
  change(config)
  one.value = JSON.stringify(config)
}
