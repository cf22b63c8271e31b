/**
 * Goal: what the chart renders is what a cluster takes, gives nobody more than it says, survives upgrades, and leaves nothing that blocks.
 * Method: the release that is installed, the API server's own judgement (strict validation, access reviews), upgrades tried for real.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after } from 'node:test'
import { chartFolder, helm, renderChart } from '../../tools/chart/helm.ts'
import { apply, clusterTest, createNamespace, eventually, getJson, kubectl, ran } from './support/kubectl.ts'

const namespace = 'steno-system'
const inNamespace = ['--namespace', namespace]
const s3 = 'store.type=s3,store.s3.bucket=recordings,store.s3.region=eu-west-1'
const scratch = mkdtempSync(path.join(tmpdir(), 'steno-chart-'))
after(() => rmSync(scratch, { recursive: true, force: true }))
const busybox = 'localhost/steno/busybox:1'

/** What the release was installed with, as a file for helm; `change` is set on top. */
async function upgrade(change: readonly string[], { chart = chartFolder }: { readonly chart?: string } = {}): Promise<string> {
  return helm(['upgrade', 'steno', chart, ...inNamespace, '--reuse-values', ...change])
}

/** Helm's own `--wait` counts a replica of before as ready; `rollout status` asks for those of now. */
async function untilRolledOut(): Promise<void> {
  for (const name of ['steno-webhook', 'steno-control', 'steno-relay'])
    await kubectl(['rollout', 'status', `deployment/${name}`, ...inNamespace, '--timeout=180s'])
}

type WebhookConfiguration = {
  readonly webhooks: readonly { readonly timeoutSeconds: number; readonly clientConfig: { readonly caBundle?: string } }[]
}
const webhookConfiguration = async (): Promise<WebhookConfiguration['webhooks'][0]> => {
  const { webhooks } = await getJson<WebhookConfiguration>(['mutatingwebhookconfiguration', 'steno'])
  assert.ok(webhooks[0])
  return webhooks[0]
}

clusterTest('a strict API server takes what is rendered, with each switch', async () => {
  // Beside the release: applied over objects of helm's, fields of both would mix.
  await using elsewhere = await createNamespace('chart-render')
  for (const values of [
    '',
    'store.volume.existingClaim=mine,webhook.replicas=1',
    `${s3},store.s3.credentialsSecret=keys,store.s3.endpoint=https://s3.example:9000,store.s3.pathStyle=true`,
    `${s3},store.s3.workloadIdentity=true,control.readableSecrets={more}`,
    'networkPolicy.enabled=true,certificates.source=secrets,certificates.caBundle=-----BEGIN CERTIFICATE-----',
    'relay.replicas=3,relay.checkSourceAddress=false,relay.drainSeconds=0,networkPolicy.enabled=true',
    'image.pullSecrets={registry},webhook.priorityClassName=system-cluster-critical,webhook.nodeSelector.a=b',
    'auditor.subjects[0].kind=Group,auditor.subjects[0].name=auditors',
  ]) {
    const rendered = await renderChart(values === '' ? [] : ['--set', values], { namespace: elsewhere.name })
    const besideTheRelease = rendered.replace(
      'kind: RecordingStore\nmetadata:\n  name: default',
      'kind: RecordingStore\nmetadata:\n  name: chart-render',
    )
    await kubectl(['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'], besideTheRelease)
  }
})

clusterTest('webhook, control and relay are ready, in a namespace that admits restricted pods only', async () => {
  await kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted', '--overwrite'])
  await kubectl(['rollout', 'restart', 'deployment/steno-webhook', ...inNamespace])
  await untilRolledOut()
  await helm(['test', 'steno', ...inNamespace, '--timeout', '60s'])
})

