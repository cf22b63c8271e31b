// Goal: what a namespace's owner writes beside a policy costs the webhook nothing. Method: policies with as many annotations as there may be.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchPolicyWorld } from './policy-world.ts'
import { startTestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'

test('of a policy’s metadata only what it is called is held', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  const metadata = { name: 'orders', namespace: 'shop', uid: 'uid-1', annotations: { text: 'x'.repeat(250_000) }, labels: { a: 'b' } }
  const spec = { databases: [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }] }
  api.put('/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders', { metadata, spec })
  const world = watchPolicyWorld({ cluster: api.client, log: testLog().log })
  await until(() => world.isSynced())
  const [kept] = [...world.sessionPolicies.values()]
  world.stop()
  assert.ok(JSON.stringify(kept).length < 4_000)
  assert.equal(kept?.policy?.metadata.namespace, 'shop')
  assert.equal(kept.policy.metadata.name, 'orders')
})
