import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import fc from 'fast-check'
import { applyPatch, type Operation } from 'rfc6902'
import { parseSidecarConfig } from '../crds/sidecar-config.ts'
import { explainInjection } from './explain-injection.ts'
import { injectPod } from './inject-pod.ts'
import { patchBetween } from './json-patch.ts'
import { fixedVariableNames, sidecarName } from './sidecar-container.ts'
import { reviewPod } from './review-pod.ts'
import { anyPod } from './test-pods.ts'
import { restrictedFaults } from './test-pod-security.ts'
import { agentPod, goldenNames, goldenPod, goldenWorld, requestFor, testWorld } from './test-world.ts'

const injectedGoldens = goldenNames.filter((name) => injectPod(requestFor(goldenPod(name)), goldenWorld(name)).kind === 'injected')

function injected(pod: V1Pod, world = testWorld()): V1Pod {
  const injection = injectPod(requestFor(frozen(pod)), world)
  assert.ok(injection.kind === 'injected', JSON.stringify(injection))
  return injection.pod
}

for (const name of injectedGoldens) {
  test(`an injected pod is left as it is: ${name}`, () => {
    const once = injected(goldenPod(name), goldenWorld(name))
    assert.deepEqual(patchBetween(once, injected(once, goldenWorld(name))), [])
    const review = reviewPod({ ...requestFor(once), uid: 'u', dryRun: true, operation: 'CREATE' }, goldenWorld(name))
    assert.deepEqual([review.allowed, review.outcome], [true, 'unchanged'])
  })

  test(`the patch turns the pod into the injected one: ${name}`, () => {
    const pod = goldenPod(name)
    const after = injected(pod, goldenWorld(name))
    const patched = structuredClone(pod)
    const patch = patchBetween(pod, after)
    assert.deepEqual(
      applyPatch(patched, structuredClone(patch) as Operation[]),
      patch.map(() => null),
    )
    assert.deepEqual(patched, after)
  })

  test(`what Pod Security restricted accepts it accepts with the sidecar: ${name}`, () => {
    const pod = goldenPod(name)
    const before = restrictedFaults(pod).filter((fault) => !fault.startsWith(sidecarName))
    assert.deepEqual(restrictedFaults(injected(pod, goldenWorld(name))), before)
  })
}

test('the golden of a restricted pod is one', () => {
  assert.deepEqual(restrictedFaults(goldenPod('restricted-pod')), [])
})

test('the sidecar has the variables that are fixed, in their order, and behind them only sources and authorities', () => {
  for (const name of injectedGoldens) {
    const [sidecar] = sidecarsOf(injected(goldenPod(name), goldenWorld(name)))
    const names = sidecar?.env?.map((variable) => variable.name) ?? []
    assert.deepEqual(names.slice(0, fixedVariableNames.length), fixedVariableNames)
    const rest = names.slice(fixedVariableNames.length).join(' ')
    assert.match(rest, /^(STENO_SOURCE_[0-9]+_[A-Za-z0-9_.-]+ ?)*(STENO_CA_[0-9]+ ?)*$/)
    parseSidecarConfig(sidecar?.env?.[0]?.value ?? '')
  }
})

