/** Goal: exceptions of cluster policies are read one way, for admission and for AdmissionParameters. Method: tables. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'
import { admissionExceptions, foreignInitContainersFor, imageHasPrefix } from './exceptions.ts'
import { readClusterSessionPolicy } from './read-object.ts'

const clusterPolicy = (name: string, spec: object): ClusterSessionPolicy =>
  readClusterSessionPolicy({ apiVersion: 'steno.dev/v1alpha1', kind: 'ClusterSessionPolicy', metadata: { name }, spec })

const istio = { name: 'istio-init', image: 'docker.io/istio/proxyv2' }
const linkerd = { name: 'linkerd-init', image: 'cr.l5d.io/linkerd/proxy-init' }
const all = clusterPolicy('all', {
  foreignInitContainers: [istio],
  exemptPods: [{ namespaces: ['shop', 'bank'], matchLabels: { app: 'cache' }, reason: 'it has no database' }],
})
const ofBank = clusterPolicy('of-bank', {
  namespaceSelector: { matchLabels: { team: 'bank' } },
  foreignInitContainers: [linkerd, istio],
  exemptPods: [{ namespaces: ['shop', 'bank'], reason: 'never in shop, whose labels do not fit' }],
})

test('init containers of others are those of the policies for the namespace, each once', () => {
  assert.deepEqual(foreignInitContainersFor({ team: 'shop' }, [ofBank, all]), [istio])
  assert.deepEqual(
    foreignInitContainersFor({ team: 'bank' }, [ofBank, all]),
    [istio, linkerd].toSorted((a, b) => (a.image < b.image ? -1 : 1)),
  )
})

const images: readonly (readonly [string, string, boolean])[] = [
  ['docker.io/istio/proxyv2', 'docker.io/istio/proxyv2', true],
  ['docker.io/istio/proxyv2:1.24', 'docker.io/istio/proxyv2', true],
  ['docker.io/istio/proxyv2@sha256:00', 'docker.io/istio/proxyv2', true],
  ['docker.io/istio/proxyv2-evil:1', 'docker.io/istio/proxyv2', false],
  ['docker.io/istio/proxyv2:1.24', 'docker.io/istio/', true],
  ['docker.io/istio/proxyv2:1.24', 'docker.io/istio/proxyv2:1', false],
  ['docker.io.evil.net/istio/proxyv2', 'docker.io', false],
  ['evil.net/docker.io/istio/proxyv2', 'docker.io/istio/proxyv2', false],
]
for (const [image, prefix, has] of images) {
  test(`${image} ${has ? 'is' : 'is not'} what ${prefix} names`, () => assert.equal(imageHasPrefix(image, prefix), has))
}

test('the parameters of admission name each exempt pod by namespace, for opted-in namespaces that the policy is for', () => {
  const namespaces = new Map([
    ['shop', { team: 'shop' }],
    ['bank', { team: 'bank' }],
  ])
  const exceptions = admissionExceptions(namespaces, [all, ofBank])
  assert.deepEqual(
    exceptions.exemptPods,
    [
      { namespace: 'bank', matchLabels: { app: 'cache' } },
      { namespace: 'shop', matchLabels: { app: 'cache' } },
      { namespace: 'bank', matchLabels: {} },
    ].toSorted((a, b) => (JSON.stringify([a.matchLabels, a.namespace]) < JSON.stringify([b.matchLabels, b.namespace]) ? -1 : 1)),
  )
  assert.deepEqual(exceptions.foreignInitContainers.map(({ name }) => name).sort(), ['istio-init', 'linkerd-init'])
  assert.deepEqual(exceptions, admissionExceptions(new Map([...namespaces].toReversed()), [ofBank, all]))
})
