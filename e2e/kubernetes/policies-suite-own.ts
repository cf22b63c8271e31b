/** Tests that steno's own accounts, in the hands of somebody else, do what steno does and no more, and that steno's work passes. */
import assert from 'node:assert/strict'
import { before, suite } from 'node:test'
import { jsonPatch, mergePatch, type Answer, type Caller, type Request } from './policies-api.ts'
import { assertAdmitted, assertRefused, injectedPod } from './policies-pods.ts'
import type { PoliciesWorld } from './policies-world.ts'
import { clusterTest, getJson } from './support/kubectl.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
const strategic = 'application/strategic-merge-patch+json'
const closed = { type: 'steno.dev/EgressClosed', status: 'True', reason: 'Closed' }
const scheduled = { type: 'PodScheduled', status: 'False', reason: 'Nobody' }
const ownLabels = { 'app.kubernetes.io/managed-by': 'steno' }
const relayPods = { matchExpressions: [{ key: 'steno.dev/enforcement', operator: 'In', values: ['Relay'] }] }

type Named = { readonly metadata: { readonly name: string } }

export function testOwnAccounts(world: () => PoliciesWorld): void {
  suite('steno’s own accounts', () => {
    const send = (request: Omit<Request, 'path'> & { readonly path: string }): Promise<Answer> =>
      world().api.send({ ...request, path: `${request.path}?dryRun=All` })

    before(async () => {
      if (!isThere) return
      const body = injectedPod('told', world().namespace)
      assertAdmitted(await world().create('pods', body, undefined, { dryRun: false }))
      const status = { conditions: [scheduled, closed, { type: 'example.com/Mine', status: 'True' }], podIP: '10.0.0.5' }
      const path = world().in('pods/told/status')
      // A kubelet's status, with a condition of control's from before.
      assertAdmitted(
        await world().api.send({
          method: 'PATCH',
          path,
          as: world().people.control,
          body: { status: { conditions: [closed] } },
          contentType: strategic,
        }),
      )
      const others = { status: { ...status, conditions: status.conditions.filter(({ type }) => type !== closed.type) } }
      assertAdmitted(await world().api.send({ method: 'PATCH', path, body: others, contentType: strategic }))
    })

    const told = (body: unknown, contentType = strategic, path = world().in('pods/told/status')): Promise<Answer> =>
      send({ method: 'PATCH', path, as: world().people.control, body, contentType })

    clusterTest('control writes, changes and removes conditions of steno’s, several at a time', async () => {
      assertAdmitted(
        await told({
          status: {
            conditions: [
              { ...closed, status: 'False' },
              { ...closed, type: 'steno.dev/PolicyFollowed' },
            ],
          },
        }),
      )
      assertAdmitted(await told({ status: { conditions: [{ $patch: 'delete', type: closed.type }] } }))
    })

    clusterTest('control writes no other condition, no address, no phase, and nothing of metadata', async () => {
      const statuses: object[] = [
        { conditions: [{ ...scheduled, status: 'True' }] },
        { conditions: [{ type: 'Ready', status: 'True' }] },
        { conditions: [{ type: 'steno.development/Mine', status: 'True' }] },
        { conditions: [{ $patch: 'delete', type: scheduled.type }] },
        { conditions: [closed, { $patch: 'delete', type: 'example.com/Mine' }] },
        { phase: 'Succeeded' },
        { message: 'x' },
        { containerStatuses: [{ name: 'app', image: 'x', imageID: 'x', ready: true, restartCount: 0 }] },
      ]
      for (const status of statuses) assertRefused(await told({ status }), 'own-pod-status', 'OwnConditions')
      const operations: object[][] = [
        [{ op: 'remove', path: '/status/conditions' }],
        [
          { op: 'replace', path: '/status/podIP', value: '10.0.0.99' },
          { op: 'replace', path: '/status/podIPs/0/ip', value: '10.0.0.99' },
        ],
        [
          { op: 'remove', path: '/status/podIP' },
          { op: 'remove', path: '/status/podIPs' },
        ],
      ]
      for (const each of operations) assertRefused(await told(each, jsonPatch), 'own-pod-status', 'OwnConditions')
      const metadata: object[] = [
        { labels: { 'k8s-app': 'stolen' } },
        { labels: { app: null } },
        { annotations: { 'example.com/mine': 'x' } },
        { finalizers: ['example.com/held'] },
      ]
      for (const each of metadata)
        assertRefused(await told({ metadata: each, status: { conditions: [closed] } }), 'own-pod-status', 'OwnConditions')
    })

    clusterTest('in a namespace that is not opted in control writes no condition, and everybody else goes on', async () => {
      const { items } = await getJson<{ items: Named[] }>(['pods', '-n', 'kube-system'])
      const name = items[0]?.metadata.name
      assert.ok(name)
      const path = `/api/v1/namespaces/kube-system/pods/${name}/status`
      assertRefused(await told({ status: { conditions: [closed] } }, strategic, path), 'own-pod-status', 'OwnNamespaces')
      assertRefused(await told({ metadata: { labels: { 'k8s-app': 'stolen' } } }, strategic, path), 'own-pod-status', 'OwnNamespaces')
      assertAdmitted(await send({ method: 'PATCH', path, body: { status: { conditions: [closed] } }, contentType: strategic }))
    })

    const policiesOf = (namespace: string): string => `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`
    const network = (name: string, { labels = ownLabels, spec = {} }: { labels?: object; spec?: object } = {}) => ({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, labels },
      spec: { podSelector: relayPods, policyTypes: ['Egress'], egress: [], ...spec },
    })
    const asWebhook = (method: Request['method'], path: string, body?: unknown): Promise<Answer> =>
      send({ method, path, as: world().people.webhook, body, ...(method === 'PATCH' && { contentType: mergePatch }) })

    clusterTest('the webhook makes the policies of agents’ egress in opted-in namespaces, and no others anywhere', async () => {
      const here = policiesOf(world().namespace)
      for (const name of ['steno-egress', 'steno-allow-orders']) assertAdmitted(await asWebhook('POST', here, network(name)))
      const selector = (podSelector: object): object => ({ spec: { podSelector } })
      const refused = [
        network('open'),
        network('stenographer'),
        network('steno-egress', { labels: {} }),
        network('steno-egress', { labels: { 'app.kubernetes.io/managed-by': 'Helm' } }),
        network('steno-egress', { spec: { policyTypes: ['Egress', 'Ingress'] } }),
        network('steno-egress', { spec: { ingress: [{}] } }),
        network('steno-egress', selector({})),
        network('steno-egress', selector({ matchLabels: { app: 'shop' } })),
        network('steno-egress', selector({ matchExpressions: [{ key: 'steno.dev/enforcement', operator: 'NotIn', values: ['Relay'] }] })),
        network('steno-egress', selector({ matchExpressions: [{ key: 'app', operator: 'In', values: ['Relay'] }] })),
      ]
      for (const body of refused) assertRefused(await asWebhook('POST', here, body), 'own-network-policies', 'OwnEgress')
      const elsewhere = await asWebhook('POST', policiesOf('kube-system'), network('steno-egress'))
      assertRefused(elsewhere, 'own-network-policies', 'OwnNamespaces')
    })

    clusterTest('the webhook repairs and takes away what is steno’s, and touches nothing of others', async () => {
      const here = policiesOf(world().namespace)
      const objects = [
        network('steno-egress'),
        // Its label was taken off by somebody who may.
        network('steno-allow-bare', { labels: {} }),
        network('theirs', { labels: {} }),
        network('theirs-labelled'),
      ]
      for (const body of objects) assertAdmitted(await world().api.send({ method: 'POST', path: here, body }))
      try {
        const repair = { metadata: { labels: ownLabels }, spec: { egress: [] } }
        for (const name of ['steno-egress', 'steno-allow-bare']) assertAdmitted(await asWebhook('PATCH', `${here}/${name}`, repair))
        assertAdmitted(await asWebhook('DELETE', `${here}/steno-egress`))
        for (const name of ['theirs', 'theirs-labelled']) {
          assertRefused(await asWebhook('PATCH', `${here}/${name}`, repair), 'own-network-policies', 'OwnEgress')
          assertRefused(await asWebhook('DELETE', `${here}/${name}`), 'own-network-policies', 'OwnEgress')
        }
        assertRefused(await asWebhook('DELETE', `${here}/steno-allow-bare`), 'own-network-policies', 'OwnEgress')
        const unlabelled = { metadata: { labels: null } }
        assertRefused(await asWebhook('PATCH', `${here}/steno-egress`, unlabelled), 'own-network-policies', 'OwnEgress')
      } finally {
        for (const { metadata } of objects) await world().api.send({ method: 'DELETE', path: `${here}/${metadata.name}` })
      }
    })

    clusterTest('steno’s accounts create the objects that are theirs, by name and type, and no others', async () => {
      const { webhook, control, relay, admin } = world().people
      const core = (resource: string) => world().in(resource)
      const leases = `/apis/coordination.k8s.io/v1/namespaces/${world().namespace}/leases`
      const secret = (name: string, type = 'Opaque') => ({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, type })
      const configMap = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } })
      const lease = (name: string) => ({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name } })
      const token = (name: string) => ({
        ...secret(name, 'kubernetes.io/service-account-token'),
        metadata: { name, annotations: { 'kubernetes.io/service-account.name': 'default' } },
      })
      const create = (as: Caller, path: string, body: object): Promise<Answer> => send({ method: 'POST', path, as, body })
      const admitted: readonly (readonly [Caller, string, object])[] = [
        ...[webhook, control, relay].map((as) => [as, core('secrets'), secret('steno-ca')] as const),
        ...[webhook, control].map((as) => [as, core('secrets'), secret('steno-control-key')] as const),
        [webhook, core('configmaps'), configMap('steno-remembered')],
        [webhook, leases, lease('steno-webhook')],
        [control, leases, lease('steno-control')],
        [admin, core('secrets'), token('mine')],
        [admin, core('configmaps'), configMap('mine')],
      ]
      for (const [as, path, body] of admitted) assertAdmitted(await create(as, path, body))
      const refused: readonly (readonly [Caller, string, object])[] = [
        ...[webhook, control, relay].flatMap((as) =>
          [token('steno-ca'), secret('steno-ca', 'example.com/other'), secret('sh.helm.release.v1.steno.v9')].map(
            (body) => [as, core('secrets'), body] as const,
          ),
        ),
        [relay, core('secrets'), secret('steno-control-key')],
        [webhook, core('secrets'), { ...secret(''), metadata: { generateName: 'steno-ca' } }],
        [webhook, core('configmaps'), configMap('coredns')],
        [webhook, leases, lease('kube-scheduler')],
      ]
      for (const [as, path, body] of refused) assertRefused(await create(as, path, body), 'own-objects', 'OwnObjects')
    })
  })
}
