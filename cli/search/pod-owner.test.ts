// Goal: the pods of a workload are told by their names, however long, and those of its neighbours are not. Method: names as clusters made them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPodOf, parseWorkload } from './pod-owner.ts'

const long = 'a-deployment-whose-name-leaves-hardly-any-room-for-more-of-it'

for (const [workload, its, others] of [
  [
    'deployment/worker',
    ['worker-7d4b9c6f5d-x2k9p', 'worker-6c8-zz2lm'],
    ['worker', 'worker-0', 'worker-x2k9p', 'worker-api-7d4b9c6f5d-x2k9p', 'co-worker-7d4b9c6f5d-x2k9p', 'worker-7d4b9c6f5d-aeiou'],
  ],
  ['replicaset/worker-7d4b9c6f5d', ['worker-7d4b9c6f5d-x2k9p'], ['worker-7d4b9c6f5f-x2k9p']],
  ['daemonset/agent', ['agent-x2k9p'], ['agent-7d4b9c6f5d-x2k9p', 'agent-0']],
  ['statefulset/queue', ['queue-0', 'queue-12'], ['queue', 'queue-x2k9p', 'queue-0-x2k9p']],
  ['job/import', ['import-x2k9p', 'import-3-x2k9p'], ['import-28541230-x2k9p-b', 'imports-x2k9p', 'import-more-x2k9p']],
  ['cronjob/nightly', ['nightly-28541230-x2k9p', 'nightly-28541230-4-x2k9p'], ['nightly-x2k9p', 'nightly-db-28541230-x2k9p']],
  // 58 characters of the base are kept, whatever they are.
  [`deployment/${long}`, [`${long.slice(0, 58)}x2k9p`], [`${long.slice(0, 57)}x2k9p`]],
  [`deployment/${long.slice(0, 50)}`, [`${long.slice(0, 50)}-7d4b9c6x2k9p`], [`${long.slice(0, 50)}-7d4b-c6x2k9p`]],
] as const) {
  test(`the pods of ${workload} are its own and no others`, () => {
    const parsed = parseWorkload(workload)
    assert.ok(parsed !== null)
    for (const pod of its) assert.ok(isPodOf(parsed, pod), pod)
    for (const pod of others) assert.ok(!isPodOf(parsed, pod), pod)
  })
}

test('kinds are taken as kubectl takes them', () => {
  for (const text of ['deploy/worker', 'deployments/worker', 'Deployment/worker', 'deployments.apps/worker', 'deployment.v1.apps/worker'])
    assert.deepEqual(parseWorkload(text), { kind: 'deployment', name: 'worker' }, text)
  for (const [text, kind] of [
    ['rs/a', 'replicaset'],
    ['sts/a', 'statefulset'],
    ['ds/a', 'daemonset'],
    ['jobs/a', 'job'],
    ['job.batch/a', 'job'],
    ['cj/a', 'cronjob'],
  ] as const)
    assert.equal(parseWorkload(text)?.kind, kind, text)
  for (const text of ['worker', 'pod/worker', 'node/worker', 'job/', 'job/a/b', '/a']) assert.equal(parseWorkload(text), null, text)
})
