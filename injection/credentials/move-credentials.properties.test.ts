/**
 * Goal: whatever a pod's variables are, it is refused, or the agents are left without the credential and the sidecar has exactly what they had.
 * Method: generated containers, Secrets and ConfigMaps; what a process would see is told by an oracle of the kubelet that shares no code.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Container, V1EnvFromSource, V1EnvVar } from '@kubernetes/client-node'
import fc from 'fast-check'
import { moveCredentials, type Moved, type PodParts } from './move-credentials.ts'
import { processEnvironment, type World } from './test-kubelet.ts'
import { testDatabase, testPolicy } from './test-policy.ts'

/** Every secret value has it, and nothing else does. */
const mark = 'hunter2'
const policy = testPolicy(
  [
    testDatabase({
      variables: [
        { form: 'url', name: 'DATABASE_URL' },
        { form: 'libpq', prefix: 'PG' },
      ],
    }),
  ],
  [{ secret: 'one', keys: ['free'] }],
)

const keys = ['url', 'user', 'password', 'free', 'DATABASE_URL', 'PGPASSWORD', 'PGHOST', 'A', 'B']
const names = ['DATABASE_URL', 'PGHOST', 'PGUSER', 'PGPASSWORD', 'PGPORT', 'A', 'B', 'C', 'WEB_SERVICE_HOST']

const reference = fc.record({ name: fc.constantFrom('one', 'two'), key: fc.constantFrom(...keys), optional: fc.constantFrom(true, false) })
const literal = fc.oneof(
  fc.constantFrom('db.shop.svc', '5432', 'shop', '', 'debug', `postgresql://shop:${mark}-word@db.shop.svc/shop?application_name=x`),
  fc.constantFrom(
    `${mark}-word`,
    'jdbc:postgresql://db.shop.svc/shop?user=shop&password=hunter2%2Dword',
    'postgresql://shop@db.shop.svc/shop',
  ),
)
const composed = fc
  .array(
    fc.oneof(
      fc.constantFrom(...names).map((name) => `$(${name})`),
      fc.constantFrom('$$', '$', 'x', '(', '$$(A)', ':', '/'),
    ),
    { maxLength: 4 },
  )
  .map((parts) => parts.join(''))
const composedUrl = fc
  .tuple(...['A', 'B', 'C'].map((name) => fc.constantFrom(`$(${name})`, 'shop', `$$(${name})`)))
  .map(([user, password, database]) => `postgresql://${user}:${password}@db.shop.svc/${database}?application_name=$(WEB_SERVICE_HOST)`)
const variable: fc.Arbitrary<V1EnvVar> = fc
  .tuple(
    fc.constantFrom(...names),
    fc.oneof(
      fc.oneof(literal, composed, composedUrl).map((value) => ({ value })),
      reference.map((secretKeyRef) => ({ valueFrom: { secretKeyRef } })),
      reference.map((configMapKeyRef) => ({ valueFrom: { configMapKeyRef } })),
      fc.constant({ valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }),
    ),
  )
  .map(([name, rest]) => ({ name, ...rest }))
const source: fc.Arbitrary<V1EnvFromSource> = fc
  .tuple(fc.constantFrom('', '', 'PG', 'X_'), fc.constantFrom('one', 'two'), fc.boolean(), fc.boolean())
  .map(([prefix, name, optional, isSecret]) => ({
    ...(prefix === '' ? {} : { prefix }),
    [isSecret ? 'secretRef' : 'configMapRef']: { name, optional },
  }))
const container = fc.record(
  {
    env: fc.array(variable, { maxLength: 6 }),
    envFrom: fc.array(source, { maxLength: 2 }),
    args: fc.array(fc.oneof(composed, literal), { maxLength: 1 }),
  },
  { requiredKeys: ['env'] },
)
const pods: fc.Arbitrary<PodParts> = fc
  .tuple(fc.array(container, { minLength: 1, maxLength: 2 }), fc.array(container, { maxLength: 1 }))
  .map(([containers, initContainers]) => {
    const named = (prefix: string) => (one: object, index: number) => ({ name: `${prefix}${index}`, ...one }) as V1Container
    return { containers: containers.map(named('agent')), initContainers: initContainers.map(named('init')), volumes: [] }
  })
