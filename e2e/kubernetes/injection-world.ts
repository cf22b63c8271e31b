/**
 * What the tests of the injection need of a cluster: a place where the API server reaches this process, another injector, pods, and many
 * requests at a time.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { V1Container, V1EnvVar, V1Pod } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { apply, eventually, getJson, kubectl } from './support/kubectl.ts'

/** Never scheduled: no image is needed, and no node is troubled. */
export function agentPod(name = 'agent', spec: object = {}): V1Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      schedulerName: 'nobody',
      containers: [
        {
          name: 'agent',
          image: 'registry.example.com/agent:1',
          env: [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: 'url' } } }],
        },
      ],
      ...spec,
    },
  }
}

export function labelled(pod: V1Pod, podLabels: Record<string, string>): V1Pod {
  return Object.assign({}, pod, { metadata: { name: pod.metadata?.name, labels: podLabels } })
}

function withMore(container: V1Container, variable: V1EnvVar): V1Container {
  return Object.assign({}, container, { env: [...(container.env ?? []), variable] })
}

/** An address of this machine that the API server reaches: the node's, when the test runs there, or E2E_WEBHOOK_HOST. */
export async function addressForWebhooks(): Promise<string> {
  const given = process.env['E2E_WEBHOOK_HOST']
  if (given !== undefined) return given
  type Nodes = { items: { status: { addresses: { type: string; address: string }[] } }[] }
  const { items } = await getJson<Nodes>(['nodes'])
  const nodes = items.flatMap(({ status }) => status.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address))
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  const both = own.find(({ address }) => nodes.includes(address))
  if (both === undefined) throw new Error('set E2E_WEBHOOK_HOST to an address of this machine that the API server reaches')
  return both.address
}

/** Asks `url` about pods of the namespace that have `podLabels`; returns when the API server does. Dispose of it to end that. */
export async function addWebhook(
  namespace: string,
  order: string,
  at: { readonly url: string; readonly ca: string; readonly podLabels: Record<string, string>; readonly adds: string },
): Promise<() => Promise<unknown>> {
  const { url, ca, podLabels, adds } = at
  const name = `${namespace}-${order}`
  await apply({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks: [
      {
        name: `${order}.injection.test.steno.dev`,
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Ignore',
        reinvocationPolicy: 'IfNeeded',
        timeoutSeconds: 5,
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
        objectSelector: { matchLabels: podLabels },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        clientConfig: { url, caBundle: Buffer.from(ca).toString('base64') },
      },
    ],
  })
  // The API server takes a moment to use it; a pod that only this webhook changes tells.
  await eventually(`webhook ${order} is asked`, async () => {
    const probe = labelled(agentPod('probe'), podLabels)
    const pod = JSON.parse(
      await kubectl(['create', '-n', namespace, '--dry-run=server', '-o', 'json', '-f', '-'], JSON.stringify(probe)),
    ) as V1Pod
    return pod.spec?.initContainers?.some((container) => container.name === adds) === true ? true : null
  })
  return () => kubectl(['delete', 'mutatingwebhookconfiguration', name])
}

/** Puts its own init container first, a variable into every container, and appends a container with the agent's variables as they were. */
export async function otherInjector(address: string, leaf: { readonly key: string; readonly cert: string }) {
  const injector = https.createServer(leaf, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const review = JSON.parse(Buffer.concat(chunks).toString()) as { request: { uid: string; object: V1Pod } }
      const { spec } = review.request.object
      const wasHere = spec?.initContainers?.some(({ name }) => name === 'other-init') === true
      const variable = { name: 'OTHER', value: 'x' }
      const withVariable = (spec?.containers ?? []).map((container) => withMore(container, variable))
      const inits = (spec?.initContainers ?? []).map((container) => withMore(container, variable))
      const patch = wasHere
        ? []
        : [
            { op: 'add', path: '/spec/initContainers', value: [{ name: 'other-init', image: 'registry.example.com/other:1' }, ...inits] },
            {
              op: 'add',
              path: '/spec/containers',
              value: [...withVariable, Object.assign({}, agentPod().spec?.containers[0], { name: 'other' })],
            },
          ]
      const answer = {
        uid: review.request.uid,
        allowed: true,
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }))
    })
  })
  injector.listen(0, address)
  await once(injector, 'listening')
  return {
    port: (injector.address() as AddressInfo).port,
    close: () => {
      injector.closeAllConnections()
      injector.close()
      return Promise.resolve()
    },
  }
}

type Kubeconfig = {
  readonly clusters: { readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string } }[]
  readonly users: {
    readonly user: { readonly 'client-certificate-data'?: string; readonly 'client-key-data'?: string; readonly token?: string }
  }[]
}

export async function getKubeconfig(): Promise<Kubeconfig> {
  return parse(await kubectl(['config', 'view', '--raw', '--minify', '--flatten'])) as Kubeconfig
}

/** Requests as kubectl would make them, many at a time. */
export function apiServer({ clusters: [first], users: [person] }: Kubeconfig, connections: number) {
  assert.ok(first !== undefined && person !== undefined)
  const decoded = (data: string | undefined) => (data === undefined ? undefined : Buffer.from(data, 'base64'))
  const agent = new https.Agent({
    keepAlive: true,
    maxSockets: connections,
    ca: decoded(first.cluster['certificate-authority-data']),
    cert: decoded(person.user['client-certificate-data']),
    key: decoded(person.user['client-key-data']),
  })
  const headers = {
    'content-type': 'application/json',
    ...(person.user.token === undefined ? {} : { authorization: `Bearer ${person.user.token}` }),
  }
  return async (method: string, path: string, body: object) => {
    const request = https.request(new URL(path, first.cluster.server), { method, agent, headers })
    request.end(JSON.stringify(body))
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }
  }
}
