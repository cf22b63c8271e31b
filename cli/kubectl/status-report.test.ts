// Goal: at three in the morning the first lines say what is wrong and what to do. Method: a cluster that is well, one thing wrong at a time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { palette } from '../colour.ts'
import { concernsOf, type Condition, type Reported, type ReportedPolicy, type StatusFacts } from './status-report.ts'
import { statusLines } from './status.ts'
import { createTestKubectl, type KubectlAnswers, type Ran } from './test-kubectl.ts'

const yes = (type: string): object => ({ type, status: 'True', reason: 'Fine', message: 'It is.' })
const no = (type: string, reason: string): object => ({ type, status: 'False', reason, message: `Because of ${reason}. Do this.` })
const object = (name: string, conditions: readonly object[], more: object = {}): Reported =>
  ({ metadata: { name, generation: 2, ...more }, status: { observedGeneration: 2, conditions } }) as Reported
const policyOf = (conditions: readonly object[], pods: object = {}): Reported => {
  const made = object('orders', conditions, { namespace: 'shop' })
  return { ...made, status: { ...made.status, pods: { matched: 9, injected: 9, stale: 0, bare: 0, ...pods } } }
}
const wellConditions = [yes('Ready'), yes('StoreReachable'), yes('RecordingStored'), yes('CredentialsIsolated'), yes('EgressEnforced')]
const deployment = (name: string, readyReplicas: number, replicas = 1): StatusFacts['deployments'] => [
  { metadata: { name }, spec: { replicas, template: { spec: { containers: [{ image: 'steno:1' }] } } }, status: { readyReplicas } },
]
function podOf(
  name: string,
  { policy = 'shop/orders', waiting = '', image = 'steno:2', conditions = [] as object[] } = {},
): NonNullable<StatusFacts['injectedPods']>[number] {
  const state = waiting === '' ? {} : { waiting: { reason: waiting } }
  return {
    metadata: { name, namespace: 'shop', annotations: { 'steno.dev/policy': policy } },
    spec: { initContainers: [{ name: 'steno', image }] },
    status: {
      phase: 'Running',
      conditions: conditions as Condition[],
      initContainerStatuses: [{ name: 'steno', ready: waiting === '', restartCount: 0, state }],
    },
  }
}
const refusedReplicas = {
  metadata: { name: 'agent-7d4', namespace: 'shop' },
  status: {
    conditions: [
      {
        ...{ type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate' },
        message: 'admission webhook "pods.steno.dev" denied the request: steno cannot take this pod: HostNetwork',
      },
    ],
  },
}
const well: StatusFacts = {
  ...{ stenoNamespace: 'steno-system', namespace: null },
  deployments: [...deployment('steno-control', 1)!, ...deployment('steno-webhook', 2, 2)!],
  pods: [],
  isWebhookRegistered: true,
  isGuarded: true,
  policies: [policyOf(wellConditions)],
  clusterPolicies: [object('floor', [yes('Ready')])],
  stores: [object('default', [yes('Ready'), yes('StoreReachable')])],
  optedIn: ['shop'],
  mislabelled: {},
  missingNamespace: null,
  injectedPods: [podOf('fine')],
  replicaSets: [],
  refusedWorkloads: [],
  images: { current: ['steno:2'], known: ['steno:2', 'steno:1'] },
  unread: [],
}

test('a cluster that is well says so, and nothing else', () => {
  assert.deepEqual(concernsOf(well), [])
  const [first] = statusLines(well, concernsOf(well), palette(false))
  assert.equal(first, 'Everything that was looked at is as it should be.')
})

const trouble = {
  metadata: { name: 'steno-control-7d4' },
  status: {
    containerStatuses: [
      {
        ready: false,
        restartCount: 4,
        state: { waiting: { reason: 'CrashLoopBackOff' } },
        lastState: { terminated: { exitCode: 1, reason: 'OOMKilled' } },
      },
    ],
  },
}
for (const [what, facts, severity, message, remedy] of [
  ['nothing is installed', { deployments: [] }, 'error', /nothing of steno runs/, /--steno-namespace/],
  [
    'control is down',
    { deployments: deployment('steno-control', 0), pods: [trouble] },
    'error',
    /0 of 1 ready: recordings wait in the spools.*restarted 4 times.*CrashLoopBackOff.*OOMKilled/,
    /describe pods -l app\.kubernetes\.io\/component=control/,
  ],
  [
    'control is scaled to nothing',
    { deployments: deployment('steno-control', 0, 0) },
    'error',
    /0 of 0 ready/,
    /scale deployment steno-control/,
  ],
  ['one webhook of two is missing', { deployments: deployment('steno-webhook', 1, 2) }, 'warning', /1 of 2 ready/, /component=webhook/],
  ['the webhook is not registered', { isWebhookRegistered: false }, 'error', /no pod is given a sidecar/, /helm upgrade/],
  ['nothing guards the pods', { isGuarded: false }, 'warning', /nothing stops a pod/, /admissionPolicies\.enabled/],
  ['there is no store', { stores: [] }, 'error', /nothing can be stored/, /recording-store\.md/],
  [
    'a store is not reached',
    { stores: [object('default', [no('Ready', 'Full'), no('StoreReachable', 'Full')])] },
    'error',
    /^StoreReachable: Full: Because of Full/,
    null,
  ],
  [
    'a policy is not in force',
    { policies: [policyOf([no('Ready', 'NamespaceNotOptedIn')])] },
    'error',
    /^Ready: NamespaceNotOptedIn: .*Do this/,
    null,
  ],
  [
    'a policy was changed and not judged since',
    { policies: [{ ...policyOf(wellConditions), metadata: { name: 'orders', namespace: 'shop', generation: 3 } }] },
    'error',
    /nobody has judged it/,
    /steno-webhook/,
  ],
  ['a policy of the cluster cannot be read', { clusterPolicies: [object('floor', [no('Ready', 'Invalid')])] }, 'error', /Invalid/, null],
  [
    'pods are bare',
    { policies: [policyOf(wellConditions, { bare: 2 })] },
    'error',
    /2 of 9 pods have no sidecar/,
    /kubectl get pods -n shop -l '!steno\.dev\/injected'/,
  ],
  ['pods are stale', { policies: [policyOf(wellConditions, { stale: 3 })] }, 'warning', /3 of 9 pods/, /kubectl steno explain POD -n shop/],
  [
    'agents could read Secrets',
    { policies: [policyOf([yes('Ready'), no('CredentialsIsolated', 'ServiceAccountReadsSecrets')])] },
    'warning',
    /ServiceAccountReadsSecrets/,
    null,
  ],
  [
    'pods reach a database past their sidecar',
    { policies: [policyOf([yes('Ready'), no('EgressEnforced', 'OpenPath')])] },
    'error',
    /OpenPath/,
    null,
  ],
  [
    'pods do not say what they measured',
    { policies: [policyOf([yes('Ready'), { ...no('EgressEnforced', 'NotReported'), status: 'Unknown' }])] },
    'warning',
    /NotReported/,
    null,
  ],
  [
    'a policy leaves the network alone',
    { policies: [policyOf([yes('Ready'), no('EgressEnforced', 'CredentialsOnly')])] },
    'note',
    /CredentialsOnly/,
    null,
  ],
  [
    'a sidecar crashes',
    { injectedPods: [podOf('one', { waiting: 'CrashLoopBackOff' })] },
    'error',
    /^1 pod has.*CrashLoopBackOff/,
    /explain/,
  ],
  [
    'a Secret is missing',
    { injectedPods: [podOf('one', { waiting: 'CreateContainerConfigError' })] },
    'error',
    /does not run \(CreateContainerConfigError\)/,
    /Secret that is missing/,
  ],
  [
    'a store does not take what pods record',
    { injectedPods: [podOf('one', { conditions: [no('steno.dev/RecordingStored', 'StoreRefuses')] }), podOf('two')] },
    'error',
    /^1 pod has recordings that are not stored: StoreRefuses: Because of StoreRefuses/,
    /explain POD/,
  ],
  [
    'a spool is full, which is graver',
    {
      injectedPods: [
        podOf('one', { conditions: [no('steno.dev/RecordingStored', 'StoreRefuses')] }),
        podOf('two', { conditions: [no('steno.dev/RecordingStored', 'SpoolFull')] }),
      ],
    },
    'error',
    /^1 pod has .*SpoolFull/,
    /explain POD/,
  ],
  [
    'pods that may not be read do not store',
    { injectedPods: null, policies: [policyOf([yes('Ready'), no('RecordingStored', 'NotStored')])] },
    'error',
    /^RecordingStored: NotStored/,
    null,
  ],
  [
    'nobody knows whether it is stored',
    { policies: [policyOf([yes('Ready'), { ...no('RecordingStored', 'NotReported'), status: 'Unknown' }])] },
    'warning',
    /^RecordingStored: NotReported/,
    null,
  ],
  [
    'pods of a CronJob are refused',
    {
      refusedWorkloads: [
        { kind: 'Job', metadata: { name: 'nightly-1', namespace: 'shop' }, madeBy: 'CronJob nightly', refusal: 'steno: HostNetwork' },
      ],
    },
    'error',
    /its pods are refused: steno: HostNetwork/,
    null,
  ],
  [
    'a sidecar is of a release before',
    { injectedPods: [podOf('one', { image: 'steno:1' })] },
    'note',
    /another release/,
    /rollout restart/,
  ],
  [
    'a sidecar is of no release that is known',
    { injectedPods: [podOf('one', { image: 'x:1' })] },
    'error',
    /does not know/,
    /Make them again/,
  ],
  ['pods of a Deployment are refused', { replicaSets: [refusedReplicas] }, 'error', /its pods are refused: .*HostNetwork/, null],
  [
    'pods have no policy',
    { injectedPods: [podOf('one', { policy: '' }), podOf('two', { policy: 'ClusterSessionPolicy/floor' })] },
    'warning',
    /^2 pods have the sidecar and no database.*credentials.*not recorded/,
    /SessionPolicy and its selector/,
  ],
  [
    'a selector matches no pod',
    { policies: [policyOf(wellConditions, { matched: 0, injected: 0 })], injectedPods: [podOf('one', { policy: '' })] },
    'warning',
    /its selector matches no pod/,
    /--show-labels/,
  ],
  ['a label has a typo', { mislabelled: { shop: 'true' } }, 'warning', /"true", which does not opt it in/, /inject=enabled/],
  ['the namespace is not there', { missingNamespace: 'shopp' }, 'error', /no such namespace/, /get namespaces/],
  ['a namespace has no policy', { optedIn: ['shop', 'lonely'] }, 'note', /no SessionPolicy/, /examples\/kubernetes/],
  ['something may not be read', { unread: ['stores are forbidden'] }, 'warning', /stores are forbidden/, null],
] as const) {
  test(`it is said, gravest first, when ${what}`, () => {
    const concerns = concernsOf({ ...well, ...(facts as Partial<StatusFacts>) })
    const [first] = concerns
    assert.equal(first?.severity, severity)
    assert.match(first.message, message)
    if (remedy === null) assert.equal(first.remedy, null)
    else assert.match(first.remedy ?? '', remedy)
    const order = concerns.map((concern) => ['error', 'warning', 'note'].indexOf(concern.severity))
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    )
  })
}

