// Goal: `check` says before what the cluster would do, to people and to programs, and never shows a credential. Method: the plugin as a
// process, offline and with a kubectl that answers by a table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestKubectl, ran, type KubectlAnswers, type Ran } from './test-kubectl.ts'

const password = 'sesame'
const url = `postgresql://shop:${password}@orders.db.example.com:5432/orders`
const policy = {
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'SessionPolicy',
  metadata: { name: 'orders', namespace: 'shop' },
  spec: { databases: [{ name: 'orders', hosts: ['orders.db.example.com'], databaseNames: ['orders'] }] },
}
const variable = { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders', key: 'url' } } }
const pod = (container: object = { env: [variable] }, metadata: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'agent', ...metadata },
  spec: { containers: [{ name: 'agent', image: 'agent:1', ...container }] },
})
const files = (...objects: object[]): string => objects.map((object) => JSON.stringify(object)).join('\n---\n')

async function offline(input: string, ...args: string[]): Promise<Ran> {
  return ran(
    new URL('../../bin/kubectl-steno', import.meta.url).pathname,
    ['check', '--offline', '-n', 'shop', '-f', '-', ...args],
    { KUBECTL: '/nowhere' },
    input,
  )
}

test('offline, a pod with a reference is shown with where its credential goes', async () => {
  const { code, stdout } = await offline(files(pod(), policy))
  assert.equal(code, 0)
  assert.equal(
    stdout.replace(/[0-9a-f]{32}/, 'HASH'),
    `Name:         Pod agent
Namespace:    shop
Outcome:      admitted, with the sidecar
Policies:     shop/orders
Policy hash:  HASH
Recording:    level results; RecordingStore default; when recording fails: block
Enforcement:  Relay; on an open path: Block
Databases:
  orders:
    Agent uses:   127.0.0.1:15432
    Leads to:     orders.db.example.com, port 5432, TLS verify-full
    Credential:   STENO_SOURCE_0_DATABASE_URL from Secret orders, key url
Moved:
  agent: DATABASE_URL
    From:         Secret orders, key url
    To:           postgresql://agent@127.0.0.1:15432/orders?sslmode=disable
`,
  )
})

test('a refused pod ends with 1, each reason with its remedy', async () => {
  const { code, stdout } = await offline(files(pod({ env: [variable], command: ['psql', url] }), policy))
  assert.equal(code, 1)
  assert.match(stdout, /^Outcome: +refused, for one reason$/m)
  assert.match(stdout, /^Refused:\n {2}CredentialInCommand at .*\n {4}\S.*\n {4}\S/m)
})

for (const [what, container] of Object.entries({
  'a literal URL': { env: [{ name: 'DATABASE_URL', value: url }] },
  'a literal beside': { env: [variable, { name: 'OTHER', value: url }] },
  'a command': { env: [variable], command: ['psql', url] },
  'parts that are put together': {
    env: [
      { name: 'PASSWORD', value: password },
      { name: 'DATABASE_URL', value: 'postgresql://shop:$(PASSWORD)@orders.db.example.com/orders' },
    ],
  },
})) {
  test(`nothing of a credential is printed: ${what}`, async () => {
    for (const options of [[], ['--json']]) {
      const { stdout, stderr } = await offline(files(pod(container), policy), ...options)
      assert.match(stdout, /agent/)
      assert.ok(!stdout.includes(password) && !stderr.includes(password), stdout)
    }
  })
}

for (const [what, container] of Object.entries({
  'a reference': { env: [variable] },
  'a literal URL': { env: [{ name: 'ANYTHING', value: url }] },
  'a command': { command: ['psql', url] },
  'a Secret of variables': { envFrom: [{ secretRef: { name: 'orders-db' } }] },
})) {
  test(`a pod that no policy matches is not passed over when it carries ${what}`, async () => {
    const { code, stdout } = await offline(files(pod(container)))
    assert.equal(code, 0)
    assert.match(stdout, /^Outcome: +admitted, with the sidecar, but no SessionPolicy matches it: .*not recorded$/m)
    assert.match(stdout, /^Policies: +<none>: .*keeps whatever credential it has$/m)
    assert.match(
      stdout,
      /^Warnings:\n {2}no SessionPolicy matches it, so it keeps its credential.*: agent: .*\n {2}it has no network path/m,
    )
    assert.ok(!stdout.includes(password))
  })
}

test('a pod that no policy matches and that carries no connection has no warning', async () => {
  const { stdout } = await offline(files(pod({ env: [{ name: 'LOG_LEVEL', value: 'debug' }] })))
  assert.doesNotMatch(stdout, /Warnings/)
})

