/**
 * Goal: steno's own accounts may do what they must and nothing else, and its webhook stands where it says. Method: helm renders the chart
 * without a cluster, and roles, policies and webhook are looked at; what a cluster lets them do is in e2e/kubernetes/chart.test.ts.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { chartFolder } from './helm.ts'
import { s3, authority, rendered, named } from './test-chart.ts'

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

test('the webhook may change its own configuration, and that alone, only where it makes the certificates; else somebody else names the authority', async () => {
  const of = async (...args: string[]) => {
    const objects = await rendered(args)
    const given = objects.flatMap(({ kind, metadata, rules = [] }) =>
      ['Role', 'ClusterRole'].includes(kind) ? rules.map((rule) => ({ ...rule, role: metadata.name })) : [],
    )
    const configuration = named(objects, 'MutatingWebhookConfiguration', 'steno')
    const bundles = (configuration.webhooks ?? []).map(({ clientConfig }) => (clientConfig as { caBundle?: string }).caBundle)
    const writing = given.filter(
      ({ apiGroups, verbs }) =>
        apiGroups.includes('admissionregistration.k8s.io') && verbs.some((verb) => !['get', 'list', 'watch'].includes(verb)),
    )
    return { writing, bundles, injected: configuration.metadata.annotations?.['cert-manager.io/inject-ca-from'] }
  }
  const own = await of()
  assert.deepEqual(own.bundles, [undefined, undefined])
  assert.deepEqual(
    own.writing.map(({ role, resources, resourceNames, verbs }) => [role, resources, resourceNames, verbs]),
    [['steno-webhook', ['mutatingwebhookconfigurations'], ['steno'], ['patch']]],
  )
  const managed = await of('--set', 'certificates.source=certManager,certificates.issuerRef.name=steno')
  assert.deepEqual(managed, { writing: [], bundles: [undefined, undefined], injected: 'steno-system/steno-webhook' })
  const given = await of('--set', 'certificates.source=secrets', '--set-string', `certificates.caBundle=${authority}`)
  const encoded = Buffer.from(authority).toString('base64')
  assert.deepEqual(given, { writing: [], bundles: [encoded, encoded], injected: undefined })
})

test('what RBAC cannot bound of steno’s own accounts an admission policy does, for these accounts alone', async () => {
  type Policy = {
    readonly failurePolicy: string
    readonly matchConstraints: { readonly resourceRules: readonly { readonly resources: string[] }[]; readonly namespaceSelector?: object }
    readonly matchConditions: readonly { readonly expression: string }[]
  }
  const objects = await rendered([])
  const account = (component: string): string => `'system:serviceaccount:steno-system:steno-${component}'`
  for (const [policy, resources, components] of [
    ['own-pod-status', ['pods/status'], ['control']],
    ['own-network-policies', ['networkpolicies'], ['webhook']],
    ['own-objects', ['secrets', 'configmaps', 'leases'], ['webhook', 'control', 'relay']],
  ] as const) {
    const spec = named(objects, 'ValidatingAdmissionPolicy', `steno-${policy}`).spec as unknown as Policy
    assert.equal(spec.failurePolicy, 'Fail')
    assert.deepEqual(
      spec.matchConstraints.resourceRules.flatMap((rule) => rule.resources),
      resources,
    )
    assert.equal(spec.matchConstraints.namespaceSelector, undefined, 'it holds in every namespace')
    assert.deepEqual(
      spec.matchConditions.map(({ expression }) => expression),
      [`request.userInfo.username in [${components.map(account).join(', ')}]`],
    )
    named(objects, 'ValidatingAdmissionPolicyBinding', `steno-${policy}`)
  }
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
