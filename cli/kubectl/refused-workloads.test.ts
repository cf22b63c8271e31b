// Goal: whoever's pods are refused is named with the refusal, and nobody else. Method: workloads and events as the API server has them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refusedWorkloads, type CreateEvent, type Workload } from './refused-workloads.ts'

const refusal = 'Error creating: admission webhook "pods.steno.dev" denied the request: HostNetwork'
const event = (kind: string, name: string, message: string, lastTimestamp = '2026-11-21T09:00:00Z'): CreateEvent => ({
  involvedObject: { kind, namespace: 'shop', name },
  message,
  lastTimestamp,
})
const workload = (name: string, more: Omit<Workload, 'metadata'>, metadata: object = {}): Workload => ({
  ...more,
  metadata: { name, namespace: 'shop', ...metadata },
})
const none = { Job: [], StatefulSet: [], DaemonSet: [] }
const cron = { ownerReferences: [{ kind: 'CronJob', name: 'nightly', controller: true }] }

test('a Job, a CronJob’s Job, a StatefulSet and a DaemonSet whose pods are refused are named with the API server’s words', () => {
  const found = refusedWorkloads(
    {
      Job: [workload('once', { spec: { parallelism: 1 } }), workload('nightly-1', {}, cron)],
      StatefulSet: [workload('queue', { spec: { replicas: 2 }, status: { replicas: 1 } })],
      DaemonSet: [workload('each', { status: { desiredNumberScheduled: 3, currentNumberScheduled: 0 } })],
    },
    [
      event('Job', 'once', refusal),
      event('Job', 'nightly-1', refusal),
      event('StatefulSet', 'queue', refusal),
      event('DaemonSet', 'each', refusal),
    ],
  )
  assert.deepEqual(
    found.map(({ kind, metadata, madeBy, refusal: words }) => [kind, metadata.name, madeBy, words === refusal]),
    [
      ['Job', 'once', null, true],
      ['Job', 'nightly-1', 'CronJob nightly', true],
      ['StatefulSet', 'queue', null, true],
      ['DaemonSet', 'each', null, true],
    ],
  )
})

for (const [what, job, events] of [
  ['it has its pods by now', { status: { active: 1 } }, [event('Job', 'once', refusal)]],
  ['it is complete', { status: { conditions: [{ type: 'Complete', status: 'True' }] } }, [event('Job', 'once', refusal)]],
  ['it is suspended', { spec: { suspend: true } }, [event('Job', 'once', refusal)]],
  ['it lacks pods for want of a quota', {}, [event('Job', 'once', 'exceeded quota: pods')]],
  [
    'the newest word is another’s',
    {},
    [event('Job', 'once', 'exceeded quota', '2026-11-21T09:05:00Z'), event('Job', 'once', refusal, '2026-11-21T09:00:00Z')],
  ],
  ['the events are another’s of that name', {}, [event('StatefulSet', 'once', refusal)]],
] as const)
  test(`nothing is said of a Job when ${what}`, () => {
    assert.deepEqual(refusedWorkloads({ ...none, Job: [workload('once', job)] }, events), [])
  })