const worlds: fc.Arbitrary<World> = fc
  .tuple(
    fc.array(fc.constantFrom(...keys), { maxLength: keys.length }),
    fc.array(fc.constantFrom(...keys), { maxLength: keys.length }),
    fc.boolean(),
  )
  .map(([one, two, hasTwo]) => {
    const values = (name: string, having: readonly string[], secret: string) =>
      Object.fromEntries(having.map((key) => [key, `${secret}${name}-${key}`]))
    return {
      secrets: { one: values('one', one, `${mark}:`), ...(hasTwo ? { two: values('two', two, `${mark}:`) } : {}) },
      configMaps: { one: values('one', two, 'plain:'), two: values('two', one, 'plain:') },
      services: { WEB_SERVICE_HOST: '10.0.0.1' },
      fields: { 'metadata.name': 'pod-1' },
    }
  })

const containersOf = ({ containers, initContainers }: PodParts): readonly V1Container[] => [...initContainers, ...containers]

function review(pod: PodParts): Moved {
  return moveCredentials(pod, policy, [])
}

test('the generated pods are moved often enough to say something', () => {
  const kinds = fc.sample(pods, { numRuns: 400, seed: 1 }).map((pod) => {
    const moved = review(pod)
    return moved.kind === 'moved' ? `moved ${Math.min(moved.sources.length, 1)}` : 'refused'
  })
  for (const kind of ['moved 1', 'refused'])
    assert.ok(kinds.filter((one) => one === kind).length >= 40, `${kind}: ${kinds.filter((one) => one === kind).length}`)
})

test('no literal password is left anywhere in the containers, and none is in a refusal or warning', () => {
  fc.assert(
    fc.property(pods, (pod) => {
      const moved = review(pod)
      if (moved.kind === 'refused') return assert.ok(!JSON.stringify(moved.refusals).includes('-word'))
      assert.ok(!JSON.stringify(moved.warnings).includes(mark))
      // What somebody has for a user name too cannot be told from one.
      const without = JSON.stringify([moved.containers, moved.initContainers], (_, value: { name?: string } | null) =>
        value?.name === 'PGUSER' ? null : value,
      )
      const isPassword = moved.sources.some(({ env }) =>
        env.some(
          ({ name, value = '' }) =>
            (name.endsWith('_DATABASE_URL') && /:hunter2-word@|password=hunter2/.test(value)) ||
            (name.endsWith('_PGPASSWORD') && value === `${mark}-word`),
        ),
      )
      if (isPassword && !without.includes(`//${mark}-word@`)) assert.doesNotMatch(without, /hunter2(?:-|%2D)word/)
    }),
    { numRuns: 800 },
  )
})

test('a second review, and one after another injector added a copy of a container, changes nothing that was', () => {
  fc.assert(
    fc.property(pods, (pod) => {
      const moved = review(pod)
      if (moved.kind === 'refused') return
      const again = moveCredentials(moved, policy, moved.sources)
      assert.ok(again.kind === 'moved', JSON.stringify(again))
      assert.deepEqual([again.containers, again.initContainers, again.sources], [moved.containers, moved.initContainers, moved.sources])
      const copied = moveCredentials({ ...moved, containers: [...moved.containers, ...pod.containers] }, policy, moved.sources)
      assert.ok(copied.kind === 'moved', JSON.stringify(copied))
      assert.deepEqual(copied.sources, moved.sources)
      assert.deepEqual(copied.containers, [...moved.containers, ...moved.containers])
    }),
    { numRuns: 800 },
  )
})

/** The source that a container's variables lead to now, by the port in its value. */
function sourceAt(moved: Extract<Moved, { kind: 'moved' }>, port: string | undefined) {
  return moved.sources.find(({ localPort }) => String(localPort) === port)
}

test('the sidecar gets exactly what the kubelet would have given the agent, and starts when the agent would have', () => {
  let compared = 0
  fc.assert(
    fc.property(pods, worlds, (pod, world) => {
      const moved = review(pod)
      if (moved.kind === 'refused') return
      for (const [index, before] of containersOf(pod).entries()) {
        const had = processEnvironment(before, world)
        const has = processEnvironment(containersOf(moved)[index]!, world)
        if (had === null || has === null) continue
        const port = /127\.0\.0\.1:(\d+)\//.exec(has.get('DATABASE_URL') ?? '')?.[1]
        const given = sourceAt(moved, port)
        // A URL without a password joins the separate variables; where DATABASE_URL only follows those, it had nothing of its own.
        if (given?.source.kind !== 'url') continue
        const sidecar = processEnvironment({ env: [...given.env] }, world)
        if (sidecar === null) {
          // Only a variable that was to come from envFrom, and is not there.
          assert.equal(had.get('DATABASE_URL'), undefined)
          continue
        }
        assert.equal(sidecar.get(given.source.variable) ?? '', had.get('DATABASE_URL') ?? '')
        compared++
      }
    }),
    { numRuns: 1_000 },
  )
  assert.ok(compared > 60, `${compared} compared`)
})

