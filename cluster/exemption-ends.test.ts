// Goal: an exemption ends when its time is over, for all who go by policies and without a word of the API server. Method: the policy world on a double
// of the API server, with a clock in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nextEnd } from '../crds/exemption-end.ts'
import { readClusterSessionPolicy } from '../crds/read-object.ts'
import { watchPolicyWorld } from './policy-world.ts'
import { startTestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'

const opened = Date.UTC(2026, 10, 21, 9)
const ends = new Date(opened + 3_600_000).toISOString()
const entry = (reason: string, more: object = {}) => ({ namespaces: ['shop'], matchLabels: {}, reason, ...more })

function policy(exemptPods: readonly object[]) {
  return { apiVersion: 'steno.dev/v1alpha1', kind: 'ClusterSessionPolicy', metadata: { name: 'break-glass-shop' }, spec: { exemptPods } }
}

test('an exemption is told as ended at its time, and the one beside it stays', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  let now = Date.parse(ends) - 50
  const path = '/apis/steno.dev/v1alpha1/clustersessionpolicies/break-glass-shop'
  api.put(path, policy([entry('for an hour', { until: ends }), entry('for good')]))
  const world = watchPolicyWorld({ cluster: api.client, log: testLog().log, wallClock: () => now })
  const told: string[] = []
  world.subscribe(
    ({ change: { before, after } }) => void told.push(`${before === undefined ? '-' : 'was'} ${after === undefined ? '-' : 'is'}`),
  )
  const reasons = () => world.clusterPolicies.get('break-glass-shop')?.policy?.spec.exemptPods.map(({ reason }) => reason)
  await world.synced
  assert.deepEqual(reasons(), ['for an hour', 'for good'])
  told.length = 0
  now = Date.parse(ends)
  await until(() => told.length === 2)
  assert.deepEqual(told, ['was -', '- is'], 'as one that went and one that came, for its generation is the same')
  assert.deepEqual(reasons(), ['for good'])
  assert.deepEqual(
    [...world.clusterPolicies.values()].map((kept) => kept.policy?.spec.exemptPods.length),
    [1],
  )
  world.stop()
})

test('the next end is the nearest one that is to come, and a moment that there is not is refused', () => {
  const read = (...untils: string[]) => readClusterSessionPolicy(policy(untils.map((moment) => entry('x', { until: moment }))))
  const later = new Date(opened + 7_200_000).toISOString()
  assert.equal(nextEnd([read(later, ends)], opened), Date.parse(ends))
  assert.equal(nextEnd([read(ends)], Date.parse(ends)), null)
  assert.equal(nextEnd([readClusterSessionPolicy(policy([entry('for good')]))], opened), null)
  for (const moment of ['soon', '2026-02-30T00:00:00Z', '2026-11-21T10:00:00', '2026-11-21T10:00:00+01:00', '2026-13-01T00:00:00Z'])
    assert.throws(() => read(moment), moment)
})
