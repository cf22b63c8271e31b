// Goal: a pod that was made before its namespace was opted in has no more rights than one that is made now. Method: a pod that is fit, and each
// right that the admission policies refuse; the capabilities compared with the chart's text.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { V1Pod, V1SecurityContext } from '@kubernetes/client-node'
import { injectPod } from './inject-pod.ts'
import { capabilitiesAllowed } from './judge-isolation.ts'
import { judgeLivePod, judgeLiveSidecar } from './judge-live-pod.ts'
import { defaulted, liveWorldOf, running } from './test-live-pods.ts'
import { agentPod, requestFor, testWorld } from './test-world.ts'

function live(change: (pod: V1Pod) => void): V1Pod {
  const written = agentPod()
  change(written)
  const injection = injectPod(requestFor(defaulted(written)), testWorld())
  assert.ok(injection.kind === 'injected', JSON.stringify(injection))
  return running(structuredClone(injection.pod))
}
const inAgent = (securityContext: V1SecurityContext) => (pod: V1Pod) => void (pod.spec!.containers[0]!.securityContext = securityContext)
const verdictOn = (pod: V1Pod) => judgeLivePod(pod, liveWorldOf(testWorld()))

for (const [what, change, said] of [
  ['is privileged', inAgent({ privileged: true }), /privileged/],
  ['adds NET_ADMIN', inAgent({ capabilities: { add: ['NET_ADMIN'] } }), /capability/],
  ['adds all capabilities', inAgent({ capabilities: { drop: ['ALL'], add: ['ALL'] } }), /capability/],
  ['adds CAP_SYS_PTRACE', inAgent({ capabilities: { add: ['CHOWN', 'CAP_SYS_PTRACE'] } }), /capability/],
  ['has an unmasked /proc', inAgent({ procMount: 'Unmasked' }), /unmasked/],
  ['mounts a path of its node', (pod: V1Pod) => void (pod.spec!.volumes = [{ name: 'node', hostPath: { path: '/' } }]), /HostPath/],
  [
    'has an init container that adds NET_ADMIN',
    (pod: V1Pod) =>
      void (pod.spec!.initContainers = [{ name: 'first', image: 'x', securityContext: { capabilities: { add: ['NET_ADMIN'] } } }]),
    /capability/,
  ],
] as const)
  test(`an older pod that ${what} is unfit, and what it recorded is still taken`, () => {
    const pod = live(change)
    const verdict = verdictOn(pod)
    assert.match(verdict.kind === 'unfit' ? verdict.reason : verdict.kind, said)
    assert.notEqual(judgeLiveSidecar(pod, liveWorldOf(testWorld())).kind, 'unfit')
  })

test('a debug container is held to the same', () => {
  const pod = live(() => undefined)
  pod.spec!.ephemeralContainers = [{ name: 'debug', image: 'x', securityContext: { capabilities: { add: ['SYS_PTRACE'] } } }]
  assert.equal(verdictOn(pod).kind, 'unfit')
})

test('what every container may have is fit', () => {
  const add = [...capabilitiesAllowed]
  const pod = live(inAgent({ privileged: false, procMount: 'Default', capabilities: { add, drop: ['NET_RAW'] } }))
  assert.equal(verdictOn(pod).kind, 'fit')
})

test('the capabilities are those of the admission policy', () => {
  const text = readFileSync(new URL('../charts/steno/templates/admission-policies/pod-privileges.yaml', import.meta.url), 'utf8')
  const [, list = ''] = /capability in\s+\[([^\]]+)\]/.exec(text) ?? []
  assert.deepEqual(
    list.split(',').map((name) => name.trim().replaceAll("'", '')),
    capabilitiesAllowed,
  )
})
