// Goal: the NetworkPolicies stay what the SessionPolicies say, whoever changes them, and nobody else's is touched. Method: reconcile on a double
// of the API server; that they close and open what they say is e2e/kubernetes/network-policies.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchPolicyWorld } from '../../../cluster/policy-world.ts'
import { startTestApi, type TestApi } from '../../../cluster/test-api.ts'
import { testLog, until, untilQuiet } from '../../../cluster/test-support.ts'
import { startReconcile } from '../reconcile.ts'
import { standardNetworkSettings, type NetworkSettings } from './settings.ts'

const timeout = 120_000
const policyPath = '/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders'
const namespacePath = '/api/v1/namespaces/shop'
const at = (name: string): string => `/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/${name}`
const databases = [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }]
const policy = (allow: readonly object[]) => ({
  metadata: { name: 'orders', namespace: 'shop', uid: 'uid-orders' },
  spec: { databases, network: { allow } },
})
const namespace = { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } }
const ownLabels = { 'app.kubernetes.io/managed-by': 'steno', 'app.kubernetes.io/part-of': 'steno' }

function reconcile(api: TestApi, network: Partial<NetworkSettings> = {}, lookUp = async () => Promise.resolve(['52.1.2.3'])) {
  const { log, lines } = testLog()
  const ending = new AbortController()
  const watchTiming = { retryMillisecondsFirst: 5 }
  const world = watchPolicyWorld({ cluster: api.client, log, timing: watchTiming })
  const settings = {
    ...{ parametersName: 'steno', instance: 'test', statusMilliseconds: 5, rightsMilliseconds: 5_000, watchTiming },
    network: { ...standardNetworkSettings('steno-system'), ...network },
  }
  const running = startReconcile({
    ...{ cluster: api.client, world, settings, log, lookUp },
    controlPublicKey: () => 'PEM',
    signal: ending.signal,
  })
  return {
    running,
    lines,
    async [Symbol.asyncDispose]() {
      ending.abort()
      world.stop()
      await running.stopped
    },
  }
}

const has = (api: TestApi, name: string) => api.get(at(name)) !== undefined
const allow = [{ to: [{ podSelector: {} }] }]

/** Nothing more is asked of the API server. */
const quiet = (api: TestApi): Promise<void> => untilQuiet(() => api.requests.length, { turns: 80 })

test('they come with the namespace, follow the policy, and go with either', { timeout }, async () => {
  await using api = await startTestApi()
  await using __ = reconcile(api)
  api.put(namespacePath, namespace)
  await until(() => has(api, 'steno-egress'))
  api.put(policyPath, policy(allow))
  await until(() => has(api, 'steno-allow-orders'))
  api.put(policyPath, policy([]))
  await until(() => !has(api, 'steno-allow-orders'))
  assert.ok(has(api, 'steno-egress'))
  api.put(policyPath, policy(allow))
  await until(() => has(api, 'steno-allow-orders'))
  api.remove(namespacePath)
  await until(() => !has(api, 'steno-allow-orders') && !has(api, 'steno-egress'))
})

test('what somebody changes or deletes is put right, and counted and told as that alone', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(namespacePath, namespace)
  api.put(policyPath, policy(allow))
  await using run = reconcile(api)
  await until(() => has(api, 'steno-egress') && has(api, 'steno-allow-orders'))
  api.put(policyPath, policy([{ to: [{ podSelector: { matchLabels: { app: 'x' } } }] }]))
  await until(() => JSON.stringify(api.get(at('steno-allow-orders'))).includes('"app":"x"'))
  assert.equal(run.running.repaired, 0)
  const before = structuredClone(api.get(at('steno-egress')))
  await until(() => api.watchers >= 6)
  // A write that is under way would go over what somebody changes, and be no repair.
  await quiet(api)
  api.put(at('steno-egress'), { ...before!, spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] } })
  await until(
    () => JSON.stringify(api.get(at('steno-egress'))?.['spec']) === JSON.stringify(before?.['spec']) && run.running.repaired === 1,
  )
  api.remove(at('steno-egress'))
  await until(() => has(api, 'steno-egress') && run.running.repaired === 2)
  await until(() => api.requests.filter((request) => request === 'POST /apis/events.k8s.io/v1/namespaces/shop/events').length >= 2)
})

