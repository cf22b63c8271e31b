// Goal: what a probe says is what was answered, nothing is called Closed that may be dead, and the pod is gone whatever happens. Method: the
// plugin with a kubectl that notes what it was asked; the pod's answers are those of `steno probe-target`.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import type { Answer } from '../probe/ask-server.ts'
import { readProbeRequest } from '../probe/probe-targets.ts'
import { probePod } from './probe-pod.ts'
import { judged } from './probe-report.ts'
import { createTestKubectl, type KubectlAnswers, type TestKubectl } from './test-kubectl.ts'

const egress = (status: string, reason: string) => [
  { type: 'EgressEnforced', status, reason, message: '', lastTransitionTime: '2026-11-21T09:00:00Z' },
]
const policy = (name: string, hosts: readonly string[], conditions: readonly object[] = []) => ({
  apiVersion: 'steno.dev/v1alpha1',
  kind: 'SessionPolicy',
  metadata: { name, namespace: 'shop', uid: 'u', generation: 3, creationTimestamp: '2026-11-21T09:00:00Z' },
  spec: { databases: [{ name: 'orders', hosts, databaseNames: ['shop'] }] },
  status: { observedGeneration: 3, conditions },
})
const relay = {
  spec: {
    template: { spec: { imagePullSecrets: [{ name: 'registry' }], containers: [{ image: 'steno@sha256:1', imagePullPolicy: 'Always' }] } },
  },
}
const line = (address: string | null, kind: Answer['kind'], database = 'orders/orders', host = 'db') =>
  JSON.stringify({ database, host, port: 5432, address, answer: { kind, detail: `said ${kind}` } })
const optedIn = (value: string) => ({ metadata: { labels: { 'steno.dev/inject': value } } })

const answers = (printed: string, conditions: readonly object[] = [], more: KubectlAnswers = {}): KubectlAnswers => ({
  'get -n shop sessionpolicies.steno.dev orders': policy('orders', ['db'], conditions),
  'get namespace steno-system': optedIn('disabled'),
  'get -n steno-system deployments.apps steno-relay': relay,
  'create -f *': 'created',
  'get -n steno-system pod steno-probe-*': { spec: { nodeName: 'worker-2' }, status: { phase: 'Succeeded', podIP: '10.0.1.7' } },
  '-n steno-system logs steno-probe-*': printed,
  '-n steno-system delete pod steno-probe-* --ignore-not-found --wait=false': 'deleted',
  'get -n steno-system pods -l app.kubernetes.io/name=steno,app.kubernetes.io/component=relay': {
    items: [{ spec: { nodeName: 'worker-1' } }],
  },
  ...more,
})
const deletions = (kubectl: TestKubectl): number => kubectl.asked().filter((words) => / delete pod steno-probe-/.test(words)).length
const probe = ['probe', 'orders', '-n', 'shop']