clusterTest('the API server gives webhook, control, relay and auditors what they need, and no more', async () => {
  const may = async (who: readonly string[], verb: string, what: string, where: readonly string[]): Promise<boolean> => {
    const [resource = '', subresource] = what.split(':')
    const below = subresource === undefined ? [] : ['--subresource', subresource]
    const { stdout } = await ran('kubectl', ['auth', 'can-i', verb, resource, ...below, ...where, ...who])
    return stdout.trim() === 'yes'
  }
  const account = (name: string): string[] => ['--as', `system:serviceaccount:${namespace}:${name}`]
  const everywhere = ['--all-namespaces']
  const webhook = account('steno-webhook')
  const control = account('steno-control')
  const relay = account('steno-relay')
  const rows: [readonly string[], string, string, readonly string[], boolean][] = [
    [webhook, 'list', 'pods', everywhere, true],
    [webhook, 'patch', 'mutatingwebhookconfigurations/steno', [], true],
    [webhook, 'patch', 'mutatingwebhookconfigurations/other', [], false],
    [webhook, 'update', 'mutatingwebhookconfigurations/steno', [], false],
    [webhook, 'update', 'networkpolicies', everywhere, false],
    [webhook, 'update', 'sessionpolicies:status', everywhere, false],
    [webhook, 'get', 'secrets/steno-ca', inNamespace, true],
    [control, 'create', 'tokenreviews', [], true],
    [control, 'get', 'secrets/steno-control-key', inNamespace, true],
    [control, 'update', 'secrets/steno-control-key', inNamespace, false],
    [control, 'patch', 'pods:status', everywhere, true],
    [control, 'list', 'sessionpolicies', everywhere, true],
    [control, 'create', 'networkpolicies', everywhere, false],
    [webhook, 'create', 'networkpolicies', everywhere, true],
    [webhook, 'patch', 'pods:status', everywhere, false],
    [relay, 'create', 'tokenreviews', [], true],
    [relay, 'watch', 'pods', everywhere, true],
    [relay, 'patch', 'pods:status', everywhere, false],
    [relay, 'create', 'networkpolicies', everywhere, false],
    [relay, 'get', 'secrets/steno-control-key', inNamespace, false],
  ]
  for (const who of [webhook, control, relay]) {
    for (const verb of ['get', 'list', 'watch'])
      rows.push([who, verb, 'secrets', everywhere, false], [who, verb, 'secrets', inNamespace, false])
    for (const verb of ['create', 'update', 'patch', 'delete']) rows.push([who, verb, 'pods', everywhere, false])
    rows.push([who, 'create', 'serviceaccounts:token', everywhere, false], [who, 'create', 'pods:exec', inNamespace, false])
    rows.push([who, 'patch', 'validatingadmissionpolicies', [], false], [who, 'update', 'sessionpolicies', everywhere, false])
  }
  const auditor = ['--as', 'nina', '--as-group', 'chart-auditors']
  await apply({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'chart-auditors', namespace },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'steno-auditor' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: 'chart-auditors' }],
  })
  rows.push([auditor, 'list', 'pods', inNamespace, true], [auditor, 'create', 'pods:portforward', inNamespace, true])
  for (const what of ['pods:exec', 'pods:attach', 'secrets', 'pods']) rows.push([auditor, 'create', what, inNamespace, false])
  rows.push([auditor, 'get', 'secrets', inNamespace, false], [auditor, 'create', 'pods:portforward', ['--namespace', 'default'], false])
  try {
    for (const [who, verb, what, where, expected] of rows) {
      assert.equal(await may(who, verb, what, where), expected, [...who, verb, what, ...where].join(' '))
    }
  } finally {
    await kubectl(['delete', 'rolebinding', 'chart-auditors', ...inNamespace])
  }
})

clusterTest('an upgrade leaves the certificates’ bundle in place, and what reconcile wrote for the policies', async () => {
  const { caBundle } = await eventually('a bundle', async () => {
    const found = await webhookConfiguration()
    return (found.clientConfig.caBundle ?? '') === '' ? null : found.clientConfig
  })
  await apply({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'ClusterSessionPolicy',
    metadata: { name: 'chart-test' },
    spec: { exemptPods: [{ namespaces: ['default'], matchLabels: { 'chart-test': 'exempt' }, reason: 'a test of the chart' }] },
  })
  const parameters = (): Promise<{ spec: { images: string[]; exemptPods?: unknown[] } }> =>
    getJson(['admissionparameters.v1alpha1.steno.dev', 'steno'])
  try {
    await eventually('the exemption among the parameters', async () => ((await parameters()).spec.exemptPods ?? []).length > 0 || null)
    await upgrade(['--set', 'webhook.timeoutSeconds=7'])
    const upgraded = await webhookConfiguration()
    assert.deepEqual([upgraded.timeoutSeconds, upgraded.clientConfig.caBundle], [7, caBundle])
    assert.equal((await parameters()).spec.exemptPods?.length, 1)
  } finally {
    await upgrade(['--set', 'webhook.timeoutSeconds=5'])
    await kubectl(['delete', 'clustersessionpolicy', 'chart-test'])
  }
})

