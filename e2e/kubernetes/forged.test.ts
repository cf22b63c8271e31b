/**
 * Goal: whoever gets a pod past the webhook with a sidecar of their own writing has nothing of it, whatever policy and mode it says it has. Method: a pod
 * that was made before its namespace was opted in, where nothing judges it, with the sidecar of a real one; and that real one.
 */
import assert from 'node:assert/strict'
import { parseSidecarConfig, writeSidecarConfig } from '../../crds/sidecar-config.ts'
import { apply, clusterTest, createNamespace, eventually, getJson, kubectl } from './support/kubectl.ts'
import { agentPod, podOf, type LivePod } from './support/shop.ts'

const optedIn = 'steno.dev/inject=enabled'
const databases = [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }]
const policyIn = (namespace: string): object => ({
  ...{ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'orders', namespace }, spec: { databases } },
})

/** The seals of all pods are asked for, also where steno was installed a minute ago. */
async function askForSeals(since: string): Promise<string> {
  const at = ['admissionparameters.steno.dev', 'steno']
  const { spec } = await getJson<{ spec: { admissionsSignedSince?: string } }>(at)
  await kubectl(['patch', ...at, '--type=merge', '-p', JSON.stringify({ spec: { admissionsSignedSince: since } })])
  assert.ok(spec.admissionsSignedSince !== undefined, 'the chart says since when')
  return spec.admissionsSignedSince
}

/** The pod as somebody would write it who has seen a real one. */
function forgedFrom({ metadata, spec }: LivePod): object {
  const isOfApi = ({ name }: { readonly name: string }): boolean => name.startsWith('kube-api-access-')
  const initContainers = structuredClone(spec.initContainers ?? [])
  const variable = initContainers[0]?.env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
  assert.ok(variable?.value !== undefined)
  const hash = 'ab'.repeat(16)
  const enforcement = { mode: 'CredentialsOnly', onOpenPath: 'Report' } as const
  const config = { ...parseSidecarConfig(variable.value), policy: { names: ['shop/orders'], hash }, relay: null, enforcement }
  Object.assign(variable, { value: writeSidecarConfig(config) })
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'forged',
      labels: { ...metadata.labels, 'steno.dev/enforcement': 'CredentialsOnly' },
      annotations: { ...metadata.annotations, 'steno.dev/policy-hash': hash },
    },
    spec: {
      initContainers,
      containers: spec.containers.map((container) => ({
        ...container,
        volumeMounts: (container.volumeMounts ?? []).filter((mount) => !isOfApi(mount)),
      })),
      volumes: (spec.volumes ?? []).filter((volume) => !isOfApi(volume)),
      terminationGracePeriodSeconds: 20,
    },
  }
}

const toldBy = (namespace: string, pod: string, pattern: RegExp): Promise<true> =>
  eventually(`the sidecar of ${pod} says ${pattern}`, async () => {
    const log = await kubectl(['-n', namespace, 'logs', pod, '-c', 'steno'])
    return pattern.test(log) || null
  })

clusterTest(
  'a sidecar that its pod’s author wrote gets no policy, with the seal of a real one too; the real one gets its own',
  async () => {
    await using shop = await createNamespace('t-forged-shop', { 'steno.dev/inject': 'enabled' })
    await using early = await createNamespace('t-forged-early')
    const before = await askForSeals('2000-01-01T00:00:00Z')
    try {
      await apply([policyIn(shop.name), policyIn(early.name)])
      await kubectl(['-n', shop.name, 'create', '-f', '-'], JSON.stringify(agentPod('real', { env: [] })))
      const real = await podOf(shop.name, 'real')
      assert.match(real.metadata.annotations?.['steno.dev/admission'] ?? '', /^[0-9]+\.[A-Za-z0-9_-]{86}$/)
      await toldBy(shop.name, 'real', /"msg":"the policy changed"/)

      await kubectl(['-n', early.name, 'create', '-f', '-'], JSON.stringify(forgedFrom(real)))
      await kubectl(['label', 'namespace', early.name, optedIn])
      await toldBy(early.name, 'forged', /POD_UNFIT.*steno\.dev\/admission.*must be made again/)
      assert.doesNotMatch(await kubectl(['-n', early.name, 'logs', 'forged', '-c', 'steno']), /the policy changed/)
    } finally {
      await askForSeals(before)
    }
  },
  { timeoutMilliseconds: 360_000 },
)
