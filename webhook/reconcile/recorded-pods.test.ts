// Goal: a policy's status says what its pods' sidecars say of their recordings, and counts as stale only pods that must be made again. Method: pods as
// the API server has them, with conditions as control writes them, through what is kept of a pod to counts and findings.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policyMessage } from '../../cluster/pod-watch.ts'
import { mergePolicies } from '../../crds/merge.ts'
import { sessionPolicySchema } from '../../crds/session-policy.ts'
import { keptPod } from './kept-pod.ts'
import { createNamespacePods } from './namespace-pods.ts'
import { policyFindings, type PolicyFacts } from './policy-status.ts'

const policy = sessionPolicySchema.parse({
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'SessionPolicy',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: { databases: [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }] },
})
const merge = mergePolicies({ namespace: 'shop', namespaceLabels: {}, podLabels: {} }, [policy], [])
assert.equal(merge.kind, 'merged')
const { hash } = merge.kind === 'merged' ? merge.policy : assert.fail()

type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message?: string }

function world(...pods: (readonly Condition[])[]) {
  const namespacePods = createNamespacePods('shop')
  namespacePods.setWorld({ namespaceLabels: {}, policies: [policy], clusterPolicies: [] })
  for (const [at, conditions] of pods.entries())
    namespacePods.setPod(
      `agent-${at}`,
      keptPod({
        metadata: { name: `agent-${at}`, namespace: 'shop', annotations: { 'steno.dev/policy-hash': 'of-an-earlier-policy' } },
        spec: { initContainers: [{ name: 'steno', restartPolicy: 'Always' }], containers: [] },
        status: { phase: 'Running', conditions },
      }),
    )
  return namespacePods
}

function recordingStored(pods: ReturnType<typeof world>, changes: Partial<PolicyFacts> = {}): string {
  const { pods: counts, egress, recorded, problems } = pods.findings(policy)
  const findings = policyFindings({
    ...{ namespace: 'shop', unreadable: null, isNamespaceOptedIn: true, pods: counts, egress, recorded, problems },
    ...{ isControlSilent: false, mode: 'Relay', opened: [], storeName: 'default', store: undefined, rights: new Map(), ...changes },
  })
  const { status, reason, message } = findings.find(({ type }) => type === 'RecordingStored')!
  return `${status} ${reason}: ${message}`
}

const recording = (status: string, reason: string): Condition[] => [{ type: 'steno.dev/RecordingStored', status, reason }]
const following = (status: string, message: string): Condition[] => [{ type: 'steno.dev/PolicyFollowed', status, reason: 'x', message }]

test('pods whose recordings are not stored are named, and a full spool is said first', () => {
  const [stored, failing, full] = [recording('True', 'Stored'), recording('False', 'StoreRefuses'), recording('False', 'SpoolFull')]
  assert.match(recordingStored(world(stored)), /^True Stored/)
  assert.match(recordingStored(world(stored, failing)), /^False NotStored: .*agent-1\./)
  assert.match(recordingStored(world(stored, failing, full)), /^False SpoolFull: .*agent-1, agent-2\./)
  assert.match(recordingStored(world(...Array.from({ length: 8 }, () => failing))), /agent-4 and 3 more/)
})

test('who says nothing raises no alarm: sidecars of earlier releases, silent ones, and all while control is silent', () => {
  assert.match(recordingStored(world([])), /^Unknown NotTold/)
  assert.match(recordingStored(world()), /^Unknown NoPods/)
  assert.match(recordingStored(world(recording('True', 'Stored'), recording('Unknown', 'NotReported'))), /^Unknown NotReported: 1 pods/)
  assert.match(recordingStored(world(recording('False', 'StoreRefuses')), { isControlSilent: true }), /^Unknown NotReported/)
})

test('pods that have recorded nothing yet raise no alarm, and do not make a policy’s recordings stored', () => {
  const [none, first] = [recording('Unknown', 'NothingRecorded'), recording('Unknown', 'NothingStored')]
  assert.match(recordingStored(world(none, first)), /^Unknown NothingRecorded/)
  assert.match(recordingStored(world(none, recording('True', 'Stored'))), /^True Stored/)
  assert.match(recordingStored(world(none, recording('False', 'StoreRefuses'))), /^False NotStored/)
})

test('a pod that is well again, or gone, is counted no longer', () => {
  const pods = world(recording('False', 'StoreRefuses'))
  pods.setPod('agent-0', null)
  assert.match(recordingStored(pods), /^Unknown NoPods/)
  assert.deepEqual(pods.recorded(), { Stored: 0, NothingYet: 0, NotStored: 0, SpoolFull: 0, NotReported: 0, NotTold: 0 })
})

test('a pod that took the current policy from control is not stale; one that cannot follow all of it is, and one that does not say', () => {
  const counted = (...conditions: Condition[]) => world(conditions).findings(policy).pods
  assert.deepEqual(counted(...following('True', policyMessage(hash))), { matched: 1, injected: 1, stale: 0, bare: 0 })
  assert.deepEqual(counted(...following('True', policyMessage('0'.repeat(32)))), { matched: 1, injected: 0, stale: 1, bare: 0 })
  assert.deepEqual(counted(...following('False', `${policyMessage(hash)}, but for what waits`)), {
    matched: 1,
    injected: 0,
    stale: 1,
    bare: 0,
  })
  assert.deepEqual(counted(...following('Unknown', 'nobody knows')), { matched: 1, injected: 0, stale: 1, bare: 0 })
  assert.deepEqual(counted(), { matched: 1, injected: 0, stale: 1, bare: 0 })
})
