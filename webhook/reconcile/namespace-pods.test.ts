// Goal: what is counted step by step is what counting all pods anew would give, and a change costs the same however many others there are.
// Method: any order of changes of pods and policies, against a count that goes over all; then the number of merges of one change.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { clusterSessionPolicySchema } from '../../crds/cluster-session-policy.ts'
import { mergePolicies } from '../../crds/merge.ts'
import { selectorMatches } from '../../crds/label-selector.ts'
import { sessionPolicySchema, type SessionPolicy } from '../../crds/session-policy.ts'
import type { KeptPod } from './kept-pod.ts'
import { createNamespacePods, type PolicyWorld } from './namespace-pods.ts'

function policy(name: string, selector: object = {}, more: object = {}): SessionPolicy {
  return sessionPolicySchema.parse({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name, namespace: 'shop' },
    spec: {
      selector,
      databases: [
        {
          ...{ name, engine: 'postgresql', hosts: [`${name}.example.com`], databaseNames: [name] },
          // The lengths of the names differ, and so do the ports.
          ...{ localPort: 15_432 + name.length, variables: [{ name: `${name.replace('-', '_').toUpperCase()}_URL`, form: 'url' }] },
        },
      ],
      ...more,
    },
  })
}

const exempting = clusterSessionPolicySchema.parse({
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'ClusterSessionPolicy',
  metadata: { name: 'floor' },
  spec: { exemptPods: [{ namespaces: ['shop'], matchLabels: { tier: 'exporter' }, reason: 'it exports' }] },
})

const policies: readonly SessionPolicy[] = [
  policy('all'),
  policy('site', { matchLabels: { app: 'web' } }),
  policy('not-site', { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] }),
  policy('conflicting', { matchLabels: { app: 'api' } }, { recording: { store: 'another' } }),
]

const pod = (name: string, labels: Record<string, string>, policyHash: string | null, serviceAccount = 'default'): KeptPod => ({
  ...{ namespace: 'shop', name, uid: name, labels, policyHash, serviceAccount, owner: null, egress: null, recorded: null },
})

/** As the status would be if all pods were looked at. */
function counted(world: PolicyWorld, pods: Iterable<KeptPod>, of: SessionPolicy) {
  const sums = { matched: 0, injected: 0, stale: 0, bare: 0 }
  for (const { labels, policyHash } of pods) {
    const merge = mergePolicies(
      { namespace: 'shop', namespaceLabels: world.namespaceLabels, podLabels: labels },
      world.policies,
      world.clusterPolicies,
    )
    if (merge.kind === 'exempt' || !selectorMatches(of.spec.selector, labels)) continue
    sums.matched++
    if (policyHash === null) sums.bare++
    else if (merge.kind === 'merged' && merge.policy.hash === policyHash) sums.injected++
    else sums.stale++
  }
  return sums
}

const hashOf = (labels: Record<string, string>): string => {
  const merge = mergePolicies({ namespace: 'shop', namespaceLabels: {}, podLabels: labels }, policies.slice(0, 2), [])
  return merge.kind === 'merged' ? merge.policy.hash : ''
}

