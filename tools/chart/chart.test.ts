/**
 * Goal: the chart renders with every switch, refuses wrong values in words, gives nobody more than it says, and carries no key.
 * Method: helm renders it without a cluster, and the objects are looked at; what a cluster says to them is in e2e/kubernetes/chart.test.ts.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { chartFolder, helm, oldestKubernetes, renderChart } from './helm.ts'
import { manifests } from './manifests.ts'

type Rule = { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[]; readonly resourceNames?: string[] }
type Container = {
  readonly name: string
  readonly image: string
  readonly args?: string[]
  readonly resources?: { readonly requests?: object; readonly limits?: object }
  readonly securityContext?: Readonly<Record<string, unknown>>
}
type PodSpec = {
  readonly containers: Container[]
  readonly securityContext?: Readonly<Record<string, unknown>>
  readonly volumes?: object[]
}
type PodTemplate = {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> }
  readonly spec: PodSpec & {
    readonly nodeSelector?: object
    readonly priorityClassName?: string
    readonly tolerations?: object[]
    readonly serviceAccountName?: string
    readonly terminationGracePeriodSeconds?: number
  }
}
type Closed = { readonly spec: { readonly policyTypes: string[]; readonly ingress: object[]; readonly egress: object[] } }
type Object_ = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly annotations?: Record<string, string> }
  readonly rules?: Rule[]
  readonly webhooks?: (Record<string, unknown> & { readonly matchConditions?: readonly unknown[] })[]
  readonly spec?: {
    readonly replicas?: number
    readonly strategy?: { readonly type?: string }
    readonly template?: { readonly spec: PodSpec }
    readonly images?: string[]
    readonly type?: string
    readonly groups?: { readonly rules: { readonly alert: string }[] }[]
  }
}

const s3 = 'store.type=s3,store.s3.bucket=recordings,store.s3.region=eu-west-1'
const digest = `sha256:${'ab'.repeat(32)}`
/** The same for each component that runs in pods. */
function everywhere(args: (component: string) => readonly string[]): readonly (readonly string[])[] {
  return ['webhook', 'control', 'relay'].map(args)
}

/** Each switch, alone. */
const switches: readonly (readonly string[])[] = [
  [],
  ['--set', `image.digest=${digest}`],
  ['--set', 'image.pullSecrets={registry}'],
  ['--set', 'webhook.replicas=1'],
  ['--set', 'relay.replicas=1'],
  ['--set', 'relay.replicas=5,relay.checkSourceAddress=false,relay.drainSeconds=0'],
  ...everywhere((component) => ['--set', `${component}.priorityClassName=system-cluster-critical`]),
  ...everywhere((component) => ['--set', `${component}.nodeSelector.role=infra`]),
  ...everywhere((component) => ['--set-json', `${component}.tolerations=[{"key":"a","operator":"Exists"}]`]),
  ...everywhere((component) => ['--set', `${component}.podAnnotations.a=b`]),
  ...everywhere((component) => ['--set', `${component}.logLevel=debug`]),
  ...everywhere((component) => ['--set', `${component}.resources.requests.cpu=1,${component}.resources.limits.memory=1Gi`]),
  ['--set', 'control.serviceAccountAnnotations.role=arn'],
  ['--set', 'store.create=false'],
  ['--set', 'store.volume.ephemeral=true'],
  ['--set', 'store.volume.existingClaim=mine'],
  ['--set', 'store.volume.storageClassName=fast,store.volume.keepAfterUninstall=false'],
  ['--set', `${s3},store.s3.credentialsSecret=keys,store.s3.prefix=a/b,store.s3.endpoint=https://s3.example:9000,store.s3.pathStyle=true`],
  ['--set', `${s3},store.s3.workloadIdentity=true`],
  ['--set', 'control.readableSecrets={other-keys}'],
  ['--set-json', 'auditor.subjects=[{"kind":"Group","name":"auditors"},{"kind":"ServiceAccount","name":"reader"}]'],
  ['--set', 'certificates.source=certManager,certificates.issuerRef.name=steno'],
  ['--set', 'certificates.source=secrets,certificates.webhookSecret=one,certificates.controlSecret=two,certificates.relaySecret=three'],
  ['--set', 'networkPolicy.enabled=true'],
  [
    ...['--set', 'networkPolicy.enabled=true', '--set-json', 'networkPolicy.metricsFrom=[{"namespaceSelector":{}}]'],
    ...['--set-json', 'networkPolicy.controlEgress=[{"ports":[{"port":9000}]}]'],
    ...['--set-json', 'networkPolicy.relayEgress=[{"to":[{"ipBlock":{"cidr":"10.20.0.0/16"}}],"ports":[{"port":5432}]}]'],
  ],
  ['--set', 'monitoring.serviceMonitor.enabled=true,monitoring.serviceMonitor.labels.release=prometheus'],
  ['--set', 'monitoring.podMonitor.enabled=true'],
  ['--set', 'monitoring.prometheusRule.enabled=true'],
  ['--set', 'admissionPolicies.enabled=false'],
  ['--set', 'crds.check=false'],
]