test('of many pods five are named, and a warning is not called well', () => {
  const facts = { ...well, injectedPods: Array.from({ length: 7 }, (_, index) => podOf(`agent-${index}`, { policy: '' })) }
  const concerns = concernsOf(facts)
  assert.equal(concerns[0]?.what, 'Pods shop/agent-0, shop/agent-1, shop/agent-2, shop/agent-3, shop/agent-4 and 2 more')
  assert.equal(statusLines(facts, concerns, palette(false))[0], 'No errors; 1 warning.')
})

test('a pod that starts, ends or has ended is no concern', () => {
  const ended = podOf('ended', { waiting: 'CrashLoopBackOff', policy: '' })
  const injectedPods = [
    podOf('starts', { waiting: 'PodInitializing' }),
    { ...ended, status: { ...ended.status, phase: 'Failed' } },
    { ...ended, metadata: { ...ended.metadata, deletionTimestamp: '2026-11-21T21:00:00Z' } },
  ]
  assert.deepEqual(concernsOf({ ...well, injectedPods }), concernsOf(well))
})

test('one thing that is wrong is not said at every policy', () => {
  const stores = [object('default', [no('Ready', 'Full'), no('StoreReachable', 'Full')])]
  const policies = [policyOf([yes('Ready'), no('StoreReachable', 'Full')]), policyOf([yes('Ready'), no('StoreReachable', 'Full')])]
  assert.equal(concernsOf({ ...well, stores, policies }).length, 1)
  assert.equal(concernsOf({ ...well, stores: null, policies }).length, 2, 'who may not read stores is told by the policies')
})