// Goal: whatever another injector does between two reviews, the second gives what the first would have. Method: each habit of injectors.
const habits: [string, (pod: V1Pod) => void][] = [
  ['puts its own init container first', (pod) => pod.spec?.initContainers?.unshift({ name: 'other', image: 'other' })],
  ['moves the sidecar to the end', (pod) => pod.spec?.initContainers?.push(...pod.spec.initContainers.splice(0, 1))],
  [
    'gives every container a variable',
    (pod) => allContainers(pod).forEach((container) => (container.env ??= []).push({ name: 'OTHER', value: 'x' })),
  ],
  [
    'mounts its volume into every container',
    (pod) => {
      pod.spec?.volumes?.push({ name: 'other', emptyDir: {} })
      for (const container of allContainers(pod)) (container.volumeMounts ??= []).push({ name: 'other', mountPath: '/other' })
    },
  ],
  ['rewrites every image', (pod) => allContainers(pod).forEach((container) => (container.image = `mirror.example.com/${container.image}`))],
  ['sets a command on every container', (pod) => allContainers(pod).forEach((container) => (container.command = ['/other/launcher']))],
  ['takes the labels away', (pod) => (pod.metadata = { name: 'agent' })],
  ['takes the volumes away', (pod) => (pod.spec!.volumes = [])],
]
for (const [habit, change] of habits)
  test(`another injector may come between two reviews: one that ${habit}`, () => {
    const first = injected(agentPod({ spec: { initContainers: [{ name: 'own', image: 'registry.example.com/own:1' }] } }))
    const disturbed = structuredClone(first)
    change(disturbed)
    assert.notDeepEqual(disturbed, first)
    const second = injected(disturbed)
    assert.equal(second.spec?.initContainers?.[0]?.name, sidecarName)
    assert.deepEqual(sidecarsOf(second), sidecarsOf(first))
    for (const volume of first.spec?.volumes ?? [])
      assert.deepEqual(
        second.spec?.volumes?.find(({ name }) => name === volume.name),
        volume,
      )
    assert.deepEqual(second.metadata?.labels, first.metadata?.labels)
    assert.deepEqual(patchBetween(second, injected(second)), [])
  })

test('a volume that another injector appends stays where it is', () => {
  const disturbed = structuredClone(injected(agentPod()))
  disturbed.spec?.volumes?.push({ name: 'other', emptyDir: {} })
  assert.deepEqual(patchBetween(disturbed, injected(disturbed)), [])
})

test('a container that is appended with the same reference uses the listener that is there', () => {
  const first = injected(agentPod())
  const disturbed = structuredClone(first)
  disturbed.spec?.containers.push(Object.assign({ name: '' }, agentPod().spec?.containers[0], { name: 'appended' }))
  const second = injected(disturbed)
  assert.deepEqual(sidecarsOf(second), sidecarsOf(first))
  assert.deepEqual(second.spec?.containers[1]?.env, first.spec?.containers[0]?.env)
})

test('a container that is appended with another reference gets a listener of its own', () => {
  const disturbed = structuredClone(injected(agentPod()))
  const env = [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'reader-url' } } }]
  disturbed.spec?.containers.push({ name: 'appended', image: 'x', env })
  const [sidecar] = sidecarsOf(injected(disturbed))
  const { listeners } = parseSidecarConfig(sidecar?.env?.[0]?.value ?? '')
  assert.deepEqual(
    listeners.map(({ localPort }) => localPort),
    [15_432, 15_433],
  )
})

test('what a LimitRange adds to the sidecar stays, and nothing else does', () => {
  const first = injected(agentPod())
  const disturbed = structuredClone(first)
  const [sidecar] = sidecarsOf(disturbed)
  Object.assign(sidecar!.resources!.limits!, { cpu: '1', memory: '8Gi', 'example.com/gpu': '1' })
  const [after] = sidecarsOf(injected(disturbed))
  assert.deepEqual(after?.resources, { limits: { cpu: '1', memory: '256Mi' }, requests: { cpu: '10m', memory: '96Mi' } })
})

test('a pod that was made under a weaker policy is judged by the one of now', () => {
  const strict = injected(agentPod())
  const loose = structuredClone(strict)
  const [sidecar] = sidecarsOf(loose)
  const variable = sidecar!.env![0]!
  variable.value = variable.value!.replace('"verify-full"', '"disable"').replace('orders-db.data.svc.cluster.local', '*')
  assert.notDeepEqual(loose, strict)
  assert.deepEqual(injected(loose), strict)
})

