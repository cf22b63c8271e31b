/**
 * Goal: the chart renders with every switch, refuses wrong values in words, gives nobody more than it says, and carries no key.
 * Method: helm renders it without a cluster, and the objects are looked at; what a cluster says to them is in e2e/kubernetes/chart.test.ts.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { chartFolder, helm, HelmFailed, renderChart } from './helm.ts'
import { manifests, warningOf } from './manifests.ts'
import { parse, parseAllDocuments } from 'yaml'
import { s3, digest, authority, rendered, named, type Object_ } from './test-chart.ts'

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
  ['--set-json', 'relay.affinity={"nodeAffinity":{}}'],
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
  [
    ...[
      '--set',
      'certificates.source=secrets,certificates.webhookSecret=one,certificates.controlSecret=two,certificates.relaySecret=three',
    ],
    ...['--set-string', `certificates.caBundle=${authority}`],
  ],
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
  ['certificates.source=secrets', /certificates\.caBundle must be the authority's certificate/],
  ['certificates.source=secrets,certificates.caBundle=nonsense', /certificates\.caBundle must be/],
  ['certificates.caBundle=-----BEGIN PRIVATE KEY-----', /has a private key in it/],
  ['store.type=s3', /store\.s3\.bucket must name the bucket/],
  ['store.type=s3,store.s3.bucket=recordings', /name the bucket's region/],
  [s3, /either store\.s3\.credentialsSecret .* or store\.s3\.workloadIdentity/],
  [`${s3},store.s3.credentialsSecret=keys,store.s3.workloadIdentity=true`, /and not both/],
] as const) {
  test(`${args} is refused, and the message says what is wrong`, async () => {
    await assert.rejects(renderChart(['--set', args]), { code: 'HELM_FAILED', message })
  })
}

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

test('what is rendered without a cluster names one time since which pods are sealed, when it is given one', async () => {
  const since = (objects: readonly Object_[]): unknown =>
    (named(objects, 'AdmissionParameters', 'steno').spec as Record<string, unknown> | undefined)?.['admissionsSignedSince']
  const given = '2026-03-01T12:00:00Z'
  assert.equal(since(await rendered(['--set-string', `admissionPolicies.signedSince=${given}`])), given)
  const minutesAhead = (Date.parse(String(since(await rendered([])))) - Date.now()) / 60_000
  assert.ok(minutesAhead > 3 && minutesAhead <= 5.1, `${minutesAhead}`)
  await assert.rejects(rendered(['--set-string', 'admissionPolicies.signedSince=yesterday']), HelmFailed)
})

test('manifests that take the start of sealing from a clock say so, and how to keep it', async () => {
  const warning = warningOf(await manifests([])) ?? ''
  const [, since = ''] = /admissionPolicies\.signedSince=(\S+) /.exec(warning) ?? []
  assert.match(warning, /not given/)
  assert.ok(Math.abs(Date.parse(since) - Date.now()) < 6 * 60_000, since)
  const given = await manifests(['--set-string', `admissionPolicies.signedSince=${since}`])
  assert.match(given, new RegExp(`admissionsSignedSince: "${since}"`))
  assert.equal(warningOf(given), null)
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

test('helm shows a README, whose values are values of the chart', async () => {
  const readme = await helm(['show', 'readme', chartFolder])
  const values = parse(await helm(['show', 'values', chartFolder])) as object
  const settings = [...readme.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([a-z]\w*(?:\.\w+)+)/g)].map(([, name = '']) => name),
  )
  assert.ok(settings.length >= 7, settings.join(' '))
  for (const name of settings) {
    const found = name.split('.').reduce<unknown>((at, field) => (at as Record<string, unknown> | undefined)?.[field], values)
    assert.notEqual(found, undefined, name)
  }
})
