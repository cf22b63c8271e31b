// Goal: in an emergency one command opens exactly what was asked, says what that means, and is seen until it is ended. Method: the plugin with a
// kubectl that notes what it was asked; what is written is read back by the schema of the kind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readClusterSessionPolicy } from '../../crds/read-object.ts'
import { mergePolicies } from '../../crds/merge.ts'
import { BadUsage } from '../failure-report.ts'
import {
  breakGlassConcerns,
  breakGlassName,
  breakGlassObject,
  checkedReason,
  parseFor,
  parseSelector,
  type FoundPolicy,
} from './break-glass-facts.ts'
import { concernsOf } from './status-report.ts'
import { createTestKubectl, type KubectlAnswers } from './test-kubectl.ts'

const minute = 60_000
const asked = {
  namespace: 'shop',
  matchLabels: { app: 'orders-agent' },
  reason: 'INC-1234: the relay refuses all',
  until: Date.UTC(2026, 10, 21, 10),
  requestedBy: 'anna@example.com',
}
const opened = {
  ...(breakGlassObject(asked) as { metadata: object }),
  metadata: { ...(breakGlassObject(asked) as { metadata: object }).metadata, creationTimestamp: '2026-11-21T09:00:00Z' },
} as unknown as FoundPolicy

test('what is written is a ClusterSessionPolicy that exempts these pods and no others', () => {
  const policy = readClusterSessionPolicy(breakGlassObject(asked))
  const namespaceLabels = { 'steno.dev/inject': 'enabled', 'kubernetes.io/metadata.name': 'shop' }
  const kindOf = (namespace: string, podLabels: Record<string, string>): string =>
    mergePolicies({ namespace, namespaceLabels, podLabels }, [], [policy]).kind
  assert.equal(kindOf('shop', { app: 'orders-agent', more: 'x' }), 'exempt')
  assert.equal(kindOf('shop', { app: 'other' }), 'merged')
  assert.equal(kindOf('shop-2', { app: 'orders-agent' }), 'merged')
})

test('a namespace of any length gives a name that the kind takes, and no two give the same', () => {
  const names = ['shop', 'x'.repeat(63), `${'x'.repeat(62)}y`, 'x'.repeat(51), 'x'.repeat(52)].map(breakGlassName)
  assert.equal(names[0], 'break-glass-shop')
  for (const name of names) assert.ok(name.length <= 63, name)
  assert.equal(new Set(names).size, names.length)
})

test('durations, labels and reasons are taken as they are meant, and all else is refused', () => {
  assert.deepEqual([parseFor('30m'), parseFor('1h'), parseFor('7d')], [30 * minute, 60 * minute, 7 * 24 * 60 * minute])
  for (const text of ['', '1', 'h', '0h', '-1h', '1.5h', '1w', '8d', '1h ', '9999999m']) assert.throws(() => parseFor(text), BadUsage, text)
  assert.deepEqual(parseSelector('app=a,example.com/tier==b'), { app: 'a', 'example.com/tier': 'b' })
  assert.deepEqual(parseSelector(undefined), {})
  for (const text of ['', 'app', 'app!=a', 'app in (a,b)', '!app', 'app=a,', '__proto__=x y'])
    assert.throws(() => parseSelector(text), BadUsage, text)
  assert.equal(checkedReason('  why '), 'why')
  for (const text of ['', ' \n', 'x'.repeat(257)]) assert.throws(() => checkedReason(text), BadUsage)
})

test('while one is open status warns of it with the time left; one that is over and does not end by itself is an error', () => {
  const at = (now: number, policy = opened): [string, string][] =>
    breakGlassConcerns([policy], now).map(({ severity, message, remedy }) => [severity, `${message} ${remedy}`])
  const [[running, text] = ['', '']] = at(asked.until - 1)
  assert.equal(running, 'warning')
  assert.match(
    text,
    /pods with app=orders-agent of shop .* since 2026-11-21T09:00:00Z, until 2026-11-21T10:00:00.000Z \(under a minute left\); .*anna@example\.com: INC-1234/,
  )
  assert.match(text, /kubectl steno break-glass -n shop --end/)
  const [[over, said] = ['', '']] = at(asked.until)
  assert.equal(over, 'note')
  assert.match(said, /it ended by itself at 2026-11-21T10:00:00.000Z/)
  // As an earlier release made it: nothing but somebody ends it.
  const { namespaces, matchLabels, reason } = opened.spec!.exemptPods![0]!
  const earlier = { ...opened, spec: { exemptPods: [{ namespaces, matchLabels: { ...matchLabels }, reason }] } }
  assert.match(at(asked.until - 90 * minute, earlier)[0]![1], /\(1 h 30 min left, and nothing ends it by itself\)/)
  assert.equal(at(asked.until, earlier)[0]?.[0], 'error')
  const unknown = { ...earlier, metadata: { ...opened.metadata, annotations: { 'steno.dev/break-glass-until': 'soon' } } }
  assert.deepEqual(at(0, unknown)[0]?.[0], 'error')
  assert.deepEqual(breakGlassConcerns([{ ...opened, metadata: { name: 'floor' } }]), [])
  assert.deepEqual(breakGlassConcerns(null), [])
})