test('several reasons are told at once', () => {
  const pod = agentPod({ spec: { hostNetwork: true, shareProcessNamespace: true, securityContext: { fsGroup: 64_242 } } })
  const review = reviewPod({ ...requestFor(pod), uid: 'u', dryRun: false, operation: 'CREATE' }, testWorld())
  assert.ok(!review.allowed)
  assert.deepEqual(review.rules, ['HostNetwork', 'ShareProcessNamespace', 'UserTaken'])
  assert.match(review.message, /for 3 reasons: \(1\) HostNetwork .* \(2\) ShareProcessNamespace .* \(3\) UserTaken /)
})

test('a refusal of a pod with a thousand faults stays short and counts them', () => {
  const volumes = Array.from({ length: 1_000 }, () => ({ name: 'steno-spool', secret: { secretName: 'orders' } }))
  const review = reviewPod({ ...requestFor(agentPod({ spec: { volumes } })), uid: 'u', dryRun: false, operation: 'CREATE' }, testWorld())
  assert.ok(!review.allowed)
  assert.ok(review.message.length < 4_000)
  assert.match(review.message, /for 1000 reasons.*And \d+ more; `kubectl steno check -f`/)
})

test('the explanation says what the injection does, and shows no literal', () => {
  const env = [
    { name: 'DATABASE_URL', value: 'postgresql://agent:hunter2@orders-db.data.svc.cluster.local:5432/orders' },
    { name: 'OTHER', value: 'hunter3' },
  ]
  const explanation = explainInjection(requestFor(agentPod({ container: { env } })), testWorld())
  assert.equal(explanation.outcome, 'injected')
  assert.deepEqual(explanation.policy?.sources, ['shop/orders'])
  assert.deepEqual(
    explanation.moved.map(({ container, variable, before }) => [container, variable, before]),
    [['agent', 'DATABASE_URL', 'a literal value (not shown)']],
  )
  assert.deepEqual(
    explanation.listeners.map(({ database, localPort, tlsMode }) => [database, localPort, tlsMode]),
    [['orders', 15_432, 'verify-full']],
  )
  assert.doesNotMatch(JSON.stringify(explanation), /hunter/)
  const again = explainInjection(requestFor(injected(agentPod({ container: { env } }))), testWorld())
  assert.deepEqual([again.outcome, again.moved], ['unchanged', []])
  assert.doesNotMatch(JSON.stringify(again), /hunter/)
})

// Goal: no shape of pod makes admission throw, or gives a pod that a second review would change. Method: pods with random parts.
test('any pod is refused or injected for good', () => {
  const world = testWorld()
  let [refusedCount, injectedCount] = [0, 0]
  fc.assert(
    fc.property(anyPod, (one) => {
      const pod = frozen(one)
      const injection = injectPod(requestFor(pod), world)
      if (injection.kind !== 'injected') {
        refusedCount++
        assert.ok(injection.kind === 'refused' && injection.refusals.length > 0)
        return
      }
      injectedCount++
      assert.equal(injection.pod.spec?.initContainers?.[0]?.name, sidecarName)
      assert.equal(sidecarsOf(injection.pod).length, 1)
      assert.deepEqual(patchBetween(injection.pod, injected(injection.pod)), [])
      const patched = structuredClone(pod)
      applyPatch(patched, structuredClone(patchBetween(pod, injection.pod)))
      assert.deepEqual(patched, injection.pod)
    }),
    { numRuns: 1_000 },
  )
  assert.ok(refusedCount > 50 && injectedCount > 50, `${refusedCount} refused, ${injectedCount} injected`)
})

function sidecarsOf(pod: V1Pod): V1Container[] {
  return (pod.spec?.initContainers ?? []).filter(({ name }) => name === sidecarName)
}

function allContainers(pod: V1Pod): V1Container[] {
  return [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]
}

/** An injection that changes its argument throws. */
function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const field of Object.values(Object.freeze(value))) frozen(field)
  return value
}
