// Goal: statuses and parameters follow what there is, by few writes, and other writers' words stay. Method: reconcile on a double of the API
// server; the same on a real one is e2e/kubernetes/runtime.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchPolicyWorld } from '../../cluster/policy-world.ts'
import { startTestApi, type TestApi } from '../../cluster/test-api.ts'
import { testLog, until, untilQuiet } from '../../cluster/test-support.ts'
import type { Condition } from '../../cluster/conditions.ts'
import { standardNetworkSettings } from './network-policies/settings.ts'
import { createAuthority } from '../../cluster/certificates/authority.ts'
import { startReconcile } from './reconcile.ts'

const timeout = 120_000
const steno = '/apis/steno.dev/v1alpha1'
const at = {
  policy: `${steno}/namespaces/shop/sessionpolicies/orders`,
  floor: `${steno}/clustersessionpolicies/floor`,
  store: `${steno}/recordingstores/default`,
  parameters: `${steno}/admissionparameters/steno`,
  namespace: '/api/v1/namespaces/shop',
  pod: (name: string) => `/api/v1/namespaces/shop/pods/${name}`,
}
const databases = [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }]
const policy = { metadata: { name: 'orders', namespace: 'shop' }, spec: { databases } }
const namespace = { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } }
const reachable = { type: 'StoreReachable', status: 'True', reason: 'Proven', message: 'ok', lastTransitionTime: '2026-01-01T00:00:00Z' }
const store = { metadata: { name: 'default' }, spec: { type: 'volume' }, status: { conditions: [reachable] } }
const pod = (name: string) => ({ metadata: { name, namespace: 'shop' }, spec: { serviceAccountName: 'agent', containers: [] } })

function reconcile(api: TestApi, certificates: readonly string[] = [], statusMilliseconds = 5) {
  const { log, lines } = testLog()
  const ending = new AbortController()
  const timing = { retryMillisecondsFirst: 5 }
  const world = watchPolicyWorld({ cluster: api.client, log, timing })
  const settings = {
    parametersName: 'steno',
    instance: 'test',
    statusMilliseconds,
    rightsMilliseconds: 50,
    network: standardNetworkSettings('steno-system'),
    watchTiming: timing,
  }
  const trust = { pem: certificates.join('') }
  const controlCa = (): string => trust.pem
  const running = startReconcile({
    ...{ cluster: api.client, world, controlPublicKey: () => 'PEM', controlCa, settings, log, signal: ending.signal },
  })
  return {
    ...{ lines, running, trust },
    async [Symbol.asyncDispose]() {
      ending.abort()
      world.stop()
      await running.stopped
    },
  }
}

const statusOf = (api: TestApi, path: string) =>
  (api.get(path)?.['status'] ?? {}) as { conditions?: Condition[]; pods?: { readonly matched?: number } }
const reasonOf = (api: TestApi, path: string, type: string): string | undefined =>
  statusOf(api, path).conditions?.find((condition) => condition.type === type)?.reason

test('a policy’s status follows namespace, store and pods', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at.policy, policy)
  await using __ = reconcile(api)
  await until(() => reasonOf(api, at.policy, 'Ready') === 'NamespaceNotOptedIn')
  api.put(at.namespace, namespace)
  await until(() => reasonOf(api, at.policy, 'Ready') === 'StoreNotFound')
  api.put(at.store, store)
  await until(() => reasonOf(api, at.policy, 'Ready') === 'InForce')
  assert.equal(reasonOf(api, at.policy, 'StoreReachable'), 'Proven')
  await until(() => reasonOf(api, at.store, 'Ready') === 'Proven')
  assert.equal(reasonOf(api, at.store, 'StoreReachable'), 'Proven', 'what control said stays')
  api.put(at.pod('old'), pod('old'))
  await until(() => JSON.stringify(statusOf(api, at.policy).pods) === JSON.stringify({ matched: 1, injected: 0, stale: 0, bare: 1 }))
  await until(() => api.requests.includes('POST /apis/events.k8s.io/v1/namespaces/shop/events'))
  api.remove(at.pod('old'))
  await until(() => reasonOf(api, at.policy, 'CredentialsIsolated') === 'NoPods')
})

