/** Pods as the webhook would make them, to be spoilt field by field; and the words of a refusal. */
import assert from 'node:assert/strict'
import type { V1Container, V1Pod } from '@kubernetes/client-node'
import { sidecarContainer, sidecarVolumes } from '../../injection/sidecar-container.ts'
import type { Answer, Caller } from './policies-api.ts'
import { controlCas, controlPublicKey, type PoliciesWorld, sidecarImage } from './policies-world.ts'

/** An injected pod with all its lists there, so that a test can reach into it. */
export type InjectedPod = V1Pod & {
  metadata: { name: string; labels: Record<string, string>; annotations: Record<string, string> }
  spec: { initContainers: V1Container[]; containers: V1Container[]; volumes: NonNullable<NonNullable<V1Pod['spec']>['volumes']> }
}

/** As the webhook of the world's release would name it; see `createPoliciesWorld`. */
export function controlUrlFor(namespace: string): string {
  return `https://steno-control.${stenoNamespaceOf(namespace)}.svc:443`
}

export function relayEndpointFor(namespace: string): string {
  return `steno-relay.${stenoNamespaceOf(namespace)}.svc:8443`
}

export function stenoNamespaceOf(namespace: string): string {
  return namespace.replace(/-shop$/, '-system')
}

export function injectedPod(name: string, namespace: string): InjectedPod {
  const sidecar = sidecarContainer({
    image: sidecarImage,
    config: {
      version: 1,
      control: { url: controlUrlFor(namespace), store: 'default' },
      relay: { endpoint: relayEndpointFor(namespace) },
      enforcement: { mode: 'Relay', onOpenPath: 'Block' },
      policy: { names: ['shop/orders'], hash: '0123456789abcdef0123456789abcdef' },
      recording: { level: 'results', onFailure: 'block', spoolBytesMax: 536_870_912, spoolAgeMillisecondsMax: 3_600_000 },
      terminationGraceSeconds: 30,
      listeners: [
        {
          database: 'orders',
          localPort: 15_432,
          allowed: { hosts: ['orders.example.com', '*.replicas.example.com', 'orders-db'], port: 5432, databaseNames: ['orders'] },
          tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' },
          source: { kind: 'url', variable: 'STENO_SOURCE_0_DATABASE_URL' },
        },
      ],
    },
    controlCa: controlCas.slice(0, 2).join(''),
    controlPublicKey,
    sourceVariables: [
      { name: 'STENO_SOURCE_0_DB_PASSWORD', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'password' } } },
      { name: 'STENO_SOURCE_0_DATABASE_URL', value: 'postgresql://agent:$(STENO_SOURCE_0_DB_PASSWORD)@orders.example.com/orders' },
      { name: 'STENO_SOURCE_1_PGHOST', valueFrom: { configMapKeyRef: { name: 'orders-db', key: 'host.name' } } },
      { name: 'STENO_SOURCE_1_my-driver.host', value: '' },
    ],
    caVariables: [{ name: 'STENO_CA_0', valueFrom: { configMapKeyRef: { name: 'ca', key: 'ca.crt' } } }],
    resources: { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '256Mi' } },
  })
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { app: 'shop', 'steno.dev/injected': 'true', 'steno.dev/enforcement': 'Relay' },
      annotations: {
        'steno.dev/policy': 'shop/orders',
        'steno.dev/policy-hash': '0123456789abcdef0123456789abcdef',
        'steno.dev/version': '0.1.0',
      },
    },
    spec: {
      // Nobody schedules it: most tests need the object alone.
      schedulerName: 'nobody',
      terminationGracePeriodSeconds: 15,
      initContainers: [sidecar],
      containers: [{ name: 'app', image: sidecarImage }],
      volumes: sidecarVolumes({ spoolBytesMax: 536_870_912 }),
    },
  }
}

/** The sidecar of a pod, wherever it stands. */
export function sidecarOf(pod: InjectedPod): V1Container {
  const sidecar = pod.spec.initContainers.find(({ name }) => name === 'steno')
  assert.ok(sidecar)
  return sidecar
}

/** The first of the pod's own containers. */
export function appOf(pod: InjectedPod): V1Container {
  const [app] = pod.spec.containers
  assert.ok(app)
  return app
}

/** The refusal is the rule's, by the policy that has it, and says what to do. */
export function assertRefused(answer: Answer, policy: string, rule: string): void {
  assert.equal(answer.code, 422, `not refused by ${rule}: ${answer.code} ${answer.message}`)
  assert.match(
    answer.message,
    new RegExp(`ValidatingAdmissionPolicy '[^']*-${policy}' with binding '[^']*-${policy}' denied request: ${rule}: .+\\. .+\\.`),
  )
}

export function assertAdmitted(answer: Answer): void {
  assert.ok(answer.code >= 200 && answer.code < 300, `${answer.code} ${answer.message}`)
}

/** The pod is changed by `change` and offered to the API server, which keeps nothing. */
export function offer(world: PoliciesWorld, as: Caller | undefined, change: (pod: InjectedPod) => void): Promise<Answer> {
  const pod = injectedPod('agent', world.namespace)
  change(pod)
  return world.create('pods', pod, as)
}
