/** Tests of ways to a pod and around it: exec, port-forward, tokens, the namespace's label, network policies. */
import assert from 'node:assert/strict'
import { before, suite } from 'node:test'
import { mergePatch, type Caller } from './policies-api.ts'
import { assertAdmitted, assertRefused, injectedPod } from './policies-pods.ts'
import type { PoliciesWorld } from './policies-world.ts'
import { clusterTest, kubectl, ran } from './support/kubectl.ts'

const isThere = process.env['KUBECONFIG'] !== undefined

export function testAccess(world: () => PoliciesWorld): void {
  suite('exec, attach and port-forward', () => {
    // Bound to no node, so that what is admitted ends at the API server.
    before(async () => {
      if (isThere) assertAdmitted(await world().create('pods', injectedPod('reached', world().namespace), undefined, { dryRun: false }))
    })

    clusterTest('exec and attach reach every container but the sidecar, by GET as by POST', async () => {
      const { admin, edit, master } = world().people
      for (const as of [admin, edit, master])
        for (const method of ['GET', 'POST'] as const)
          for (const subresource of ['exec', 'attach']) {
            const connect = (container: string) =>
              world().api.send({ method, path: `${world().in(`pods/reached/${subresource}`)}?command=env&stdout=true${container}`, as })
            assertRefused(await connect('&container=steno'), 'pod-exec', 'ExecSidecar')
            // Admitted is what gets as far as the pod, which runs nowhere.
            for (const container of ['&container=app', '']) {
              const { code, message } = await connect(container)
              assert.equal(code, 400, message)
              assert.match(message, /does not have a host assigned|Upgrade request required|container/)
            }
          }
    })

    clusterTest('ports are forwarded only for who may edit ClusterSessionPolicies', async () => {
      const { admin, edit, policyEditor, clusterPolicyEditor, master } = world().people
      const forward = (method: 'GET' | 'POST', as: Caller | undefined) =>
        world().api.send({ method, path: `${world().in('pods/reached/portforward')}?ports=8080`, as })
      for (const method of ['GET', 'POST'] as const) {
        for (const as of [admin, edit, policyEditor]) assertRefused(await forward(method, as), 'pod-port-forward', 'PortForward')
        for (const as of [clusterPolicyEditor, master]) {
          const { code, message } = await forward(method, as)
          assert.equal(code, 400, message)
          assert.doesNotMatch(message, /denied/)
        }
      }
    })

    clusterTest('kubectl shows the rule and the remedy, and reaches what is open', async () => {
      const { namespace, people } = world()
      await kubectl(['wait', '-n', namespace, 'pod/before', '--for=condition=Ready', '--timeout=180s'])
      const as = ['-n', namespace, '--as', people.admin.user, '--as-group', 'system:authenticated']
      const inSidecar = await ran('kubectl', ['exec', ...as, 'before', '-c', 'steno', '--', 'env'])
      assert.match(inSidecar.stderr, /ExecSidecar: .* kubectl logs -c steno/)
      const inApp = await ran('kubectl', ['exec', ...as, 'before', '-c', 'app', '--', '/there-is-no-such-program'])
      assert.match(inApp.stderr, /no such file or directory/) // The node's own answer: the request went all the way.
      const forwarded = await ran('kubectl', ['port-forward', ...as, 'pod/before', ':15432'])
      assert.match(forwarded.stderr, /PortForward: .* ClusterSessionPolicies/)
    })
  })

  suite('tokens, labels of the namespace, and network policies', () => {
    clusterTest('a token with the audience of sidecars is asked for by the kubelet alone', async () => {
      const { admin, edit, master } = world().people
      const ask = (as: Caller | undefined, ...audiences: string[]) =>
        world().create(
          'serviceaccounts/default/token',
          { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences } },
          as,
        )
      const lookalikes = [
        { user: 'system:node:nowhere', groups: ['system:masters'] },
        { user: `${world().prefix}-node`, groups: ['system:masters', 'system:nodes'] },
      ]
      for (const as of [admin, edit, master, ...lookalikes]) {
        assertRefused(await ask(as, 'steno-control'), 'token-request', 'TokenAudience')
        assertRefused(await ask(as, 'vault', 'steno-control'), 'token-request', 'TokenAudience')
        assertRefused(await ask(as, 'steno-relay'), 'token-request', 'TokenAudience')
        assertRefused(await ask(as, 'vault', 'steno-relay'), 'token-request', 'TokenAudience')
      }
      for (const as of [admin, edit]) for (const audiences of [['vault'], []]) assertAdmitted(await ask(as, ...audiences))
    })

    clusterTest('the label of the namespace is removed or changed only by who may edit ClusterSessionPolicies', async () => {
      const { more, clusterPolicyEditor, master } = world().people
      const patch = (as: Caller | undefined, labels: object | null, subresource = '') =>
        world().api.send({
          method: 'PATCH',
          path: `/api/v1/namespaces/${world().namespace}${subresource}?dryRun=All`,
          as,
          body: { metadata: { labels } },
          contentType: mergePatch,
        })
      const key = world().injectLabel
      for (const labels of [{ [key]: null }, { [key]: 'disabled' }, { [key]: '' }, null]) {
        assertRefused(await patch(more, labels), 'namespace-label', 'NamespaceLabel')
        for (const as of [clusterPolicyEditor, master]) assertAdmitted(await patch(as, labels))
      }
      assertRefused(await patch(more, { [key]: null }, '/status'), 'namespace-label', 'NamespaceLabel')
      assertAdmitted(await patch(more, { 'example.com/team': 'shop' }))
      assertAdmitted(await patch(more, { [key]: 'enabled' }))
    })

    clusterTest(
      'egress policies are made, changed and deleted only by who may edit SessionPolicies; ingress policies by everybody',
      async () => {
        const { admin, edit, policyEditor } = world().people
        const base = `/apis/networking.k8s.io/v1/namespaces/${world().namespace}/networkpolicies`
        const policy = (name: string, spec: object) => ({
          apiVersion: 'networking.k8s.io/v1',
          kind: 'NetworkPolicy',
          metadata: { name },
          spec: { podSelector: {}, ...spec },
        })
        const send = (method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, as: Caller, body?: unknown) =>
          world().api.send({ method, path: `${base}${path}?dryRun=All`, as, body, ...(method === 'PATCH' && { contentType: mergePatch }) })
        const open = policy('open', { policyTypes: ['Egress'], egress: [{}] })
        const implied = policy('implied', { egress: [{}] })
        const closed = policy('closed', { policyTypes: ['Egress'] })
        const ingress = policy('ingress', { policyTypes: ['Ingress'] })
        for (const as of [admin, edit]) {
          for (const body of [open, implied, closed]) assertRefused(await send('POST', '', as, body), 'network-policies', 'EgressPolicy')
          assertAdmitted(await send('POST', '', as, ingress))
        }
        for (const body of [open, implied, closed]) assertAdmitted(await send('POST', '', policyEditor, body))

        for (const body of [open, ingress]) assertAdmitted(await world().api.send({ method: 'POST', path: base, as: policyEditor, body }))
        const owner = { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'mine', uid: '0' }] }
        for (const as of [admin, edit]) {
          assertRefused(await send('PATCH', '/open', as, { spec: { policyTypes: ['Ingress'] } }), 'network-policies', 'EgressPolicy')
          assertRefused(await send('PATCH', '/open', as, { metadata: owner }), 'network-policies', 'EgressPolicy')
          assertRefused(
            await send('PATCH', '/ingress', as, { spec: { policyTypes: ['Ingress', 'Egress'] } }),
            'network-policies',
            'EgressPolicy',
          )
          assertRefused(await send('DELETE', '/open', as), 'network-policies', 'EgressPolicy')
          assertRefused(await send('DELETE', '', as), 'network-policies', 'EgressPolicy')
          assertAdmitted(await send('PATCH', '/ingress', as, { spec: { podSelector: { matchLabels: { app: 'shop' } } } }))
          assertAdmitted(await send('DELETE', '/ingress', as))
        }
        assertAdmitted(await send('PATCH', '/open', policyEditor, { spec: { podSelector: { matchLabels: { app: 'shop' } } } }))
        assertAdmitted(await send('DELETE', '/open', policyEditor))
      },
    )

    clusterTest(
      'a policy that steno made is made, changed and deleted by steno, by who may edit ClusterSessionPolicies, and by the controllers that tidy up',
      async () => {
        const { admin, edit, policyEditor, clusterPolicyEditor, webhook } = world().people
        const base = `/apis/networking.k8s.io/v1/namespaces/${world().namespace}/networkpolicies`
        const labels = { 'app.kubernetes.io/managed-by': 'steno' }
        const policy = (name: string, own: boolean, policyTypes: string[]) => ({
          apiVersion: 'networking.k8s.io/v1',
          kind: 'NetworkPolicy',
          metadata: { name, ...(own && { labels }) },
          spec: { podSelector: { matchExpressions: [{ key: 'steno.dev/enforcement', operator: 'In', values: ['Relay'] }] }, policyTypes },
        })
        const send = (method: 'POST' | 'PATCH' | 'DELETE', path: string, as: Caller, body?: unknown) =>
          world().api.send({ method, path: `${base}${path}?dryRun=All`, as, body, ...(method === 'PATCH' && { contentType: mergePatch }) })
        for (const policyTypes of [['Egress'], ['Ingress']]) {
          const own = policy('steno-allow-more', true, policyTypes)
          for (const as of [admin, edit, policyEditor]) assertRefused(await send('POST', '', as, own), 'network-policies', 'OwnPolicy')
          assertAdmitted(await send('POST', '', clusterPolicyEditor, own))
        }
        const made = [
          [webhook, policy('steno-egress', true, ['Egress'])],
          [admin, policy('theirs', false, ['Ingress'])],
        ] as const
        for (const [as, body] of made) assertAdmitted(await world().api.send({ method: 'POST', path: base, as, body }))
        const owner = { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'mine', uid: '0' }] }
        const changes = [{ spec: { egress: [{}] } }, { metadata: { labels: null } }, { metadata: owner }]
        for (const as of [admin, edit, policyEditor]) {
          for (const change of changes) assertRefused(await send('PATCH', '/steno-egress', as, change), 'network-policies', 'OwnPolicy')
          assertRefused(await send('PATCH', '/theirs', as, { metadata: { labels } }), 'network-policies', 'OwnPolicy')
          assertRefused(await send('DELETE', '/steno-egress', as), 'network-policies', 'OwnPolicy')
        }
        assertRefused(await send('DELETE', '', policyEditor), 'network-policies', 'OwnPolicy')
        for (const change of [{ spec: { egress: [{}] } }, { metadata: owner }])
          assertAdmitted(await send('PATCH', '/steno-egress', webhook, change))
        const controller = (name: string) => ({ user: `system:serviceaccount:kube-system:${name}`, groups: ['system:authenticated'] })
        for (const as of [controller('generic-garbage-collector'), controller('namespace-controller'), clusterPolicyEditor, webhook])
          assertAdmitted(await send('DELETE', '/steno-egress', as))
        for (const name of ['steno-egress', 'theirs']) await kubectl(['delete', 'networkpolicy', '-n', world().namespace, name])
      },
    )
  })
}
