/**
 * Tests of what an editor of the shop's namespace can do to open a way: by RBAC as the cluster's role `edit` gives it, and with what clusters
 * sometimes give besides. Each succeeds in the namespace that steno does not know.
 */
import assert from 'node:assert/strict'
import { before, suite } from 'node:test'
import { agentPod } from '../support/shop.ts'
import { apply, clusterTest, eventually, getJson, kubectl, ran } from '../support/kubectl.ts'
import { dryRun, edits, pod } from './edits.ts'
import { inPod, type World } from './world.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
export function testEditor(world: () => World): void {
  const editor = (namespace: string, args: readonly string[], input?: object) =>
    ran(
      'kubectl',
      ['-n', namespace, '--as=around-editor', '--as-group=system:authenticated', ...args],
      input === undefined ? '' : JSON.stringify(input),
    )

  suite('an editor of the namespace', () => {
    before(async () => {
      if (isThere) await makeEditor(world())
    })

    for (const { name, args, input, says, control } of edits) {
      clusterTest(`an editor of the namespace cannot ${name}`, async () => {
        const { shop, open } = world()
        const { args: openArgs, input: openInput, inShop } = control ?? { args, input }
        const where = inShop === true ? shop.namespace : open
        const admitted = await editor(where, openArgs(where), openInput)
        assert.equal(admitted.code, 0, `control: ${admitted.stderr}`)
        const { code, stderr } = await editor(shop.namespace, args(shop.namespace), input)
        assert.notEqual(code, 0)
        assert.match(stderr, says)
      })
    }

    clusterTest('an editor of the namespace cannot forward a port of the pod', async () => {
      const { shop, open } = world()
      const forward = async (namespace: string) =>
        ran('timeout', [
          '4',
          'kubectl',
          '-n',
          namespace,
          '--as=around-editor',
          '--as-group=system:authenticated',
          'port-forward',
          'pod/speaker',
          ':15090',
        ])
      assert.match((await forward(open)).stdout, /Forwarding from/)
      const { stdout, stderr } = await forward(shop.namespace)
      assert.doesNotMatch(stdout, /Handling/)
      assert.match(stderr, /PortForward/)
    })

    clusterTest('a pod that says itself that it is not closed is closed', async () => {
      const { shop, open } = world()
      const mine = pod({}, { labels: { 'steno.dev/enforcement': 'CredentialsOnly' } })
      const asked = ['create', '-f', '-', dryRun, '-o', 'jsonpath={.metadata.labels.steno\\.dev/enforcement}']
      assert.equal((await editor(open, asked, mine)).stdout, 'CredentialsOnly')
      const { code, stdout } = await editor(shop.namespace, asked, mine)
      assert.ok(code !== 0 || stdout === 'Relay', stdout)
    })

    clusterTest('what deletes steno’s NetworkPolicy all the same finds it back within two seconds', async () => {
      const { shop } = world()
      const uid = async (): Promise<string> =>
        kubectl(['-n', shop.namespace, 'get', 'networkpolicy', 'steno-egress', '-o', 'jsonpath={.metadata.uid}'])
      const first = await uid()
      await kubectl(['-n', shop.namespace, 'delete', 'networkpolicy', 'steno-egress', '--wait=false'])
      await eventually('it is back', async () => ((await uid()) === first ? null : true), { withinMilliseconds: 2_000 })
    })

    for (const kind of ['an externalName', 'an EndpointSlice'] as const) {
      clusterTest(`a Service of the editor’s with ${kind} of the database leads nowhere`, async () => {
        const { shop, open, places } = world()
        const name = kind === 'an externalName' ? 'by-name' : 'by-slice'
        for (const namespace of [open, shop.namespace]) {
          for (const object of leadingTo(name, namespace, places.database)) {
            const { code, stderr } = await editor(namespace, ['apply', '-f', '-'], object)
            assert.equal(code, 0, stderr)
          }
        }
        const target = new URL(shop.url)
        const reached = async (namespace: string): Promise<string> => {
          target.hostname = `${name}.${namespace}.svc.cluster.local`
          return inPod(namespace, 'agent', [
            'sh',
            '-c',
            `PGCONNECT_TIMEOUT=8 psql '${target.href}?sslmode=require' -Atc "select 'THROUGH'"`,
          ])
        }
        await eventually('control: it leads to the database where steno is not', async () =>
          (await reached(open)).includes('THROUGH') ? true : null,
        )
        assert.doesNotMatch(await reached(shop.namespace), /THROUGH/)
      })
    }

    clusterTest('the ConfigMap and the Secret that a sidecar is made of lead a pod nowhere else', async () => {
      const { shop, open, places } = world()
      const url = new URL(shop.url)
      url.host = `${places.stranger}:17432`
      await apply({
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'orders', namespace: shop.namespace },
        stringData: { url: url.href },
      })
      await apply({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'orders-ca', namespace: shop.namespace },
        data: { 'ca.crt': 'none' },
      })
      const redirected = { ...agentPod('redirected'), metadata: { name: 'redirected' } }
      const { code, stderr } = await editor(shop.namespace, ['create', '-f', '-'], redirected)
      assert.equal(code, 0, stderr)
      await eventually('the sidecar has looked at them', async () => {
        const log = await ran('kubectl', ['-n', shop.namespace, 'logs', 'redirected', '-c', 'steno'])
        return log.stdout.length > 100 || (await statusOf(shop.namespace)).includes('terminated') ? true : null
      })
      const query = await ran('kubectl', [
        '-n',
        shop.namespace,
        'exec',
        'redirected',
        '-c',
        'agent',
        '--',
        'sh',
        '-c',
        `psql "$DATABASE_URL" -Atc "select 'THROUGH'"`,
      ])
      assert.doesNotMatch(query.stdout, /THROUGH/)
      assert.match(await inPod(open, 'agent', ['sh', '-c', `psql '${url.href}?sslmode=require' -Atc "select 'THROUGH'"`]), /THROUGH/)
    })
  })
}