test('what is left of another time is taken away, and what is not steno’s stays', { timeout }, async () => {
  await using api = await startTestApi()
  const spec = { podSelector: {}, policyTypes: ['Egress'] }
  api.put(at('steno-allow-gone'), { metadata: { name: 'steno-allow-gone', namespace: 'shop', labels: ownLabels }, spec })
  api.put(at('steno-egress-of-mine'), { metadata: { name: 'steno-egress-of-mine', namespace: 'shop', labels: ownLabels }, spec })
  api.put(at('steno-allow-mine'), { metadata: { name: 'steno-allow-mine', namespace: 'shop' }, spec })
  await using __ = reconcile(api)
  await until(() => !has(api, 'steno-allow-gone'))
  api.put(namespacePath, namespace)
  await until(() => has(api, 'steno-egress'))
  assert.deepEqual([has(api, 'steno-egress-of-mine'), has(api, 'steno-allow-mine')], [true, true])
})

test('where steno is told to make none, those there are taken away', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(namespacePath, namespace)
  api.put(at('steno-egress'), { metadata: { name: 'steno-egress', namespace: 'shop', labels: ownLabels }, spec: {} })
  await using __ = reconcile(api, { isEnabled: false })
  await until(() => !has(api, 'steno-egress'))
})

test('of a policy that cannot be read, what was allowed last stays', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(namespacePath, namespace)
  api.put(policyPath, policy(allow))
  await using __ = reconcile(api)
  await until(() => has(api, 'steno-allow-orders'))
  const kept = JSON.stringify(api.get(at('steno-allow-orders')))
  api.put(policyPath, { ...policy(allow), spec: { databases: 'none' } })
  api.remove(at('steno-egress'))
  await until(() => has(api, 'steno-egress'))
  assert.equal(JSON.stringify(api.get(at('steno-allow-orders'))), kept)
})

test('the preset opens when the databases’ names were looked up, and a look-up that fails opens it as well', { timeout }, async () => {
  for (const lookUp of [async () => Promise.resolve(['52.1.2.3']), async () => Promise.reject(new Error('no such name'))]) {
    await using api = await startTestApi()
    api.put(namespacePath, namespace)
    api.put(policyPath, policy([{ preset: 'internet-https' }]))
    await using __ = reconcile(api, {}, lookUp)
    await until(() => JSON.stringify(api.get(at('steno-allow-orders')) ?? '').includes('0.0.0.0/0'))
  }
})

test('in a namespace that is being deleted what goes is not made again, quietly, and what is left is kept right', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(namespacePath, namespace)
  api.put(policyPath, policy(allow))
  await using run = reconcile(api)
  await until(() => has(api, 'steno-egress') && has(api, 'steno-allow-orders') && api.watchers >= 6)
  await quiet(api)
  const patched = (name: string): number => api.requests.filter((request) => request === `PATCH ${at(name)}`).length
  const before = patched('steno-egress')
  run.lines.length = 0
  api.faults.intercept = ({ method, path }) =>
    ['POST', 'PATCH'].includes(method) && /^\/apis\/(networking|events)\S*\/namespaces\/shop\//.test(path) && api.get(path) === undefined
      ? { status: 403, reason: 'Forbidden', cause: 'NamespaceTerminating' }
      : null
  api.remove(at('steno-egress'))
  const told = (): unknown[] =>
    run.lines.filter(({ level, msg }) => level === 'warn' || /being deleted/.test(msg)).map(({ level }) => level)
  await until(() => told().length > 0)
  await quiet(api)
  assert.deepEqual([told(), patched('steno-egress') - before], [['info'], 1])
  const allowed = structuredClone(api.get(at('steno-allow-orders')))!
  api.put(at('steno-allow-orders'), { ...allowed, spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] } })
  await until(() => JSON.stringify(api.get(at('steno-allow-orders'))?.['spec']) === JSON.stringify(allowed['spec']))
  api.remove(at('steno-allow-orders'))
  api.remove(policyPath)
  api.remove(namespacePath)
  await quiet(api)
  // Neither the event of the repair nor a status is worth a warning there.
  assert.deepEqual(
    run.lines.filter(({ msg }) => /failed|could not/.test(msg)),
    [],
  )
  assert.equal(run.running.repaired, 1)
  api.faults.intercept = null
  api.put(namespacePath, namespace)
  await until(() => has(api, 'steno-egress'))
  await quiet(api)
  assert.equal(run.running.repaired, 1)
})