test('who asks for one namespace is told of the stores that its policies record to, and who asks for all of others in one line', () => {
  const failing = (name: string): Reported => object(name, [no('Ready', 'Full'), no('StoreReachable', 'Full')])
  const stores = [...well.stores!, ...['archive', ...Array.from({ length: 6 }, (_, at) => `drill-${at}`)].map(failing)]
  const ofArchive: ReportedPolicy = { ...policyOf(wellConditions), spec: { recording: { store: 'archive' } } }
  const told = (facts: Partial<StatusFacts>): string[] =>
    concernsOf({ ...well, stores, ...facts }).map(({ severity, what }) => `${severity} ${what}`)
  assert.deepEqual(told({ namespace: 'shop' }), [])
  assert.deepEqual(told({ namespace: 'shop', policies: [ofArchive] }), ['error RecordingStore archive'])
  assert.deepEqual(told({ namespace: 'empty', policies: [], optedIn: [], stores: [failing('default'), failing('archive')] }), [
    'error RecordingStore default',
  ])
  assert.deepEqual(told({}), ['warning RecordingStores archive, drill-0, drill-1, drill-2, drill-3 and 2 more'])
  assert.equal(told({ policies: null }).length, 7, 'who may not read policies is told of all')
  const facts = { ...well, stores, namespace: 'shop' }
  assert.doesNotMatch(statusLines(facts, concernsOf(facts), palette(false)).join('\n'), /archive|drill/)
})