async function statusOf(namespace: string): Promise<string> {
  return JSON.stringify(await getJson(['-n', namespace, 'pod', 'redirected']))
}

function leadingTo(name: string, namespace: string, { service, ip }: World['places']['database']): object[] {
  const metadata = { name, namespace }
  if (name === 'by-name') return [{ apiVersion: 'v1', kind: 'Service', metadata, spec: { type: 'ExternalName', externalName: service } }]
  return [
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ port: 5432 }] } },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ port: 5432, name: '' }],
      endpoints: [{ addresses: [ip] }],
    },
  ]
}

async function makeEditor({ shop, open }: World): Promise<void> {
  const rbac = 'rbac.authorization.k8s.io'
  const more = { name: `around-${open}`, labels: { test: 'around' } }
  const subjects = [{ apiGroup: rbac, kind: 'User', name: 'around-editor' }]
  const bind = (namespace: string, name: string, role: object) => ({
    ...{ apiVersion: `${rbac}/v1`, kind: 'RoleBinding', metadata: { name, namespace }, roleRef: { apiGroup: rbac, ...role }, subjects },
  })
  await apply(
    [shop.namespace, open].flatMap((namespace) => [
      {
        apiVersion: `${rbac}/v1`,
        kind: 'Role',
        metadata: { ...more, namespace },
        rules: [
          { apiGroups: [''], resources: ['pods/ephemeralcontainers'], verbs: ['get', 'update', 'patch'] },
          { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['*'] },
          { apiGroups: [''], resources: ['namespaces'], resourceNames: [namespace], verbs: ['get', 'update', 'patch'] },
          { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] },
        ],
      },
      bind(namespace, 'editor', { kind: 'ClusterRole', name: 'edit' }),
      bind(namespace, 'more', { kind: 'Role', name: more.name }),
    ]),
  )
}