test('after any changes of pods and policies, the counters are what counting all pods gives', () => {
  const labels = fc.record({
    app: fc.constantFrom('web', 'api', 'other'),
    tier: fc.constantFrom('exporter', 'agent'),
    'pod-template-hash': fc.constantFrom('a', 'b'),
  })
  const change = fc.oneof(
    fc.record({
      kind: fc.constant('pod' as const),
      name: fc.constantFrom('1', '2', '3', '4', '5'),
      labels,
      has: fc.constantFrom('bare', 'old', 'now'),
    }),
    fc.record({ kind: fc.constant('gone' as const), name: fc.constantFrom('1', '2', '3', '4', '5') }),
    fc.record({ kind: fc.constant('world' as const), policies: fc.subarray([...policies]), isExempting: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const index = createNamespacePods('shop')
      const all = new Map<string, KeptPod>()
      let world: PolicyWorld = { namespaceLabels: {}, policies: [], clusterPolicies: [] }
      for (const step of changes) {
        const before = new Map(world.policies.map((of) => [of.metadata.name, JSON.stringify(index.findings(of).pods)]))
        if (step.kind === 'world') {
          world = { namespaceLabels: {}, policies: step.policies, clusterPolicies: step.isExempting ? [exempting] : [] }
          index.setWorld(world)
        } else if (step.kind === 'gone') {
          all.delete(step.name)
          index.setPod(step.name, null)
        } else {
          const hash = step.has === 'bare' ? null : step.has === 'old' ? 'old' : hashOf(step.labels)
          const made = pod(step.name, step.labels, hash)
          all.set(step.name, made)
          const told = index.setPod(step.name, made)
          for (const of of world.policies)
            if (before.get(of.metadata.name) !== JSON.stringify(index.findings(of).pods))
              assert.ok(told.has(of.metadata.name), 'a policy whose numbers changed is told of')
        }
        for (const of of world.policies) assert.deepEqual(index.findings(of).pods, counted(world, all.values(), of))
        assert.equal(index.size, all.size)
      }
    }),
    { numRuns: 200 },
  )
})

test('pods that no selector tells apart are one group, whatever else their labels say', () => {
  const index = createNamespacePods('shop')
  index.setWorld({ namespaceLabels: {}, policies, clusterPolicies: [exempting] })
  for (let number = 0; number < 5_000; number++)
    index.setPod(
      `job-${number}`,
      pod(`job-${number}`, { app: number % 2 === 0 ? 'web' : 'api', 'batch.kubernetes.io/job-name': `job-${number}` }, null),
    )
  assert.deepEqual([index.size, index.groups], [5_000, 2])
  for (let number = 0; number < 5_000; number += 2) index.setPod(`job-${number}`, null)
  assert.deepEqual([index.size, index.groups], [2_500, 1], 'an empty group is not kept')
})

test('what contradicts is said of each policy that takes part, and of a policy that no pod meets yet', () => {
  const index = createNamespacePods('shop')
  index.setWorld({ namespaceLabels: {}, policies, clusterPolicies: [] })
  const [all, site, , conflicting] = policies
  assert.ok(conflicting !== undefined && all !== undefined && site !== undefined)
  assert.equal(index.findings(conflicting).problems.length > 0, true)
  assert.deepEqual(index.findings(site).problems, [])
  index.setPod('api', pod('api', { app: 'api' }, null))
  assert.match(index.findings(all).problems[0]?.message ?? '', /another/)
})

test('of open ways the counters are told by state, with the names of a few', () => {
  const index = createNamespacePods('shop')
  index.setWorld({ namespaceLabels: {}, policies, clusterPolicies: [exempting] })
  const [all] = policies
  assert.ok(all !== undefined)
  const states = ['Closed', 'Open', 'NotMeasured', 'NotReported', 'CredentialsOnly'] as const
  for (let number = 0; number < 50; number++)
    index.setPod(`p${number}`, { ...pod(`p${number}`, { app: 'web' }, 'x'), egress: states[number % 5] ?? null })
  index.setPod('exempt', { ...pod('exempt', { tier: 'exporter' }, 'x'), egress: 'Open' })
  index.setPod('bare', pod('bare', { app: 'web' }, null))
  const { egress } = index.findings(all)
  assert.deepEqual(egress.counts, { Closed: 10, Open: 10, NotMeasured: 10, NotReported: 10, CredentialsOnly: 10 })
  assert.equal(egress.openNames.length, 5)
  for (let number = 1; number < 50; number += 5) index.setPod(`p${number}`, { ...pod(`p${number}`, { app: 'web' }, 'x'), egress: 'Closed' })
  assert.deepEqual([index.findings(all).egress.counts.Open, index.findings(all).egress.openNames], [0, []])
  assert.deepEqual(index.egress(), { Closed: 20, Open: 0, NotMeasured: 10, NotReported: 10, CredentialsOnly: 10 })
})