test('when nothing changes nothing is written, and a burst of pods is few writes', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at.policy, policy)
  api.put(at.namespace, namespace)
  api.put(at.store, store)
  await using __ = reconcile(api, [], 100)
  await until(() => reasonOf(api, at.policy, 'Ready') === 'InForce' && reasonOf(api, at.store, 'Ready') === 'Proven')
  const writes = (): number => api.requests.filter((request) => request === `PATCH ${at.policy}/status`).length
  const before = writes()
  for (let number = 0; number < 300; number++) api.put(at.pod(`burst-${number}`), pod(`burst-${number}`))
  await until(() => statusOf(api, at.policy).pods?.matched === 300)
  assert.ok(writes() - before < 30, `${writes() - before} writes for 300 pods`)
  await until(() => reasonOf(api, at.policy, 'CredentialsIsolated') === 'BarePods')
  await untilQuiet(writes, { turns: 250 })
  const settled = writes()
  api.put(at.pod('burst-0'), { ...pod('burst-0'), status: { phase: 'Running' } })
  await untilQuiet(writes, { turns: 250 })
  assert.equal(writes(), settled, 'a pod whose meaning did not change writes nothing')
})

test('a right of the agents’ account is found, named, and forgotten when it is taken away', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at.policy, policy)
  api.put(at.namespace, namespace)
  api.put(at.store, store)
  const injected = {
    metadata: { ...pod('agent').metadata, annotations: { 'steno.dev/policy-hash': 'any' } },
    spec: { ...pod('agent').spec, initContainers: [{ name: 'steno', restartPolicy: 'Always' }] },
  }
  api.put(at.pod('agent'), injected)
  await using __ = reconcile(api)
  await until(() => reasonOf(api, at.policy, 'CredentialsIsolated') === 'Isolated')
  const account = '/api/v1/namespaces/shop/serviceaccounts/agent'
  api.put(account, { metadata: { name: 'agent', namespace: 'shop', annotations: { 'iam.gke.io/gcp-service-account': 'x@y' } } })
  await until(() => reasonOf(api, at.policy, 'CredentialsIsolated') === 'ServiceAccountHasCloudIdentity')
  api.remove(account)
  await until(() => reasonOf(api, at.policy, 'CredentialsIsolated') === 'Isolated')
})

test('a policy that this release cannot read is said to be out of force', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at.policy, { ...policy, spec: { databases: 'orders' } })
  api.put(at.namespace, namespace)
  await using __ = reconcile(api)
  await until(() => reasonOf(api, at.policy, 'Ready') === 'Invalid')
})

test(
  'the parameters of the admission policies follow the ClusterSessionPolicies, and what the chart wrote stays',
  { timeout },
  async () => {
    await using api = await startTestApi()
    api.put(at.parameters, {
      metadata: { name: 'steno' },
      spec: { images: ['steno:1'], stenoNamespace: 'steno-system', exemptPods: [], foreignInitContainers: [] },
    })
    const exemptPods = [{ namespaces: ['shop', 'other'], matchLabels: { tier: 'exporter' }, reason: 'it exports' }]
    const foreignInitContainers = [{ name: 'mesh', image: 'mesh/init' }]
    api.put(at.floor, { metadata: { name: 'floor' }, spec: { exemptPods, foreignInitContainers } })
    await using __ = reconcile(api)
    const spec = () => api.get(at.parameters)?.['spec'] as Record<string, unknown>
    await until(() => (spec()['exemptPods'] as unknown[]).length === 2)
    assert.deepEqual(spec(), {
      images: ['steno:1'],
      stenoNamespace: 'steno-system',
      exemptPods: ['shop', 'other'].map((name) => ({ namespace: name, matchLabels: { tier: 'exporter' } })),
      foreignInitContainers,
      knownImages: ['steno:1'],
      controlCas: [],
      controlPublicKeys: ['PEM'],
    })
    assert.equal(reasonOf(api, at.floor, 'Ready'), 'InForce')
    // A selector that does not select the namespace: its exemption goes.
    api.put(at.namespace, namespace)
    api.put(at.floor, { metadata: { name: 'floor' }, spec: { exemptPods, namespaceSelector: { matchLabels: { team: 'a' } } } })
    await until(() => (spec()['exemptPods'] as unknown[]).length === 0 && (spec()['foreignInitContainers'] as unknown[]).length === 0)
  },
)