test('separate variables come to the sidecar as the agent had them', () => {
  let compared = 0
  fc.assert(
    fc.property(pods, worlds, (pod, world) => {
      const moved = review(pod)
      if (moved.kind === 'refused') return
      for (const [index, before] of containersOf(pod).entries()) {
        const had = processEnvironment(before, world)
        const has = processEnvironment(containersOf(moved)[index]!, world)
        const given = sourceAt(moved, has?.get('PGPORT'))
        if (had === null || has === null || has.get('PGHOST') !== '127.0.0.1' || given?.source.kind !== 'libpq') continue
        // Where a URL and the variables are one connection, the URL counts first.
        if (given.localPort === Number(/127\.0\.0\.1:(\d+)\//.exec(has.get('DATABASE_URL') ?? '')?.[1])) continue
        const sidecar = processEnvironment({ env: [...given.env] }, world)
        if (sidecar === null) {
          assert.equal(had.get('PGHOST'), undefined)
          continue
        }
        const { host, user, password } = given.source.variables
        for (const [name, own] of [
          ['PGHOST', host],
          ['PGUSER', user],
          ['PGPASSWORD', password],
        ] as const)
          assert.equal(own === undefined ? '' : sidecar.get(own), had.get(name) ?? '', name)
        compared++
      }
    }),
    { numRuns: 1_000 },
  )
  assert.ok(compared > 20, `${compared} compared`)
})

test('no value of a Secret that has a moved key comes to an agent, but for the keys that the policy lets it keep', () => {
  fc.assert(
    fc.property(pods, worlds, (pod, world) => {
      const moved = review(pod)
      if (moved.kind === 'refused') return
      const closed = new Set(moved.sources.flatMap(({ env }) => env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? [])))
      for (const one of containersOf(moved)) {
        const has = processEnvironment(one, world)
        for (const [name, value] of has ?? [])
          for (const secret of closed)
            for (const [key, held] of Object.entries(world.secrets[secret] ?? {}))
              if (!(secret === 'one' && key === 'free')) assert.ok(!value.includes(held), `${name} has ${key} of ${secret}`)
      }
    }),
    { numRuns: 1_000 },
  )
})

test('whatever stands in a variable, the answer is an answer', () => {
  const piece = fc.constantFrom(
    'postgresql://',
    'jdbc:postgresql:',
    'host=',
    "'",
    '@',
    ':',
    '/',
    '?',
    '&',
    '=',
    '%',
    ' ',
    ',',
    '[',
    ']',
    '$(A)',
    '$$',
    '\\',
    '#',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 12 }), (pieces) => {
      const env = [
        { name: 'A', valueFrom: { secretKeyRef: { name: 'one', key: 'password' } } },
        { name: 'DATABASE_URL', value: pieces.join('') },
      ]
      const moved = review({ containers: [{ name: 'agent', env }], initContainers: [], volumes: [] })
      if (moved.kind === 'moved' && moved.sources.length > 0) assert.match(JSON.stringify(moved.containers), /127\.0\.0\.1/)
    }),
    { numRuns: 1_000 },
  )
})

test('variables that grow by naming each other are refused, not computed', () => {
  const env: V1EnvVar[] = [{ name: 'V0', value: 'x'.repeat(100) }]
  for (let index = 1; index < 60; index++) env.push({ name: `V${index}`, value: `$(V${index - 1})$(V${index - 1})` })
  env.push({ name: 'DATABASE_URL', value: 'postgresql://$(V59)@db.shop.svc/shop' })
  const moved = review({ containers: [{ name: 'agent', env }], initContainers: [], volumes: [] })
  assert.ok(moved.kind === 'refused')
  assert.equal(moved.refusals[0]?.rule, 'SourceNotMovable')
})

test('texts made to be slow to read are read in time', () => {
  const args = ['postgres://', '$(', 'postgresql:?password', 'password = ', 'psql+psql+', 'host=x ', '&password=', 'zqhiddenz', '${A'].map(
    (piece) => piece.repeat(Math.ceil(200_000 / piece.length)),
  )
  const env: V1EnvVar[] = [
    { name: 'A', value: 'long-enough' },
    { name: 'DATABASE_URL', value: 'postgresql://shop:$(A)@db.shop.svc/shop' },
    ...args.map((value, index) => ({ name: `PG${'_DB'.repeat(20_000)}${index}`, value })),
  ]
  const started = process.cpuUsage()
  review({ containers: [{ name: 'agent', env, args }], initContainers: [], volumes: [] })
  const { user } = process.cpuUsage(started)
  // About 0.1 s; what is quadratic takes a minute.
  assert.ok(user < 5_000_000, `${user} microseconds of processor time`)
})