test('each address has its line, with what was answered from where, and a way out for what is open', async () => {
  using kubectl = createTestKubectl(answers([line('10.0.0.1', 'answers'), line('10.0.0.2', 'rejected')].join('\n')))
  const { code, stdout, stderr } = await kubectl.steno(probe)
  assert.equal(stderr, '')
  assert.equal(code, 1)
  assert.match(stdout, /^POLICY +DATABASE +HOST +ADDRESS +STATE +WHY$/m)
  assert.match(stdout, /^orders +orders +db:5432 +10\.0\.0\.1 +Open +the database would talk to whoever is there: said answers$/m)
  assert.match(stdout, /^orders +orders +db:5432 +10\.0\.0\.2 +Closed +by the server: said rejected$/m)
  assert.match(stdout, /Open: let the database admit the relay's addresses only; docs\/destination\.md/)
  assert.match(stdout, /Asked from namespace steno-system, pod address 10\.0\.1\.7, node worker-2, as user steno_probe, without a password/)
  assert.doesNotMatch(stdout, /A relay runs on that node/)
  assert.equal(deletions(kubectl), 1)
})

test('what does not answer is Closed only while sidecars measure that the relay reaches it, and Unknown for one that may be dead', async () => {
  for (const [conditions, state, exit] of [
    [egress('True', 'Closed'), 'Closed', 0],
    [egress('Unknown', 'NotMeasured'), 'Unknown', 1],
    [egress('False', 'OpenPath'), 'Unknown', 1],
    [[], 'Unknown', 1],
  ] as const)
    for (const kind of ['silent', 'refused'] as const) {
      using kubectl = createTestKubectl(answers(line('10.0.0.1', kind), conditions))
      const { code, stdout, stderr } = await kubectl.steno([...probe, '--json'])
      assert.equal(stderr, '')
      const told = JSON.parse(stdout) as { isClosed: boolean; results: { state: string; answer: string }[] }
      assert.deepEqual([told.results[0]?.state, told.results[0]?.answer, told.isClosed, code], [state, kind, exit === 0, exit])
    }
})

test('a condition of an earlier policy proves nothing of this one', async () => {
  const stale = {
    ...policy('orders', ['db'], egress('True', 'Closed')),
    status: { observedGeneration: 2, conditions: egress('True', 'Closed') },
  }
  using kubectl = createTestKubectl({ ...answers(line('10.0.0.1', 'silent')), 'get -n shop sessionpolicies.steno.dev orders': stale })
  assert.match((await kubectl.steno(probe)).stdout, / Unknown +said silent, and nothing says that the database is alive/)
})

test('every answer has one meaning', () => {
  const at = { database: 'orders', host: 'db', port: 5432, address: '10.0.0.1' }
  const of = (kind: Answer['kind'], isAlive: boolean): string =>
    judged({ ...at, answer: { kind, detail: '' } }, { policy: 'orders', isAlive }).state
  const kinds = ['answers', 'rejected', 'refused', 'silent', 'unclear'] as const
  assert.deepEqual(
    kinds.map((kind) => of(kind, true)),
    ['Open', 'Closed', 'Closed', 'Closed', 'Unknown'],
  )
  assert.deepEqual(
    kinds.map((kind) => of(kind, false)),
    ['Open', 'Closed', 'Unknown', 'Unknown', 'Unknown'],
  )
})

test('all policies of the namespace are asked when none is named, and a star only for the hosts that are given', async () => {
  const list = { items: [policy('orders', ['db', '*.db.example.com']), policy('stock', ['10.0.0.9'])] }
  const of = (printed: string): KubectlAnswers => ({ ...answers(printed), 'get -n shop sessionpolicies.steno.dev': list })
  using kubectl = createTestKubectl(of([line('10.0.0.1', 'rejected'), line('10.0.0.9', 'rejected', 'stock/orders')].join('\n')))
  const { stdout, code } = await kubectl.steno(['probe', '-n', 'shop'])
  assert.match(stdout, /^stock +orders /m)
  assert.match(stdout, /\*\.db\.example\.com:5432 +- +Unknown +it stands for hosts that the policy does not name: give them with --host/)
  assert.equal(code, 1)
  using named = createTestKubectl(of(line('10.0.0.1', 'rejected')))
  assert.equal((await named.steno(['probe', '-n', 'shop', '--host', 'a.db.example.com', 'b.example.org'])).code, 0)
})

test('the pod fits Pod Security restricted, has no token, and no label that steno selects; its request comes through the kubelet unchanged', () => {
  const request = {
    namespace: 'shop',
    user: '$(HOME)',
    targets: [{ database: 'orders/orders', host: 'db', port: 5432, databaseNames: ['$$(PATH)'] }],
  }
  const place = { name: 'steno-probe-1', namespace: 'tools', stenoNamespace: 'steno-system', node: null, request }
  const pod = probePod({ ...place, image: 'steno', pullPolicy: undefined, pullSecrets: [] }) as {
    metadata: { labels: Record<string, string> }
    spec: {
      automountServiceAccountToken: boolean
      activeDeadlineSeconds: number
      securityContext: object
      containers: [{ args: string[]; securityContext: object }]
    }
  }
  assert.equal(pod.spec.automountServiceAccountToken, false)
  assert.ok(pod.spec.activeDeadlineSeconds > 0)
  assert.notEqual(pod.metadata.labels['app.kubernetes.io/name'], 'steno')
  assert.deepEqual(pod.spec.containers[0].securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  assert.match(JSON.stringify(pod.spec.securityContext), /"runAsNonRoot":true.*"RuntimeDefault"/)
  // As the kubelet expands arguments: $$ is $, and $(NAME) would be a variable's value.
  const expanded = pod.spec.containers[0].args[1]!.replace(/\$\$/g, '\0')
    .replace(/\$\([^)]*\)/g, 'expanded')
    .replaceAll('\0', '$')
  assert.deepEqual(readProbeRequest(expanded), request)
})

test('an opted-in namespace is refused before a pod is made, and after it when its labels may not be read', async () => {
  using known = createTestKubectl(answers('', [], { 'get namespace steno-system': optedIn('enabled') }))
  const refused = await known.steno(probe)
  assert.deepEqual([refused.code, known.asked().some((words) => words.includes('create -f'))], [2, false])
  assert.match(refused.stderr, /is opted in/)
  using unread = createTestKubectl(
    answers('', [], {
      'get namespace steno-system': {
        stderr: 'Error from server (Forbidden): namespaces "steno-system" is forbidden: User "x" cannot get',
      },
      'get -n steno-system pod steno-probe-*': { spec: { initContainers: [{ name: 'steno' }] }, status: { phase: 'Pending' } },
    }),
  )
  const late = await unread.steno(probe)
  assert.equal(late.code, 2)
  assert.match(late.stderr, /is opted in, so the pod was given a sidecar/)
  assert.equal(deletions(unread), 1)
})

for (const [what, more, said] of [
  [
    'cannot be created',
    { 'create -f *': { stderr: 'Error from server (Forbidden): pods is forbidden: User "x" cannot create' } },
    /CLUSTER_FORBIDS/,
  ],
  [
    'finds no image',
    {
      'get -n steno-system pod steno-probe-*': {
        status: { phase: 'Pending', containerStatuses: [{ state: { waiting: { reason: 'ErrImageNeverPull', message: 'not there' } } }] },
      },
    },
    /PROBE_POD_FAILED/,
  ],
  [
    'fails',
    { 'get -n steno-system pod steno-probe-*': { status: { phase: 'Failed', message: 'DeadlineExceeded' } } },
    /failed: DeadlineExceeded/,
  ],
  [
    'is deleted by somebody else',
    { 'get -n steno-system pod steno-probe-*': { stderr: 'Error from server (NotFound): pods "steno-probe-1" not found' } },
    /the pod steno-system\/steno-probe-[0-9a-f]+ was deleted before it ended\n[\s\S]*PROBE_POD_FAILED/,
  ],
  ['prints no answer', { '-n steno-system logs steno-probe-*': '{"database":' }, /what the pod printed is no answer/],
] as const)
  test(`a pod that ${what} is taken away, and the reason told`, async () => {
    using kubectl = createTestKubectl(answers('', [], more))
    const { code, stderr } = await kubectl.steno(probe)
    assert.equal(code, 1)
    assert.match(stderr, said)
    assert.equal(deletions(kubectl), 1)
  })

test('a node that the cluster does not have is named', async () => {
  const gone = { stderr: 'Error from server (NotFound): pods "steno-probe-1" not found' }
  using kubectl = createTestKubectl(answers('', [], { 'get -n steno-system pod steno-probe-*': gone }))
  const { code, stderr } = await kubectl.steno([...probe, '--node', 'worker-9'])
  assert.equal(code, 1)
  assert.match(stderr, /the cluster has no node worker-9: kubectl get nodes/)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  test(`${signal} while the pod runs takes it away, and ends the plugin`, async () => {
    using kubectl = createTestKubectl(answers('', [], { 'get -n steno-system pod steno-probe-*': { status: { phase: 'Running' } } }))
    const child = spawn(fileURLToPath(new URL('../../bin/kubectl-steno', import.meta.url)), probe, {
      env: { ...process.env, KUBECTL: kubectl.program, HOME: kubectl.folder },
      stdio: 'ignore',
    })
    const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
    while (!existsSync(`${kubectl.folder}/asked`) || !kubectl.asked().some((words) => / pod steno-probe-/.test(words))) await pause(20)
    child.kill(signal)
    assert.deepEqual(await ended, [null, signal])
    assert.equal(deletions(kubectl), 1)
  })