test('as JSON there is one object a pod, with the outcome and why', async () => {
  const { stdout } = await offline(
    files(pod(), pod({}, { name: 'other', namespace: 'else' }), policy, { kind: 'Namespace', metadata: { name: 'else' } }),
    '--json',
  )
  const [first, second] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { what: string; outcome: string; isOptedIn: boolean; policy?: { sources: string[] } })
  assert.deepEqual([first?.outcome, first?.policy?.sources], ['injected', ['shop/orders']])
  assert.deepEqual([second?.outcome, second?.isOptedIn], ['untouched', false])
})

test('names cannot act on a terminal', async () => {
  const { stdout } = await offline(files(pod({}, { name: 'a\u001b[2J\n\u202eb' }), policy))
  assert.match(stdout, /^Name: +Pod a\\x1B\[2J\\n\\u202Eb$/m)
  const asJson = (await offline(files(pod({}, { name: '\u202e\u009b' }), policy), '--json')).stdout
  assert.ok(!/[\u202e\u009b]/.test(asJson))
})

test('colours are there when asked for, and only repeat what the text says', async () => {
  const plain = await offline(files(pod(), policy))
  const coloured = await offline(files(pod(), policy), '--color', 'always')
  assert.notEqual(coloured.stdout, plain.stdout)
  // eslint-disable-next-line no-control-regex
  assert.equal(coloured.stdout.replace(/\u001b\[\d+m/g, ''), plain.stdout)
})

const cluster = {
  'get namespace shop': { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } },
  'get -n shop sessionpolicies.steno.dev': { items: [policy] },
  'get clustersessionpolicies.steno.dev': { items: [] },
  'get recordingstores.steno.dev': { items: [{ metadata: { name: 'default' } }] },
  'get admissionparameters.steno.dev steno': { spec: { images: ['steno:now'] } },
  'get -n shop secret orders --no-headers': 'orders   Opaque   1   2d',
}
async function online(answers: KubectlAnswers, input: string, ...args: string[]): Promise<Ran> {
  using kubectl = createTestKubectl({ ...cluster, ...answers })
  return await kubectl.steno(['check', '-n', 'shop', '-f', '-', ...args], input)
}

test('against the cluster its policies count, and those of the files stand for theirs', async () => {
  assert.match((await online({}, files(pod()))).stdout, /Leads to: +orders\.db\.example\.com/)
  const other = { ...policy, spec: { databases: [{ ...policy.spec.databases[0], hosts: ['other.example.com'] }] } }
  assert.match((await online({}, files(pod(), other))).stdout, /Leads to: +other\.example\.com/)
})

const forbidden = (resource: string): object => ({
  stderr: `Error from server (Forbidden): ${resource} is forbidden: User "dev" cannot list resource "${resource}" in API group "steno.dev" at the cluster scope\n`,
})

test('what may not be read is said, and the rest is judged all the same', async () => {
  const { code, stdout } = await online(
    {
      'get clustersessionpolicies.steno.dev': forbidden('clustersessionpolicies.steno.dev'),
      'get namespace shop': {
        stderr:
          'Error from server (Forbidden): namespaces "shop" is forbidden: User "dev" cannot get resource "namespaces" in API group ""',
      },
    },
    files(pod()),
  )
  assert.equal(code, 0)
  assert.match(stdout, /admitted, with the sidecar/)
  assert.match(stdout, /Warnings:\n {2}judged without the policies of the cluster: [\s\S]*taken as opted in without knowing its labels/)
})

test('without the right to the policies nothing is foretold', async () => {
  const { code, stderr } = await online({ 'get -n shop sessionpolicies.steno.dev': forbidden('sessionpolicies.steno.dev') }, files(pod()))
  assert.equal(code, 1)
  assert.match(stderr, /--offline[\s\S]*\(CLUSTER_FORBIDS\)/)
})

test('a namespace that is not opted in leaves the pod alone, with the command that opts it in', async () => {
  const { code, stdout } = await online({ 'get namespace shop': { metadata: { name: 'shop' } } }, files(pod()))
  assert.equal(code, 0)
  assert.match(stdout, /left alone[\s\S]*kubectl label namespace shop steno\.dev\/inject=enabled/)
})

for (const [field, rule, spec] of [
  ['hostNetwork', 'HostNetwork', { hostNetwork: true }],
  ['hostPath', 'HostPath', { volumes: [{ name: 'node', hostPath: { path: '/' } }] }],
] as const) {
  test(`an exemption does not promise what the admission policies refuse: ${field}`, async () => {
    const exempting = { ...floor, spec: { exemptPods: [{ namespaces: ['shop'], reason: 'The node agent needs the node.' }] } }
    const answers = { 'get clustersessionpolicies.steno.dev': { items: [exempting] } }
    const exempt = await online(answers, files(pod()))
    assert.deepEqual([exempt.code, /admitted without a sidecar: exempt by/.test(exempt.stdout)], [0, true], exempt.stdout + exempt.stderr)
    const bad = { ...pod(), spec: { containers: [{ name: 'agent', image: 'agent:1' }], ...spec } }
    const { code, stdout } = await online(answers, files(bad))
    assert.equal(code, 1)
    assert.match(stdout, new RegExp(`^Refused:\\n {2}${rule} at `, 'm'))
    assert.doesNotMatch(stdout, /under exemptPods/)
  })
}

test('a store that the cluster does not have is said before the pod is made', async () => {
  const elsewhere = { ...policy, spec: { ...policy.spec, recording: { store: 'archve' } } }
  const stores = { 'get recordingstores.steno.dev': { items: [{ metadata: { name: 'archive' } }] } }
  assert.match(
    (await online(stores, files(pod(), elsewhere))).stdout,
    /Warnings:\n {2}the cluster has no RecordingStore archve; it has archive$/m,
  )
  assert.doesNotMatch((await online({}, files(pod()))).stdout, /RecordingStore .*cluster/)
})

const withAuthority = {
  ...policy,
  spec: {
    databases: [
      { ...policy.spec.databases[0], tls: { mode: 'verify-full', ca: { configMapKeyRef: { name: 'orders-ca', key: 'ca.crt' } } } },
    ],
  },
}
const policiesWith = { 'get -n shop sessionpolicies.steno.dev': { items: [withAuthority] } }

test('a ConfigMap or a Secret that the sidecar needs and the namespace does not have is said before the pod is made', async () => {
  const missing = { 'get -n shop secret orders --no-headers': { stderr: 'Error from server (NotFound): secrets "orders" not found' } }
  const { code, stdout } = await online({ ...policiesWith, ...missing }, files(pod()))
  assert.equal(code, 0)
  assert.match(stdout, /Warnings:\n.*no ConfigMap orders-ca, which tls\.ca of database orders names: the pod will not start\n/)
  assert.match(stdout, /no Secret orders, which DATABASE_URL of container agent names: the pod will not start$/m)
  const otherKey = { ...policiesWith, 'get -n shop configmap orders-ca': { data: { 'other.crt': 'x' } } }
  assert.match((await online(otherKey, files(pod()))).stdout, /ConfigMap orders-ca has no key ca\.crt, which/)
})

test('what is there, in a file, or not to be looked at is no warning, and no Secret is read', async () => {
  const there = { ...policiesWith, 'get -n shop configmap orders-ca': { data: { 'ca.crt': 'x' } } }
  assert.doesNotMatch((await online(there, files(pod()))).stdout, /Warnings/)
  const inFile = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'orders-ca' } }
  assert.doesNotMatch((await online(policiesWith, files(pod(), inFile))).stdout, /Warnings/)
  const closed = {
    'get -n shop configmap orders-ca': forbidden('configmaps'),
    'get -n shop secret orders --no-headers': forbidden('secrets'),
  }
  assert.doesNotMatch((await online({ ...policiesWith, ...closed }, files(pod()))).stdout, /Warnings/)
  using kubectl = createTestKubectl({ ...cluster, ...there })
  await kubectl.steno(['check', '-n', 'shop', '-f', '-'], files(pod()))
  for (const asked of kubectl.asked().filter((words) => / secrets? /.test(words))) assert.doesNotMatch(asked, / -o /, asked)
})