clusterTest('while replicas are replaced, the image of before stays admitted, and those of the two releases before that', async () => {
  const imagesAfter = async (digest: string): Promise<string[]> => {
    const rendered = await upgrade(['--dry-run=server', '--set', `image.repository=registry.example/steno,image.digest=sha256:${digest}`])
    const [, list = ''] = /kind: AdmissionParameters[\s\S]*?images:\n((?: +- .*\n)+)/.exec(rendered) ?? []
    return list
      .trim()
      .split(/\s*- /)
      .filter((line) => line !== '')
      .map((line) => line.trim())
  }
  const { spec } = await getJson<{ spec: { images: string[] } }>(['admissionparameters.v1alpha1.steno.dev', 'steno'])
  const next = 'cd'.repeat(32)
  assert.deepEqual(await imagesAfter(next), [`registry.example/steno@sha256:${next}`, ...spec.images.slice(0, 3)])
})

clusterTest('an upgrade over other CustomResourceDefinitions stops before it changes anything, and says what to run', async () => {
  const copy = path.join(scratch, 'chart')
  cpSync(chartFolder, copy, { recursive: true })
  const file = path.join(copy, 'crds', readdirSync(path.join(copy, 'crds'))[0] ?? '')
  writeFileSync(file, readFileSync(file, 'utf8').replace(/maxLength: \d+/, 'maxLength: 7'))
  await assert.rejects(upgrade(['--dry-run=server'], { chart: copy }), {
    code: 'HELM_FAILED',
    message: /helm show crds CHART \| kubectl apply --server-side/,
  })
  await upgrade(['--dry-run=server', '--set', 'crds.check=false'], { chart: copy })
})

clusterTest('a second release says whose steno is there, why a cluster has one, and what to do', async () => {
  for (const [name, where] of [
    ['other', 'steno-system'],
    ['steno', 'steno-elsewhere'],
  ] as const)
    await assert.rejects(helm(['install', name, chartFolder, '--namespace', where, '--dry-run=server']), {
      code: 'HELM_FAILED',
      message:
        /in this cluster already: release steno in namespace steno-system\. A cluster has one[\s\S]*helm upgrade steno CHART --namespace steno-system/,
    })
})

clusterTest(
  'control proves its store on a PersistentVolumeClaim, again after its pod was replaced',
  async () => {
    await using elsewhere = await createNamespace('chart-volume')
    await apply(volumeObjects(elsewhere.name))
    const before = await helm(['get', 'values', 'steno', ...inNamespace, '--output', 'json'])
    try {
      await kubectl(['wait', 'pod/prepare', '--namespace', elsewhere.name, '--for=jsonpath={.status.phase}=Succeeded', '--timeout=180s'])
      await upgrade(['--set', 'store.volume.ephemeral=false,store.volume.existingClaim=chart-test'])
      await untilRolledOut()
      await untilStoreIsProven()
      await kubectl(['delete', 'pod', ...inNamespace, '-l', 'app.kubernetes.io/component=control'])
      await untilRolledOut()
      await untilStoreIsProven()
    } finally {
      await helm(['upgrade', 'steno', chartFolder, ...inNamespace, '--reset-values', '--values', valuesFile(before)])
      await untilRolledOut()
      await kubectl(['delete', 'persistentvolumeclaim', 'chart-test', ...inNamespace])
      await kubectl(['delete', 'persistentvolume', 'chart-test'])
    }
  },
  { timeoutMilliseconds: 480_000 },
)