async function rendered(args: readonly string[]): Promise<Object_[]> {
  const text = await renderChart(args)
  return parseAllDocuments(text).flatMap((document) => {
    assert.deepEqual(document.errors, [])
    const object = document.toJS() as Object_ | null
    return object === null ? [] : [object]
  })
}
const named = (objects: readonly Object_[], kind: string, name: string): Object_ => {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name)
  assert.ok(found, `${kind} ${name}`)
  return found
}
const podSpecs = (objects: readonly Object_[]): PodSpec[] =>
  objects.flatMap(({ spec }) => (spec?.template === undefined ? [] : [spec.template.spec]))

for (const args of switches) {
  test(`it lints and renders with ${args.join(' ') || 'its defaults'}; nothing in it is a Secret or a key`, async () => {
    await helm(['lint', chartFolder, '--strict', ...args])
    const objects = await rendered(args)
    assert.ok(objects.length > 15)
    assert.ok(objects.every(({ kind }) => kind !== 'Secret'))
    assert.doesNotMatch(JSON.stringify(objects), /PRIVATE KEY|BEGIN CERTIFICATE/)
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.namespace ?? ''}/${metadata.name}`)
    assert.equal(new Set(names).size, names.length)
  })
}

for (const [args, message] of [
  ['webhook.replicas=0', /replicas/],
  ['webhook.replica=3', /replica/],
  ['image.digest=latest', /digest/],
  ['image.repository=', /repository/],
  ['store.type=nfs', /volume.*s3/],
  ['store.volume.size=lots', /size/],
  ['networkPolicy.enabled=perhaps', /networkPolicy.*enabled/],
  ['webhook.logLevel=loud', /logLevel/],
  ['relay.replicas=0', /relay.*replicas/],
  ['relay.checkSourceAddress=often', /checkSourceAddress/],
  ['relay.drainSeconds=1h', /drainSeconds/],
  ['networkPolicy.relayEgress=all', /relayEgress/],
  ['webhook.resources.limits.memory=much', /memory/],
  ['auditor.subjects[0].kind=Robot', /kind/],
  ['certificates.source=certManager', /issuerRef\.name must name/],
  ['store.type=s3', /store\.s3\.bucket must name the bucket/],
  ['store.type=s3,store.s3.bucket=recordings', /name the bucket's region/],
  [s3, /either store\.s3\.credentialsSecret .* or store\.s3\.workloadIdentity/],
  [`${s3},store.s3.credentialsSecret=keys,store.s3.workloadIdentity=true`, /and not both/],
] as const) {
  test(`${args} is refused, and the message says what is wrong`, async () => {
    await assert.rejects(renderChart(['--set', args]), { code: 'HELM_FAILED', message })
  })
}

test('one image is everywhere: in the pods, in what the webhook injects, and in what the policies admit', async () => {
  const objects = await rendered(['--set', `image.repository=registry.example/steno,image.digest=${digest}`])
  const image = `registry.example/steno@${digest}`
  for (const { containers } of podSpecs(objects)) for (const container of containers) assert.equal(container.image, image)
  const webhook = named(objects, 'Deployment', 'steno-webhook').spec?.template?.spec.containers[0]
  assert.ok(webhook?.args?.includes(`--sidecar-image=${image}`))
  assert.deepEqual(named(objects, 'AdmissionParameters', 'steno').spec?.images, [image])
})

test('nobody may read Secrets of the cluster, and no rule has a wildcard', async () => {
  const objects = await rendered(['--set', `${s3},store.s3.credentialsSecret=keys,control.readableSecrets={more}`])
  for (const { kind, metadata, rules = [] } of objects.filter((object) => ['Role', 'ClusterRole'].includes(object.kind))) {
    for (const rule of rules) {
      const where = `${kind} ${metadata.name}: ${JSON.stringify(rule)}`
      assert.ok(![...rule.apiGroups, ...rule.resources, ...rule.verbs].includes('*'), where)
      assert.ok(!rule.verbs.some((verb) => ['escalate', 'bind', 'impersonate'].includes(verb)), where)
      if (!rule.resources.includes('secrets')) continue
      assert.equal(kind, 'Role', where)
      // A name is not yet in the path of a request that creates.
      if (rule.resourceNames === undefined) assert.deepEqual(rule.verbs, ['create'], where)
    }
  }
  const control = named(objects, 'Role', 'steno-control').rules ?? []
  const readable = control.filter(({ resources }) => resources.includes('secrets')).flatMap(({ resourceNames = [] }) => resourceNames)
  assert.deepEqual(readable.sort(), ['keys', 'more', 'steno-ca', 'steno-control-key'])
})

test('each rule of a role stands beside its reason', () => {
  const files = readdirSync(join(chartFolder, 'templates'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'))
  let rules = 0
  for (const file of files) {
    const lines = readFileSync(join(chartFolder, 'templates', file), 'utf8').split('\n')
    for (const [index, line] of lines.entries()) {
      if (!/^ {2}- apiGroups:/.test(line)) continue
      rules++
      assert.match(lines[index - 1] ?? '', /^ {2}# /, `${file}:${index + 1}`)
    }
  }
  assert.ok(rules >= 20, `${rules}`)
})

test('every pod keeps to Pod Security `restricted`, runs as 64242 on a read-only root, and says what it needs', async () => {
  const text = await helm(['template', 'steno', chartFolder, '--kube-version', oldestKubernetes])
  const hooks = parseAllDocuments(text).map((document) => document.toJS() as Object_ & { spec?: PodSpec })
  const specs = [...podSpecs(hooks), ...hooks.flatMap(({ kind, spec }) => (kind === 'Pod' && spec !== undefined ? [spec as PodSpec] : []))]
  assert.equal(specs.length, 4)
  for (const { securityContext, containers } of specs) {
    assert.equal(securityContext?.['runAsNonRoot'], true)
    assert.equal(securityContext['runAsUser'], 64_242)
    assert.deepEqual(securityContext['seccompProfile'], { type: 'RuntimeDefault' })
    for (const container of containers) {
      const expected = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }
      assert.deepEqual(container.securityContext, expected)
      assert.deepEqual(
        [Object.keys(container.resources?.requests ?? {}), Object.keys(container.resources?.limits ?? {})],
        [['cpu', 'memory'], ['memory']],
      )
    }
  }
})

test('whatever a switch gives to one component is in its pods, and in no other', async () => {
  const args = ['webhook', 'control', 'relay'].flatMap((component) => [
    ...['--set', `${component}.nodeSelector.for=${component},${component}.podAnnotations.for=${component}`],
    ...['--set', `${component}.priorityClassName=${component},${component}.resources.limits.memory=1Gi`],
    ...['--set-json', `${component}.tolerations=[{"key":"${component}","operator":"Exists"}]`],
  ])
  const objects = await rendered(args)
  for (const component of ['webhook', 'control', 'relay']) {
    const template = named(objects, 'Deployment', `steno-${component}`).spec?.template as PodTemplate
    assert.deepEqual(
      [template.metadata.annotations['for'], template.spec.nodeSelector, template.spec.priorityClassName, template.spec.tolerations],
      [component, { for: component }, component, [{ key: component, operator: 'Exists' }]],
    )
    assert.equal(template.spec.serviceAccountName, `steno-${component}`)
    assert.deepEqual(template.spec.containers[0]?.resources?.limits, { memory: '1Gi' })
  }
})

test('the relay has two replicas of which one stays, and ends no sooner than its tunnels may go on', async () => {
  const objects = await rendered(['--set', 'relay.drainSeconds=120'])
  const { replicas, template } = named(objects, 'Deployment', 'steno-relay').spec ?? {}
  assert.equal(replicas, 2)
  assert.ok(((template as PodTemplate).spec.terminationGracePeriodSeconds ?? 0) > 120)
  named(objects, 'PodDisruptionBudget', 'steno-relay')
  const { spec } = named(objects, 'Service', 'steno-relay') as unknown as { spec: { ports: { port: number; targetPort: string }[] } }
  assert.deepEqual(
    spec.ports.map(({ port, targetPort }) => [port, targetPort]),
    [
      [8443, 'https'],
      [8080, 'metrics'],
    ],
  )
  const single = await rendered(['--set', 'relay.replicas=1'])
  assert.ok(single.every(({ kind, metadata }) => kind !== 'PodDisruptionBudget' || metadata.name !== 'steno-relay'))
})

test('closed networks: sidecars alone reach control and relay, and the relay reaches everything unless it is narrowed', async () => {
  const policyOf = async (component: string, ...args: string[]) =>
    (named(await rendered(['--set', 'networkPolicy.enabled=true', ...args]), 'NetworkPolicy', `steno-${component}`) as unknown as Closed)
      .spec
  for (const component of ['control', 'relay']) {
    const { ingress, policyTypes } = await policyOf(component)
    assert.deepEqual(policyTypes, ['Ingress', 'Egress'])
    assert.deepEqual(ingress[0], {
      ports: [{ port: 'https', protocol: 'TCP' }],
      from: [{ namespaceSelector: {}, podSelector: { matchLabels: { 'steno.dev/injected': 'true' } } }],
    })
  }
  const isOpen = ({ egress }: Closed['spec']) => egress.some((rule) => Object.keys(rule).length === 0)
  assert.deepEqual(
    [isOpen(await policyOf('relay')), isOpen(await policyOf('control')), isOpen(await policyOf('webhook'))],
    [true, false, false],
  )
  const databases = { to: [{ ipBlock: { cidr: '10.20.0.0/16' } }], ports: [{ port: 5432 }] }
  const narrowed = await policyOf('relay', '--set-json', `networkPolicy.relayEgress=${JSON.stringify([databases])}`)
  assert.equal(isOpen(narrowed), false)
  assert.deepEqual(narrowed.egress.at(-1), databases)
  assert.equal(narrowed.egress.length, 3)
})

test('control may write what a sidecar measured onto its pod, and the webhook NetworkPolicies; the relay writes neither', async () => {
  const objects = await rendered([])
  const rightsTo = (component: string, resource: string): string[] =>
    objects
      .filter(({ kind, metadata }) => ['Role', 'ClusterRole'].includes(kind) && metadata.name === `steno-${component}`)
      .flatMap(({ rules = [] }) => rules.filter(({ resources }) => resources.includes(resource)).flatMap(({ verbs }) => verbs))
  assert.deepEqual(rightsTo('control', 'pods/status'), ['patch'])
  assert.deepEqual(rightsTo('control', 'networkpolicies'), [])
  assert.ok(rightsTo('webhook', 'networkpolicies').includes('create'))
  assert.deepEqual(rightsTo('webhook', 'pods/status'), [])
  const writes = ['create', 'update', 'patch', 'delete', 'deletecollection']
  for (const resource of ['pods', 'pods/status', 'networkpolicies', 'sessionpolicies', 'clustersessionpolicies'])
    assert.ok(!rightsTo('relay', resource).some((verb) => writes.includes(verb)), resource)
})

test('the webhook fails open but for a pod that brings a sidecar, asks again after other webhooks, and carries no certificate', async () => {
  const webhooks = named(await rendered([]), 'MutatingWebhookConfiguration', 'steno').webhooks ?? []
  assert.deepEqual(
    // In this order: the first is to see the pod as its author wrote it.
    webhooks.map(({ name, failurePolicy, reinvocationPolicy, matchConditions = [] }) => [
      name,
      failurePolicy,
      reinvocationPolicy,
      matchConditions.length,
    ]),
    [
      ['brought.steno.dev', 'Fail', 'Never', 1],
      ['pods.steno.dev', 'Ignore', 'IfNeeded', 0],
    ],
  )
  for (const { sideEffects, timeoutSeconds, namespaceSelector, clientConfig } of webhooks) {
    assert.deepEqual([sideEffects, timeoutSeconds], ['None', 5])
    const notOwn = [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: ['steno-system'] }]
    assert.deepEqual(namespaceSelector, { matchLabels: { 'steno.dev/inject': 'enabled' }, matchExpressions: notOwn })
    assert.deepEqual(clientConfig, { service: { name: 'steno-webhook', namespace: 'steno-system', path: '/mutate', port: 443 } })
  }
})

test('a volume has one control that is replaced whole, and a claim that stays; a bucket has two', async () => {
  const onVolume = await rendered([])
  const one = named(onVolume, 'Deployment', 'steno-control').spec
  assert.deepEqual([one?.replicas, one?.strategy?.type], [1, 'Recreate'])
  assert.equal(named(onVolume, 'PersistentVolumeClaim', 'steno-store').metadata.annotations?.['helm.sh/resource-policy'], 'keep')
  const onBucket = await rendered(['--set', `${s3},store.s3.workloadIdentity=true`])
  assert.equal(named(onBucket, 'Deployment', 'steno-control').spec?.replicas, 2)
  named(onBucket, 'PodDisruptionBudget', 'steno-control')
  assert.ok(onBucket.every(({ kind }) => kind !== 'PersistentVolumeClaim'))
})

test('plain manifests begin with the definitions and the namespace, and have no hooks', async () => {
  const objects = parseAllDocuments(await manifests([])).map((document) => document.toJS() as Object_)
  const definitions = readdirSync(join(chartFolder, 'crds')).length
  assert.deepEqual(new Set(objects.slice(0, definitions).map(({ kind }) => kind)), new Set(['CustomResourceDefinition']))
  assert.deepEqual([objects[definitions]?.kind, objects[definitions]?.metadata.name], ['Namespace', 'steno-system'])
  assert.ok(objects.every(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === undefined))
})

test('the chart’s version of steno is that of package.json', () => {
  const { version } = JSON.parse(readFileSync(join(chartFolder, '../../package.json'), 'utf8')) as { version: string }
  const chart = parse(readFileSync(join(chartFolder, 'Chart.yaml'), 'utf8')) as { appVersion: string; version: string }
  assert.deepEqual([chart.appVersion, chart.version], [version, version])
})

test('every value has a schema, and every value that the schema knows is in values.yaml', () => {
  type Schema = { readonly properties?: Record<string, Schema>; readonly additionalProperties?: unknown }
  const schema = JSON.parse(readFileSync(join(chartFolder, 'values.schema.json'), 'utf8')) as Schema
  const values = parse(readFileSync(join(chartFolder, 'values.yaml'), 'utf8')) as object
  // For tests that run several policies side by side, and what helm adds.
  const undocumented = ['global', 'admissionPolicies.namePrefix', 'admissionPolicies.injectLabel', 'admissionPolicies.parameters']
  const known: string[] = []
  const present: string[] = []
  const walk = (part: Schema, value: unknown, path: string): void => {
    if (part.properties === undefined) return void known.push(path)
    assert.equal(part.additionalProperties, false, `${path} takes anything`)
    for (const [name, inner] of Object.entries(part.properties))
      walk(inner, (value as Record<string, unknown> | undefined)?.[name], path === '' ? name : `${path}.${name}`)
  }
  const list = (value: unknown, path: string): void => {
    if (!known.includes(path) && typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) list(inner, path === '' ? name : `${path}.${name}`)
    } else present.push(path)
  }
  walk(schema, values, '')
  list(values, '')
  const withoutResources = (paths: string[]): string[] =>
    [...new Set(paths.map((path) => path.replace(/\.resources\..*$/, '.resources')))].sort()
  assert.deepEqual(withoutResources(present), withoutResources(known.filter((path) => !undocumented.includes(path))))
})

test('the sidecars’ alerts are those of a proxy', () => {
  type Rules = { readonly alert: string }[]
  const own = parse(readFileSync(join(chartFolder, 'files/sidecar-alerts.yaml'), 'utf8')) as Rules
  const { groups } = parse(readFileSync(join(chartFolder, '../../examples/monitoring/alerts.yaml'), 'utf8')) as {
    groups: { rules: Rules }[]
  }
  const ofProxy = new Map(groups.flatMap(({ rules }) => rules).map((rule) => [rule.alert, rule]))
  assert.ok(own.length >= 6)
  for (const rule of own) assert.deepEqual(rule, ofProxy.get(rule.alert))
})
