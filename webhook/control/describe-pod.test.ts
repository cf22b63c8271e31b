// Goal: control takes recordings from the webhook's sidecars alone. Method: a pod as a cluster had it, and what would make it another's.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import type { ClusterClient } from '../../cluster/client.ts'
import type { LiveEnvironment } from '../../injection/live-sidecar.ts'
import { createPodDescription } from './describe-pod.ts'
import { Refusal } from './refusal.ts'

const live = JSON.parse(readFileSync(new URL('../../injection/live/pod-without-relay.json', import.meta.url), 'utf8')) as V1Pod
const sidecar = live.spec?.initContainers?.[0]
const environment: LiveEnvironment = {
  images: [sidecar?.image ?? ''],
  controlUrl: 'https://steno-control.steno-system.svc:443',
  relayEndpoint: 'steno-relay.steno-system.svc:8443',
  controlPublicKeys: [sidecar?.env?.find(({ name }) => name === 'STENO_CONTROL_PUBLIC_KEY')?.value ?? ''],
  controlCas: [],
  admissionsSignedSince: null,
}
const identity = {
  podUid: live.metadata?.uid ?? '',
  podName: 'worker',
  podNamespace: 'shop',
  serviceAccount: 'default',
  nodeName: 'node',
}

function describe(known: LiveEnvironment | null, change: (pod: V1Pod) => void = () => undefined) {
  const pod = structuredClone(live)
  change(pod)
  const answer = async ({ path }: { path: string }) =>
    Promise.resolve(path.includes('/pods/') ? pod : { metadata: { labels: { 'steno.dev/inject': 'enabled' } } })
  return createPodDescription({ request: answer as ClusterClient['request'] }, () => known)(identity)
}

test('a pod with the webhook’s sidecar is described', async () => {
  const description = await describe(environment)
  assert.deepEqual(description.kind === 'fit' && [description.owner, description.store], ['ReplicaSet/worker-7f4dfbfc94', 'default'])
})

const others: readonly (readonly [string, (pod: V1Pod) => void])[] = [
  ['another image', (pod) => (pod.spec!.initContainers![0]!.image = 'steno:mine')],
  ['a variable of its own', (pod) => pod.spec!.initContainers![0]!.env!.push({ name: 'NODE_OPTIONS', value: '--inspect' })],
  ['its token mounted elsewhere', (pod) => pod.spec!.containers[0]!.volumeMounts!.push({ name: 'steno-token', mountPath: '/t' })],
]
for (const [what, change] of others)
  test(`a pod whose sidecar has ${what} hands over nothing`, async () => {
    assert.equal((await describe(environment, change)).kind, 'unfit')
  })

test('while nobody knows what sidecars look like, the answer is to wait', async () => {
  await assert.rejects(describe(null), (error) => error instanceof Refusal && error.code === 'CLUSTER_UNAVAILABLE')
})