clusterTest(
  'uninstalled, it leaves keys and recordings and nothing that blocks, and the next installation goes on with the same keys',
  async () => {
    const values = valuesFile(await helm(['get', 'values', 'steno', ...inNamespace, '--output', 'json']))
    const authority = async (): Promise<string> => kubectl(['get', 'secret', 'steno-control-key', ...inNamespace, '-o', 'jsonpath={.data}'])
    const key = await authority()
    await using shop = await createNamespace('chart-uninstall', { 'steno.dev/inject': 'enabled' })
    try {
      await helm(['uninstall', 'steno', ...inNamespace, '--wait'])
      const kinds =
        'clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings'
      type Listed = { items: { kind: string; metadata: { name: string; annotations?: Record<string, string> } }[] }
      const { items } = await getJson<Listed>([kinds])
      const ofRelease = items.filter(({ metadata }) => metadata.annotations?.['meta.helm.sh/release-name'] === 'steno')
      assert.deepEqual(
        ofRelease.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
        [],
      )
      const own = await kubectl([
        'get',
        'deployments,services,roles,rolebindings,serviceaccounts,poddisruptionbudgets',
        ...inNamespace,
        '-o',
        'name',
      ])
      assert.doesNotMatch(own, /steno/)
      // The API server hears of its own policies' end a moment later than of their parameters', and refuses until then.
      await eventually('a pod without steno', async () => apply(plainPod(shop.name)).then(() => true))
      assert.equal(await kubectl(['get', 'pod', 'plain', '--namespace', shop.name, '-o', 'jsonpath={.spec.initContainers}']), '')
    } finally {
      await helm(['upgrade', '--install', 'steno', chartFolder, ...inNamespace, '--values', values, '--wait', '--timeout', '120s'])
    }
    // The Lease of the leader before is still held: nobody leads yet.
    const first = { ...plainPod(shop.name), metadata: { name: 'first', namespace: shop.name } }
    await apply(first)
    assert.match(
      await kubectl(['get', 'pod', 'first', '--namespace', shop.name, '-o', 'jsonpath={.spec.initContainers[*].name}']),
      /^steno$/,
    )
    assert.equal(await authority(), key)
    await untilStoreIsProven()
  },
  { timeoutMilliseconds: 480_000 },
)

/** Says the pod that runs now; the status of the RecordingStore may still be of the one before. */
async function untilStoreIsProven(): Promise<void> {
  await eventually('a proven store', async () => {
    const log = await kubectl(['logs', 'deployment/steno-control', ...inNamespace])
    return log.includes('"store":"default","reason":"Proven"') || null
  })
  await kubectl(['wait', 'recordingstore/default', '--for=condition=StoreReachable', '--timeout=180s'])
}

function valuesFile(json: string): string {
  const file = path.join(scratch, 'values.json')
  writeFileSync(file, json.trim() === 'null' ? '{}' : json)
  return file
}

function plainPod(inNamespaceOf: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'plain', namespace: inNamespaceOf },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'plain', image: busybox, imagePullPolicy: 'IfNotPresent', command: ['sleep', '60'] }],
    },
  }
}

/** A folder of the node as a volume: there may be no provisioner. The kubelet gives such folders to nobody, so a pod of root's does. */
function volumeObjects(prepareNamespace: string): object[] {
  const folder = `/tmp/steno-chart-${prepareNamespace}`
  return [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'prepare', namespace: prepareNamespace },
      spec: {
        restartPolicy: 'Never',
        containers: [
          {
            name: 'prepare',
            image: busybox,
            imagePullPolicy: 'IfNotPresent',
            command: ['chown', '64242:64242', '/store'],
            securityContext: { runAsUser: 0 },
            volumeMounts: [{ name: 'store', mountPath: '/store' }],
          },
        ],
        volumes: [{ name: 'store', hostPath: { path: folder, type: 'DirectoryOrCreate' } }],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'chart-test' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        storageClassName: 'chart-test',
        persistentVolumeReclaimPolicy: 'Retain',
        hostPath: { path: folder, type: 'Directory' },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'chart-test', namespace },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'chart-test', resources: { requests: { storage: '1Gi' } } },
    },
  ]
}
