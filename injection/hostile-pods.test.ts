/**
 * Goal: no pod that its author can write makes a review fail or take long, for then the API server lets it pass as it is, and others wait behind
 * it. Method: pods of the allowed size whose variables were made to grow, to nest or to be looked for over and over; each was once a defect.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node'
import { readPod } from './read-pod.ts'
import { reviewPod } from './review-pod.ts'
import { agentPod, ordersPolicy, requestFor, testWorld } from './test-world.ts'

const reference: V1EnvVar = { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }
const place = 'orders-db.data.svc.cluster.local'
const optional = (name: string, key: string): V1EnvVar => ({ name, valueFrom: { secretKeyRef: { name: 'app', key, optional: true } } })
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const withContainer = (container: Partial<V1Container>): V1Pod => agentPod({ container })
const both = `${ordersPolicy}      variables: [{ name: DATABASE_URL, form: url }, { prefix: PG, form: libpq }]\n`
const grown = '$(A)'.repeat(600)

const pods: readonly { readonly what: string; readonly pod: V1Pod; readonly policy?: string; readonly outcome: string }[] = [
  {
    what: 'a variable that stands in for itself twice, forty times over',
    pod: withContainer({ env: [...numbers(40).flatMap((n) => [optional('Y', `k${n}`), { name: 'Y', value: '$(Y)$(Y)' }]), reference] }),
    outcome: 'injected',
  },
  {
    what: 'the same of the connection itself',
    pod: withContainer({
      env: numbers(40).flatMap((n) => [
        optional('DATABASE_URL', `k${n}`),
        { name: 'DATABASE_URL', value: '$(DATABASE_URL)$(DATABASE_URL)' },
      ]),
    }),
    outcome: 'SourceNotMovable',
  },
  {
    what: 'a variable that may be missing ten thousand times',
    pod: withContainer({ env: numbers(10_000).map((n) => optional('DATABASE_URL', `k${n}`)) }),
    outcome: 'SourceNotMovable',
  },
  {
    what: 'a connection that stands in for one that cannot be moved',
    pod: withContainer({ env: [{ name: 'DATABASE_URL', value: grown }, optional('DATABASE_URL', 'url')] }),
    outcome: 'SourceNotMovable',
  },
  {
    what: 'a host that stands in for one that cannot be moved',
    pod: withContainer({
      env: [{ name: 'PGHOST', value: grown }, optional('PGHOST', 'host'), { name: 'PGPASSWORD', value: 'x' }],
    }),
    policy: both,
    outcome: 'SourceNotMovable',
  },
  {
    what: 'a user that cannot be moved beside a URL',
    pod: withContainer({
      env: [
        { name: 'DATABASE_URL', value: `postgresql://${place}/orders` },
        { name: 'PGUSER', value: grown },
        { name: 'PGPASSWORD', value: 'x' },
      ],
    }),
    policy: both,
    outcome: 'SourceNotMovable',
  },
  {
    what: 'a text that looks like the mark of a hidden piece',
    pod: withContainer({
      env: [{ name: 'DATABASE_URL', value: `postgresql://u:$(P)@${place}/orders?application_name=zqhidden${'z'.repeat(60_000)}` }],
    }),
    outcome: 'injected',
  },
  {
    what: 'many variables that each may come from many places',
    pod: withContainer({
      env: [...numbers(9_000).map((n) => ({ name: `A${n}`, value: `$(a${n})$(b${n})$(c${n})$(d${n})` })), reference],
      envFrom: numbers(250).map(() => ({ secretRef: { name: 'app' } })),
    }),
    outcome: 'SourceNotMovable',
  },
  {
    what: 'half a character in a password',
    pod: withContainer({ env: [{ name: 'DATABASE_URL', value: `postgresql://u:hunter2\ud800@${place}/orders` }] }),
    outcome: 'injected',
  },
]

for (const { what, pod, policy, outcome } of pods)
  test(`a pod is judged whatever its variables grow to: ${what}`, { timeout: 120_000 }, () => {
    const reading = readPod(JSON.parse(JSON.stringify(pod)))
    assert.ok(reading.kind === 'pod')
    const review = reviewPod({ ...requestFor(reading.pod), uid: 'u', dryRun: false, operation: 'CREATE' }, testWorld(policy))
    assert.ok(review.allowed ? review.outcome === outcome : review.rules.includes(outcome), JSON.stringify(review).slice(0, 300))
  })

test('what a pod’s author hides in an annotation and hands to the container is refused', () => {
  const annotations = { db: `postgresql://u:hunter2@${place}/orders` }
  const env: V1EnvVar[] = [{ name: 'URL', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['db']" } } }]
  const pod = withContainer({ env })
  const review = reviewPod(
    { ...requestFor(Object.assign(pod, { metadata: { annotations } })), uid: 'u', dryRun: false, operation: 'CREATE' },
    testWorld(),
  )
  assert.ok(!review.allowed && review.rules.includes('AnnotationsExposed'), JSON.stringify(review))
})