test('what objects say cannot act on a terminal, and colours only repeat the text', () => {
  const policies = [policyOf([{ type: 'Ready', status: 'False', reason: 'X', message: 'a\u001b[2J\nb' }])]
  const facts = { ...well, policies }
  const plain = statusLines(facts, concernsOf(facts), palette(false)).join('\n')
  assert.match(plain, /a\\x1B\[2J\\nb/)
  assert.ok(!plain.includes('\u001b'))
  // eslint-disable-next-line no-control-regex
  assert.equal(
    statusLines(facts, concernsOf(facts), palette(true))
      .join('\n')
      .replace(/\u001b\[\d+m/g, ''),
    plain,
  )
})

test('tables are as wide as their longest cell, and unknown counts are no zeros', () => {
  const facts = { ...well, policies: [object('orders', wellConditions, { namespace: 'shop' })] }
  const lines = statusLines(facts, [], palette(false))
  assert.ok(
    lines.includes('POLICY            READY   PODS   INJECTED   STALE   BARE   STORE   RECORDED   CREDENTIALS   EGRESS'),
    lines.join('\n'),
  )
  assert.ok(
    lines.includes('shop/orders       True    -      -          -       -      True    True       True          True'),
    lines.join('\n'),
  )
  assert.ok(
    lines.includes('floor (cluster)   True    -      -          -       -      -       -          -             -'),
    lines.join('\n'),
  )
})

const selector = '-l app.kubernetes.io/name=steno'
function makersOf(namespace: string): KubectlAnswers {
  const asked = ['jobs.batch', 'statefulsets.apps', 'daemonsets.apps', 'events --field-selector reason=FailedCreate']
  return Object.fromEntries(asked.map((what) => [`get -n ${namespace} ${what}`, { items: [] }]))
}
const answers: KubectlAnswers = {
  [`get -n steno-system deployments ${selector}`]: { items: well.deployments },
  [`get -n steno-system pods ${selector}`]: { items: [] },
  [`get mutatingwebhookconfigurations ${selector}`]: { items: [{}] },
  [`get validatingadmissionpolicybindings ${selector}`]: { items: [{}] },
  'get -n shop sessionpolicies.steno.dev': { items: well.policies },
  'get clustersessionpolicies.steno.dev': { items: well.clusterPolicies },
  'get recordingstores.steno.dev': { items: well.stores },
  'get namespaces -l steno.dev/inject': 'shop\tenabled\nother\ttrue\n',
  'get -n shop pods -l steno.dev/injected=true': { items: well.injectedPods },
  'get admissionparameters.steno.dev': { items: [] },
  'get -n shop replicasets.apps': { items: [] },
  ...makersOf('shop'),
}
async function status(more: KubectlAnswers, ...args: string[]): Promise<Ran> {
  using kubectl = createTestKubectl({ ...answers, ...more })
  return await kubectl.steno(['status', ...args])
}

test('the exit code says whether anything is wrong, and JSON has all of it', async () => {
  const isWell = await status({}, '-n', 'shop')
  assert.equal(isWell.code, 0, isWell.stdout + isWell.stderr)
  const bare = { 'get -n shop sessionpolicies.steno.dev': { items: [policyOf(wellConditions, { bare: 1 })] } }
  const wrong = await status(bare, '-n', 'shop', '--json')
  assert.equal(wrong.code, 1)
  const told = JSON.parse(wrong.stdout) as { ready: boolean; concerns: { severity: string }[]; policies: object[] }
  assert.deepEqual([told.ready, told.concerns[0]?.severity, told.policies.length], [false, 'error', 1])
})

test('a Job whose pods are refused is found by its events, asked for once', async () => {
  const refusal = 'Error creating: admission webhook "pods.steno.dev" denied the request: HostNetwork'
  const job = { metadata: { name: 'nightly-1', namespace: 'shop' }, spec: { parallelism: 1 }, status: {} }
  const event = {
    involvedObject: { kind: 'Job', namespace: 'shop', name: 'nightly-1' },
    message: refusal,
    lastTimestamp: '2026-11-21T09:00:00Z',
  }
  const more = { 'get -n shop jobs.batch': { items: [job] }, 'get -n shop events --field-selector reason=FailedCreate': { items: [event] } }
  const { code, stdout } = await status(more, '-n', 'shop')
  assert.equal(code, 1)
  assert.match(stdout, /^ERROR +Job shop\/nightly-1: its pods are refused: .*HostNetwork/m)
})

test('a namespace that is not there, or is labelled otherwise, is said to be so', async () => {
  const of = (namespace: string): KubectlAnswers => ({
    [`get -n ${namespace} sessionpolicies.steno.dev`]: { items: [] },
    [`get -n ${namespace} pods -l steno.dev/injected=true`]: { items: [] },
    [`get -n ${namespace} replicasets.apps`]: { items: [] },
    ...makersOf(namespace),
  })
  const missing = await status(of('shopp'), '-n', 'shopp')
  assert.deepEqual([missing.code, /ERROR +Namespace shopp: the cluster has no such/.test(missing.stdout)], [1, true])
  const other = await status(of('other'), '-n', 'other')
  assert.match(other.stdout, /WARNING +Namespace other: its label steno\.dev\/inject is "true"/)
})

const forbidden = { stderr: 'Error from server (Forbidden): x is forbidden: User "dev" cannot list resource "x"\n' }

test('who may read the policies of one namespace is shown those', async () => {
  const rest = Object.fromEntries(Object.keys(answers).map((asked) => [asked, forbidden]))
  const { code, stdout } = await status({ ...rest, 'get -n shop sessionpolicies.steno.dev': { items: well.policies } }, '-n', 'shop')
  assert.equal(code, 0)
  assert.match(stdout, /^shop\/orders +True +9/m)
  assert.match(stdout, /WARNING +Not looked at: .*forbidden/)
})

test('who may read nothing is told which rights are missing', async () => {
  const { code, stderr } = await status(Object.fromEntries(Object.keys(answers).map((asked) => [asked, forbidden])), '-n', 'shop')
  assert.equal(code, 1)
  assert.match(stderr, /you may read nothing of steno[\s\S]*\(CLUSTER_FORBIDS\)/)
})

test('a cluster without steno is told as such, and -A with -n is wrong use', async () => {
  const unknown = { stderr: 'error: the server doesn\'t have a resource type "sessionpolicies"\n' }
  const { code, stderr } = await status({ 'get -n shop sessionpolicies.steno.dev': unknown }, '-n', 'shop', '--json')
  assert.equal(code, 1)
  assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'STENO_NOT_INSTALLED')
  assert.equal((await status({}, '-n', 'shop', '-A')).code, 2)
})
