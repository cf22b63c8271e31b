// Goal: what pods are judged by is one object until something of it changes, and is not there while something is missing. Method: a double of the API server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { believedMillisecondsMax } from './heard.ts'
import { watchLiveWorld } from './live-world.ts'
import { watchPolicyWorld } from './policy-world.ts'
import { startTestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'

const steno = '/apis/steno.dev/v1alpha1'
const settings = { controlUrl: 'https://control', relayEndpoint: 'relay:8443', version: '1.2.3' }
const spec = { databases: [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }] }
const policy = (more: object = {}) => ({ metadata: { name: 'orders', namespace: 'shop', uid: 'u' }, spec, ...more })

test(
  'what pods are judged by is there when all of it is, and another object after each change that counts',
  { timeout: 120_000 },
  async () => {
    await using api = await startTestApi()
    const { log } = testLog()
    api.put('/api/v1/namespaces/shop', { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } })
    api.put(`${steno}/namespaces/shop/sessionpolicies/orders`, policy())
    const world = watchPolicyWorld({ cluster: api.client, log })
    const live = watchLiveWorld({ cluster: api.client, world, settings, log })
    assert.equal(live.current(), null)
    await until(() => world.isSynced() && /no AdmissionParameters/.test(live.missing()[0] ?? ''))
    assert.equal(live.current(), null)
    let told = 0
    live.subscribe(() => told++)
    await until(() => api.watchers === 5)
    api.put(`${steno}/admissionparameters/steno`, { metadata: { name: 'steno' }, spec: { images: ['steno:1'] } })
    await until(() => /key of control/.test(live.missing()[0] ?? ''))
    assert.equal(live.current(), null)
    api.put(`${steno}/admissionparameters/steno`, {
      metadata: { name: 'steno' },
      spec: { images: ['steno:1'], knownImages: ['steno:1', 'steno:2'], controlPublicKeys: ['key'] },
    })
    await until(() => live.missing().length === 0)
    const first = live.current()
    assert.deepEqual([first?.images, first?.controlPublicKeys, first?.version], [['steno:1', 'steno:2'], ['key'], '1.2.3'])
    assert.deepEqual([first?.policies.length, [...(first?.namespaceLabels.keys() ?? [])], first?.unreadable.size], [1, ['shop'], 0])
    assert.equal(live.current(), first)
    const made = live.current()
    api.put(`${steno}/namespaces/shop/sessionpolicies/orders`, policy({ metadata: { name: 'orders', namespace: 'shop', uid: 'other' } }))
    await until(() => world.sessionPolicies.get('shop/orders')?.uid === 'other')
    assert.notEqual(live.current(), made, 'a policy of the same generation that is another object')
    api.put(`${steno}/namespaces/shop/sessionpolicies/orders`, policy())
    await until(() => world.sessionPolicies.get('shop/orders')?.uid === 'u')
    const again = live.current()
    const before = told
    api.put(`${steno}/namespaces/shop/sessionpolicies/orders`, policy({ status: { observedGeneration: 1 } }))
    await until(() => world.sessionPolicies.get('shop/orders')?.status.observedGeneration === 1)
    assert.deepEqual([told, live.current()], [before, again])
    api.put(`${steno}/namespaces/shop/sessionpolicies/orders`, policy({ spec: { ...spec, databases: 'none' } }))
    await until(() => told > before)
    assert.notEqual(live.current(), first)
    assert.deepEqual([live.current()?.policies.length, [...(live.current()?.unreadable.keys() ?? [])]], [0, ['shop']])
    live.stop()
    world.stop()
  },
)

test('control knows its own key before the parameters do', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  const { log } = testLog()
  api.put(`${steno}/admissionparameters/steno`, { metadata: { name: 'steno' }, spec: { images: ['steno:1'] } })
  const world = watchPolicyWorld({ cluster: api.client, log })
  const live = watchLiveWorld({ cluster: api.client, world, settings, ownKey: 'mine', log })
  await until(() => live.current() !== null)
  assert.deepEqual(live.current()?.controlPublicKeys, ['mine'])
  live.stop()
  world.stop()
})

test(
  'a watch that falls silent is listed again; while the API server does not answer nothing is judged any more',
  { timeout: 120_000 },
  async (t) => {
    const api = await startTestApi()
    const { log } = testLog()
    api.put(`${steno}/admissionparameters/steno`, {
      metadata: { name: 'steno' },
      spec: { images: ['steno:1'], controlPublicKeys: ['key'] },
    })
    const world = watchPolicyWorld({ cluster: api.client, log })
    const live = watchLiveWorld({ cluster: api.client, world, settings, log })
    t.after(() => [live, world].forEach((watch) => watch.stop()))
    await until(() => live.current() !== null && api.watchers === 5)
    const before = live.current()
    const { now } = performance
    let ahead = 0
    t.mock.method(performance, 'now', () => now.call(performance) + ahead)
    ahead += 1.1 * believedMillisecondsMax
    assert.equal(live.current(), null)
    await until(() => live.current() !== null)
    assert.equal(live.current(), before, 'what was confirmed is the same')
    await api[Symbol.asyncDispose]()
    ahead += 1.1 * believedMillisecondsMax
    assert.equal(live.current(), null)
    assert.deepEqual(live.missing(), [])
  },
)