test('status says it among all other concerns', () => {
  const unread = { deployments: null, pods: null, isWebhookRegistered: null, isGuarded: null, policies: null, stores: null, optedIn: null }
  const others = {
    mislabelled: {},
    missingNamespace: null,
    injectedPods: null,
    replicaSets: null,
    refusedWorkloads: null,
    images: null,
    unread: [],
    ...{ stenoNamespace: 'steno-system', namespace: null },
  }
  const facts = { ...unread, ...others, clusterPolicies: [opened] }
  assert.ok(concernsOf(facts).some(({ what }) => what === 'Break-glass break-glass-shop'))
})

const optedIn = { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } }
const world: KubectlAnswers = {
  'get namespace shop': optedIn,
  'get namespace other': { metadata: { name: 'other' } },
  'auth whoami': { status: { userInfo: { username: 'anna@example.com' } } },
}
const words = ['break-glass', '-n', 'shop', '--reason', 'INC-1234', '--for', '1h']
const running = { ...breakGlassObject({ ...asked, until: Date.now() + 60 * minute }) }
const over = { ...breakGlassObject({ ...asked, until: Date.now() - minute }) }

test('what is left of one that ended makes room for another', async () => {
  using kubectl = createTestKubectl({
    ...world,
    'get clustersessionpolicies.steno.dev break-glass-shop': over,
    'delete clustersessionpolicies.steno.dev break-glass-shop': '',
    'create -f *': '',
  })
  const { code, stdout, stderr } = await kubectl.steno(words)
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /It ends by itself at 20/)
})

test('opening creates the policy, says what that opens, and how to end it', async () => {
  // The name of the file is not to be known before.
  using kubectl = createTestKubectl({ ...world, 'create -f *': '' })
  const { code, stdout, stderr } = await kubectl.steno(words)
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^The glass is broken: all pods of shop, until 20\d\d-.*break-glass-shop/)
  for (const said of [
    /no sidecar/,
    /hold the credentials/,
    /steno-egress/,
    /reach no database until they are made again/,
    /break-glass -n shop --end/,
  ])
    assert.match(stdout, said)
  assert.equal(kubectl.asked().filter((line) => / create -f /.test(line)).length, 1)
})

for (const [what, args, answers, code, message] of [
  ['no reason', ['break-glass', '-n', 'shop', '--for', '1h'], {}, 2, /--reason and --for/],
  ['no namespace', ['break-glass', '--reason', 'x', '--for', '1h'], {}, 2, /--namespace is missing/],
  ['--end with a reason', ['break-glass', '-n', 'shop', '--end', '--reason', 'x'], {}, 2, /--end takes neither/],
  ['a namespace without steno', ['break-glass', '-n', 'other', '--reason', 'x', '--for', '1h'], {}, 2, /not opted in/],
  [
    'one that is open',
    words,
    { 'get clustersessionpolicies.steno.dev break-glass-shop': running },
    1,
    /open already: INC-1234[\s\S]*BREAK_GLASS_RUNS/,
  ],
  ['somebody faster', words, { 'create -f *': { stderr: 'Error from server (AlreadyExists): it already exists' } }, 1, /BREAK_GLASS_RUNS/],
  [
    'no right',
    words,
    { 'create -f *': { stderr: 'Error from server (Forbidden): x is forbidden: User "a" cannot create' } },
    1,
    /CLUSTER_FORBIDS/,
  ],
  ['--end of nothing', ['break-glass', '-n', 'shop', '--end'], {}, 1, /no break-glass is open for shop/],
  [
    '--end of another policy',
    ['break-glass', '-n', 'shop', '--end'],
    { 'get clustersessionpolicies.steno.dev break-glass-shop': { metadata: { name: 'break-glass-shop' } } },
    1,
    /not made by this command/,
  ],
] as const) {
  test(`nothing is changed, and it is said why: ${what}`, async () => {
    using kubectl = createTestKubectl({ ...world, ...(answers as KubectlAnswers) })
    const ran = await kubectl.steno(args)
    assert.equal(ran.code, code, ran.stderr)
    assert.match(ran.stderr, message)
    assert.ok(!kubectl.asked().some((line) => / delete /.test(line)))
  })
}

test('ending deletes the policy, and names the pods that are to be made again', async () => {
  using kubectl = createTestKubectl({
    'get clustersessionpolicies.steno.dev break-glass-shop': running,
    'delete clustersessionpolicies.steno.dev break-glass-shop': '',
    'get -n shop pods -l !steno.dev/injected': { items: [{ metadata: { name: 'agent-1' } }, { metadata: { name: 'agent-2' } }] },
  })
  const { code, stdout } = await kubectl.steno(['break-glass', '-n', 'shop', '--end'])
  assert.equal(code, 0)
  assert.match(stdout, /It is ended[\s\S]*agent-1, agent-2[\s\S]*rollout restart/)
  const told = await kubectl.steno(['break-glass', '-n', 'shop', '--end', '--json'])
  assert.deepEqual(JSON.parse(told.stdout), {
    action: 'ended',
    policy: 'break-glass-shop',
    namespace: 'shop',
    podsWithoutSidecar: ['agent-1', 'agent-2'],
  })
})