test('a label that a file adds counts beside those that are there', async () => {
  const answers = {
    'get namespace shop': { metadata: { labels: { tier: 'gold' } } },
    'get clustersessionpolicies.steno.dev': { items: [floor] },
  }
  const named = { kind: 'Namespace', metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } }
  assert.match((await online(answers, files(pod(), named))).stdout, /Policies: +ClusterSessionPolicy\/floor, shop\/orders/)
})

const floor = {
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'ClusterSessionPolicy',
  metadata: { name: 'floor' },
  spec: { namespaceSelector: { matchLabels: { tier: 'gold' } }, floor: { tls: { mode: 'verify-full' } } },
}

test('a namespace that is neither in the cluster nor in a file is an error, and made by a file it is none', async () => {
  const missing = { 'get namespace shop': { stderr: 'Error from server (NotFound): namespaces "shop" not found' } }
  const { code, stderr } = await online(missing, files(pod()))
  assert.equal(code, 1)
  assert.match(stderr, /no namespace shop[\s\S]*BAD_OBJECT_FILE/)
  const named = { kind: 'Namespace', metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } }
  assert.equal((await online(missing, files(pod(), named))).code, 0)
})

test('a policy that the API server would refuse is named by field', async () => {
  const bad = { ...policy, spec: { databases: [{ ...policy.spec.databases[0], port: 0 }] } }
  const { code, stderr } = await offline(files(pod(), bad))
  assert.equal(code, 1)
  assert.match(stderr, /spec\.databases\[0\]\.port[\s\S]*\(OBJECT_NOT_VALID\)/)
})

test('wrong use ends with 2', async () => {
  assert.equal((await offline('', '--context', 'x')).code, 2)
  assert.equal((await offline('', '--nonsense')).code, 2)
})
