// Goal: a pod that keeps its credential is never admitted without a word, and a pod without one is left in peace. Method: what agents carry
// connections in, reviewed without a policy.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reviewPod } from '../review-pod.ts'
import { agentPod, requestFor, testWorld } from '../test-world.ts'

const withoutPolicy = testWorld('')
const password = 'sesame'

function warningsOf(container: object, world = withoutPolicy): readonly string[] {
  const pod = agentPod({ container: { env: [], ...container } })
  const review = reviewPod({ ...requestFor(pod), uid: 'u', dryRun: false, operation: 'CREATE' }, world)
  assert.ok(review.allowed, JSON.stringify(review))
  return review.warnings
}

for (const [what, container, place] of [
  [
    'a reference by its name',
    { env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'any', key: 'url' } } }] },
    'DATABASE_URL',
  ],
  ['a literal by its form', { env: [{ name: 'ANY', value: `postgresql://shop:${password}@db/shop` }] }, 'ANY'],
  ['the password of libpq', { env: [{ name: 'PGPASSWORD', value: password }] }, 'PGPASSWORD'],
  ['a key of a ConfigMap', { env: [{ name: 'SHOP_DB_DSN', valueFrom: { configMapKeyRef: { name: 'any', key: 'dsn' } } }] }, 'SHOP_DB_DSN'],
  ['a Secret of variables', { envFrom: [{ secretRef: { name: 'shop-db' } }] }, 'Secret shop-db'],
  ['a command', { args: ['psql', `postgresql://shop:${password}@db/shop`] }, 'its command'],
] as const) {
  test(`the admission of a pod without a policy warns of ${what}`, () => {
    const [first = '', second = ''] = warningsOf(container)
    assert.match(first, new RegExp(`^steno: no SessionPolicy matches it, so it keeps its credential .*not recorded: agent: ${place}$`))
    assert.match(second, /no network path to a database/)
    assert.ok(!`${first}${second}`.includes(password))
  })
}

test('a policy that is for other pods does not lift the floor', () => {
  const world = testWorld(`
apiVersion: steno.dev/v1alpha1
kind: SessionPolicy
metadata: { name: others, namespace: shop }
spec:
  selector: { matchLabels: { app: others } }
  enforcement: { mode: CredentialsOnly }
  databases: [{ name: orders, hosts: [db], databaseNames: [orders] }]
`)
  const variable = { env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'any', key: 'url' } } }] }
  assert.match(warningsOf(variable, world)[1] ?? '', /no network path/, 'the policy of others is not its own')
})

test('many places are counted, and the warnings fit what the API server passes on', () => {
  const env = Array.from({ length: 40 }, (_, index) => ({ name: `SHOP_${index}_DB_PASSWORD`, value: password }))
  const warnings = warningsOf({ env })
  assert.match(warnings[0] ?? '', /and 37 more$/)
  assert.ok(warnings.every((warning) => warning.length <= 250))
})

test('a pod that carries nothing of a database is admitted without a warning', () => {
  const env = [
    { name: 'LOG_LEVEL', value: 'debug' },
    { name: 'API_KEY', valueFrom: { secretKeyRef: { name: 'api', key: 'key' } } },
  ]
  assert.deepEqual(warningsOf({ env, envFrom: [{ secretRef: { name: 'mail' } }] }), [])
})
