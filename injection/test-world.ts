/** For tests: a world of admission with policies from YAML or objects, and the golden pairs. */
import { readFileSync, readdirSync } from 'node:fs'
import type { V1Pod } from '@kubernetes/client-node'
import { parse, parseAllDocuments } from 'yaml'
import type { ClusterSessionPolicy } from '../crds/cluster-session-policy.ts'
import { readObject } from '../crds/read-object.ts'
import type { SessionPolicy } from '../crds/session-policy.ts'
import type { AdmissionWorld, InjectionRequest } from './inject-pod.ts'

export const goldenFolder = new URL('golden/', import.meta.url)
export const goldenNames = readdirSync(goldenFolder).sort()

const namespaceLabels = { 'kubernetes.io/metadata.name': 'shop', 'steno.dev/inject': 'enabled' }

export function testWorld(policies = ordersPolicy): AdmissionWorld {
  const objects = parseAllDocuments(policies)
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map(readObject)
  return {
    policies: objects.filter((object): object is SessionPolicy => object.kind === 'SessionPolicy'),
    clusterPolicies: objects.filter((object): object is ClusterSessionPolicy => object.kind === 'ClusterSessionPolicy'),
    namespaceLabels: new Map([['shop', namespaceLabels]]),
    sidecarImage: 'registry.example.com/steno@sha256:6a7c5b8d',
    controlUrl: 'https://steno-control.steno-system.svc:443',
    relayEndpoint: 'steno-relay.steno-system.svc:8443',
    controlCa: '-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n',
    controlPublicKey: '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n',
    version: '1.2.3',
  }
}

export function requestFor(pod: V1Pod): InjectionRequest {
  return { namespace: 'shop', namespaceLabels, pod }
}

export function goldenPod(name: string): V1Pod {
  return parse(readFileSync(new URL(`${name}/pod.yaml`, goldenFolder), 'utf8')) as V1Pod
}

export function goldenWorld(name: string): AdmissionWorld {
  return testWorld(readFileSync(new URL(`${name}/policies.yaml`, goldenFolder), 'utf8'))
}

/** One database called orders, carried by DATABASE_URL. */
export const ordersPolicy = `
apiVersion: steno.dev/v1alpha1
kind: SessionPolicy
metadata: { name: orders, namespace: shop }
spec:
  databases:
    - name: orders
      hosts: [orders-db.data.svc.cluster.local]
      databaseNames: [orders]
`

/** A pod with one container that has `env`. */
export function agentPod(fields: { readonly spec?: object; readonly container?: object } = {}): V1Pod {
  return {
    metadata: { name: 'agent' },
    spec: {
      containers: [
        {
          name: 'agent',
          image: 'registry.example.com/agent:1',
          env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }],
          ...fields.container,
        },
      ],
      ...fields.spec,
    },
  }
}