test('the parameters name each authority as soon as there is one, and those before it, ended ones too', { timeout }, async () => {
  await using api = await startTestApi()
  const spec = () => api.get(at.parameters)?.['spec'] as { controlCas?: readonly string[] }
  api.put(at.parameters, { metadata: { name: 'steno' }, spec: { images: ['steno:1'], stenoNamespace: 'steno-system' } })
  const day = 86_400_000
  // Pods may have the ended one beside one that holds.
  const made = async (days: number) =>
    (await createAuthority({ notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() + days * day) })).cert
  const [ended, former, active, next] = await Promise.all([made(-1), made(1), made(2), made(3)])
  await using running = reconcile(api, [active, former, ended])
  await until(() => JSON.stringify(spec().controlCas) === JSON.stringify([active, former, ended]))
  running.trust.pem = [next, active].join('')
  running.running.refreshParameters()
  await until(() => JSON.stringify(spec().controlCas) === JSON.stringify([next, active, former, ended]))
})

test('what pods were made with is known to the installation after an uninstallation', { timeout }, async () => {
  await using api = await startTestApi()
  const spec = () => (api.get(at.parameters)?.['spec'] ?? {}) as { knownImages?: readonly string[]; controlCas?: readonly string[] }
  const install = (image: string) =>
    api.put(at.parameters, { metadata: { name: 'steno' }, spec: { ...spec(), images: [image], stenoNamespace: 'steno-system' } })
  const validity = { notBefore: new Date(Date.now() - 1_000), notAfter: new Date(Date.now() + 86_400_000) }
  const [before, after] = [(await createAuthority(validity)).cert, (await createAuthority(validity)).cert]
  install('steno:1')
  {
    await using __ = reconcile(api, [before])
    await until(() => spec().knownImages?.length === 1 && spec().controlCas?.length === 1)
    api.remove(at.parameters)
  }
  install('steno:2')
  await using __ = reconcile(api, [after])
  await until(() => JSON.stringify(spec().knownImages) === '["steno:2","steno:1"]')
  assert.deepEqual(spec().controlCas, [after, before])
  // Somebody's own words in it are no reason to stop, and are not taken for images.
  const remembered = '/api/v1/namespaces/steno-system/configmaps/steno-remembered'
  api.put(remembered, { metadata: { name: 'steno-remembered', namespace: 'steno-system' }, data: { 'images.json': '{not JSON' } })
  install('steno:3')
  await until(
    () =>
      (api.get(remembered) as { data?: Record<string, string> } | undefined)?.data?.['images.json'] === '["steno:3","steno:2","steno:1"]',
  )
})

test('an image that the chart named once stays known after a rollback, which names it no more', { timeout }, async () => {
  await using api = await startTestApi()
  const spec = () => api.get(at.parameters)?.['spec'] as Record<string, unknown>
  const install = (images: string[]) => api.put(at.parameters, { metadata: { name: 'steno' }, spec: { ...spec(), images } })
  api.put(at.parameters, { metadata: { name: 'steno' }, spec: { images: ['steno:1'], stenoNamespace: 'steno-system' } })
  await using __ = reconcile(api)
  await until(() => JSON.stringify(spec()['knownImages']) === '["steno:1"]')
  install(['steno:2', 'steno:1'])
  await until(() => JSON.stringify(spec()['knownImages']) === '["steno:2","steno:1"]')
  install(['steno:1'])
  await until(() => JSON.stringify(spec()['knownImages']) === '["steno:1","steno:2"]')
  assert.deepEqual(spec()['images'], ['steno:1'])
  install(Array.from({ length: 8 }, (_, at_) => `steno:${at_ + 3}`))
  await until(() => (spec()['knownImages'] as string[]).length === 8)
  assert.ok(!(spec()['knownImages'] as string[]).includes('steno:2'), 'the oldest goes')
})

test('a conflict with another writer is worked on again, and nobody’s words are lost', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at.store, store)
  let conflicts = 2
  api.faults.intercept = ({ method, path }) =>
    method === 'PATCH' && path === `${at.store}/status` && conflicts-- > 0 ? { status: 409, reason: 'Conflict' } : null
  await using __ = reconcile(api)
  await until(() => reasonOf(api, at.store, 'Ready') === 'Proven')
  assert.equal(conflicts, -1)
})
