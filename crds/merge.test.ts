/**
 * Goal: what several policies mean together: the floor only tightens, the ceiling binds, conflicts are named with a remedy, and the hash
 * depends on the meaning alone. Method: a table of policies and the result; then shuffled policies of any sort, whose result must not move.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ClusterSessionPolicy } from './cluster-session-policy.ts'
import { assignLocalPorts } from './merge-databases.ts'
import { type Merge, type MergedPolicy, mergePolicies } from './merge.ts'
import { readClusterSessionPolicy, readSessionPolicy } from './read-object.ts'
import type { SessionPolicy } from './session-policy.ts'
import { answers, failures, levels, modes, tlsModes } from './strictness.ts'

const pod = { namespace: 'shop', namespaceLabels: { team: 'shop' }, podLabels: { app: 'agent', tier: 'web' } }

const orders = { name: 'orders', hosts: ['orders.example.com'], databaseNames: ['orders'] }
const reports = {
  name: 'reports',
  hosts: ['reports.example.com'],
  databaseNames: ['reports'],
  variables: [{ form: 'url', name: 'REPORTS_URL' }],
}

function policy(name: string, spec: object = {}, namespace = 'shop'): SessionPolicy {
  return readSessionPolicy({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name, namespace },
    spec: { databases: [orders], ...spec },
  })
}

function clusterPolicy(name: string, spec: object): ClusterSessionPolicy {
  return readClusterSessionPolicy({ apiVersion: 'steno.dev/v1alpha1', kind: 'ClusterSessionPolicy', metadata: { name }, spec })
}

function merged(policies: readonly SessionPolicy[], clusterPolicies: readonly ClusterSessionPolicy[] = []): MergedPolicy {
  const merge = mergePolicies(pod, policies, clusterPolicies)
  assert.ok(merge.kind === 'merged', JSON.stringify(merge))
  return merge.policy
}

function problems(policies: readonly SessionPolicy[], clusterPolicies: readonly ClusterSessionPolicy[] = []): string[] {
  const merge = mergePolicies(pod, policies, clusterPolicies)
  assert.ok(merge.kind === 'conflict', JSON.stringify(merge))
  for (const { remedy } of merge.problems) assert.match(remedy, /^[A-Z].*\.$/)
  return merge.problems.map(({ message }) => message)
}

test('a pod without a policy gets one without databases, with the defaults', () => {
  assert.deepEqual(merged([]), {
    databases: [],
    recording: { level: 'results', store: 'default', onFailure: 'block', spoolBytesMax: '512Mi', spoolAgeSecondsMax: 3600 },
    enforcement: { mode: 'Relay', onOpenPath: 'Block' },
    network: { allow: [] },
    secrets: { allowKeys: [] },
    sidecar: { resources: { requests: { cpu: '10m', memory: '96Mi' }, limits: { memory: '256Mi' } } },
    sources: [],
    hash: merged([]).hash,
  })
})

test('one policy is what it says, with a port on localhost for each database', () => {
  const one = merged([policy('orders', { databases: [orders, reports] })])
  assert.deepEqual(
    one.databases.map(({ name, localPort, policy: source }) => ({ name, localPort, source })),
    [
      { name: 'orders', localPort: 15_432, source: 'shop/orders' },
      { name: 'reports', localPort: 15_433, source: 'shop/orders' },
    ],
  )
  assert.deepEqual(one.sources, ['shop/orders'])
  assert.match(one.hash, /^[0-9a-f]{32}$/)
})

const selections: readonly { readonly what: string; readonly policy: SessionPolicy; readonly applies: boolean }[] = [
  { what: 'no selector', policy: policy('a'), applies: true },
  { what: 'a label that the pod has', policy: policy('a', { selector: { matchLabels: { app: 'agent' } } }), applies: true },
  { what: 'a label with another value', policy: policy('a', { selector: { matchLabels: { app: 'api' } } }), applies: false },
  {
    what: 'a condition that holds',
    policy: policy('a', { selector: { matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['batch'] }] } }),
    applies: true,
  },
  { what: 'another namespace', policy: policy('a', {}, 'bank'), applies: false },
]
for (const { what, policy: only, applies } of selections) {
  test(`a policy with ${what} ${applies ? 'is' : 'is not'} for the pod`, () => {
    assert.equal(merged([only]).databases.length, applies ? 1 : 0)
    assert.deepEqual(merged([only]).sources, applies ? [`shop/a`] : [])
  })
}

test('the floor raises what is weaker, and leaves what is stricter: every pair of TLS modes, failure modes and enforcements', () => {
  const floorOf = (floor: object): ClusterSessionPolicy[] => [clusterPolicy('floor', { floor })]
  for (const asked of tlsModes) {
    for (const least of tlsModes) {
      const [database] = merged(
        [policy('a', { databases: [{ ...orders, tls: { mode: asked } }] })],
        floorOf({ tls: { mode: least } }),
      ).databases
      assert.equal(database?.tls.mode, tlsModes[Math.max(tlsModes.indexOf(asked), tlsModes.indexOf(least))], `${asked} under ${least}`)
    }
  }
  for (const onFailure of failures) {
    const { recording } = merged([policy('a', { recording: { onFailure } })], floorOf({ recording: { onFailure: 'block' } }))
    assert.equal(recording.onFailure, 'block')
    assert.equal(merged([policy('a', { recording: { onFailure } })], floorOf({})).recording.onFailure, onFailure)
  }
  for (const mode of modes) {
    for (const onOpenPath of answers) {
      for (const least of modes) {
        for (const answer of answers) {
          const floor = { enforcement: { mode: least, onOpenPath: answer } }
          const { enforcement } = merged([policy('a', { enforcement: { mode, onOpenPath } })], floorOf(floor))
          assert.equal(enforcement.mode, mode === 'Relay' || least === 'Relay' ? 'Relay' : 'CredentialsOnly')
          assert.equal(enforcement.onOpenPath, onOpenPath === 'Block' || answer === 'Block' ? 'Block' : 'Report')
        }
      }
    }
  }
})

test('of recording levels the one that keeps most counts: of several policies, and of the floor, which a namespace can only raise', () => {
  const levelOf = (asked: readonly string[], floor: object): string => {
    const policies = asked.map((level, at) => policy(`p${at}`, { databases: [at === 0 ? orders : reports], recording: { level } }))
    return merged(policies, [clusterPolicy('floor', { floor })]).recording.level
  }
  const order = ['statements', 'results', 'stored']
  assert.deepEqual(levels, order)
  for (const one of order) {
    assert.equal(levelOf([one], {}), one)
    for (const other of order) {
      const most = order[Math.max(order.indexOf(one), order.indexOf(other))]
      assert.equal(levelOf([one, other], {}), most, `${one} and ${other}`)
      assert.equal(levelOf([one], { recording: { level: other } }), most, `${one} above the floor ${other}`)
    }
  }
  assert.equal(merged([], [clusterPolicy('floor', { floor: { recording: { level: 'statements' } } })]).recording.level, 'results')
})

test('a weak floor does not loosen the defaults of a pod without a policy', () => {
  const floor = { enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' } }
  assert.deepEqual(merged([], [clusterPolicy('floor', { floor })]).enforcement, { mode: 'Relay', onOpenPath: 'Block' })
})

test('a cluster policy counts only in namespaces that it selects, and several count together', () => {
  const weak = policy('a', { databases: [{ ...orders, tls: { mode: 'disable' } }] })
  const elsewhere = clusterPolicy('elsewhere', {
    floor: { tls: { mode: 'verify-full' } },
    namespaceSelector: { matchLabels: { team: 'bank' } },
  })
  const require = clusterPolicy('require', { floor: { tls: { mode: 'require' } }, namespaceSelector: { matchLabels: { team: 'shop' } } })
  const verify = clusterPolicy('verify', { floor: { tls: { mode: 'verify-ca' } } })
  assert.equal(merged([weak], [elsewhere]).databases[0]?.tls.mode, 'disable')
  assert.equal(merged([weak], [elsewhere, require]).databases[0]?.tls.mode, 'require')
  const all = merged([weak], [verify, require, elsewhere])
  assert.equal(all.databases[0]?.tls.mode, 'verify-ca')
  assert.deepEqual(all.sources, ['ClusterSessionPolicy/require', 'ClusterSessionPolicy/verify', 'shop/a'])
})

const ceilings: readonly { readonly hosts: readonly string[]; readonly within: object; readonly beyond: readonly string[] }[] = [
  { hosts: ['db.example.com'], within: { hosts: ['*.example.com'], addressRanges: [] }, beyond: [] },
  { hosts: ['DB.Example.com.x'], within: { hosts: ['*.example.com'], addressRanges: [] }, beyond: ['DB.Example.com.x'] },
  { hosts: ['DB.EXAMPLE.COM'], within: { hosts: ['db.example.com'], addressRanges: [] }, beyond: [] },
  {
    hosts: ['example.com', 'evil-example.com'],
    within: { hosts: ['*.example.com'], addressRanges: [] },
    beyond: ['example.com', 'evil-example.com'],
  },
  { hosts: ['*.eu.example.com'], within: { hosts: ['*.example.com'], addressRanges: [] }, beyond: [] },
  { hosts: ['*.example.com'], within: { hosts: ['*.eu.example.com'], addressRanges: [] }, beyond: ['*.example.com'] },
  { hosts: ['*.example.com'], within: { hosts: ['db.example.com'], addressRanges: [] }, beyond: ['*.example.com'] },
  { hosts: ['anything.at.all', '*.all'], within: { hosts: ['*'], addressRanges: [] }, beyond: [] },
  {
    hosts: ['10.1.2.3', '10.2.0.1', 'fd00::5'],
    within: { hosts: ['*'], addressRanges: ['10.1.0.0/16', 'fd00::/8'] },
    beyond: ['10.2.0.1'],
  },
  { hosts: ['10.1.2.3'], within: { hosts: ['10.1.2.3'], addressRanges: [] }, beyond: [] },
  { hosts: ['db.example.com'], within: { hosts: [], addressRanges: ['0.0.0.0/0'] }, beyond: ['db.example.com'] },
]
for (const { hosts, within, beyond } of ceilings) {
  test(`a ceiling of ${JSON.stringify(within)} ${beyond.length === 0 ? 'admits' : 'refuses'} ${hosts.join(' ')}`, () => {
    const asked = [policy('a', { databases: [{ ...orders, hosts }] })]
    const ceiling = [clusterPolicy('top', { ceiling: within })]
    if (beyond.length === 0) assert.equal(merged(asked, ceiling).databases.length, 1)
    else {
      const named = beyond.map((host) => `\`${host}\``).join(', ')
      assert.deepEqual(problems(asked, ceiling), [
        `database \`orders\` of shop/a names ${named}, which ClusterSessionPolicy/top does not admit`,
      ])
    }
  })
}

test('without a ceiling every host and address may be named, and each of several ceilings binds', () => {
  const asked = [policy('a', { databases: [{ ...orders, hosts: ['a.example.com', '*.net', '10.0.0.1', '::1'] }] })]
  assert.equal(merged(asked, [clusterPolicy('none', {})]).databases.length, 1)
  const both = [
    clusterPolicy('one', { ceiling: { hosts: ['*'], addressRanges: [] } }),
    clusterPolicy('two', { ceiling: { hosts: ['a.example.com'], addressRanges: ['0.0.0.0/0', '::/0'] } }),
  ]
  assert.deepEqual(problems(asked, both), [
    'database `orders` of shop/a names `10.0.0.1`, `::1`, which ClusterSessionPolicy/one does not admit',
    'database `orders` of shop/a names `*.net`, which ClusterSessionPolicy/two does not admit',
  ])
})

test('an exempt pod is exempt by name and reason, whatever policies are there, and only with all the labels', () => {
  const exempting = (matchLabels: object, namespaces = ['shop']): Merge =>
    mergePolicies(
      pod,
      [policy('a'), policy('b', { databases: [{ ...orders, port: 1 }] })],
      [clusterPolicy('exempt', { exemptPods: [{ namespaces, matchLabels, reason: 'it speaks to nothing' }] })],
    )
  const exempt = { kind: 'exempt', by: 'ClusterSessionPolicy/exempt', reason: 'it speaks to nothing' }
  assert.deepEqual(exempting({ app: 'agent' }), exempt)
  assert.deepEqual(exempting({}), exempt)
  assert.equal(exempting({ app: 'agent', tier: 'batch' }).kind, 'conflict')
  assert.equal(exempting({ app: 'agent' }, ['bank']).kind, 'conflict')
})

const conflicts: readonly { readonly what: string; readonly policies: readonly SessionPolicy[]; readonly named: readonly string[] }[] = [
  {
    what: 'one name for two databases',
    policies: [policy('a'), policy('b', { databases: [{ ...orders, port: 6432 }] })],
    named: ['database `orders` is described differently by shop/a and shop/b'],
  },
  {
    what: 'two localPorts for one database',
    policies: [
      policy('a', { databases: [{ ...orders, localPort: 20_000 }] }),
      policy('b', { databases: [{ ...orders, localPort: 20_001 }] }),
    ],
    named: ['database `orders` is described differently by shop/a and shop/b'],
  },
  {
    what: 'one variable for two databases',
    policies: [policy('a'), policy('b', { databases: [{ ...orders, name: 'other' }] })],
    named: ['variable `DATABASE_URL` carries database `orders` of shop/a and `other` of shop/b'],
  },
  {
    what: 'one prefix for two databases',
    policies: [
      policy('a', { databases: [{ ...orders, variables: [{ form: 'libpq', prefix: 'PG' }] }] }),
      policy('b', { databases: [{ ...reports, variables: [{ form: 'libpq', prefix: 'PG' }] }] }),
    ],
    named: ['variable `PG…` carries database `orders` of shop/a and `reports` of shop/b'],
  },
  {
    what: 'one localPort for two databases',
    policies: [
      policy('a', { databases: [{ ...orders, localPort: 20_000 }] }),
      policy('b', { databases: [{ ...reports, localPort: 20_000 }] }),
    ],
    named: ['localPort 20000 is asked for by database `orders` of shop/a and `reports` of shop/b'],
  },
  {
    what: 'two stores',
    policies: [policy('a'), policy('b', { databases: [reports], recording: { store: 'archive' } })],
    named: ['shop/a records to store `default` and shop/b to `archive`'],
  },
  {
    what: 'several at once',
    policies: [policy('a'), policy('b', { databases: [{ ...orders, name: 'other' }], recording: { store: 'archive' } })],
    named: [
      'variable `DATABASE_URL` carries database `orders` of shop/a and `other` of shop/b',
      'shop/a records to store `default` and shop/b to `archive`',
    ],
  },
]
for (const { what, policies, named } of conflicts) {
  test(`a conflict names both policies and has a remedy: ${what}`, () => {
    assert.deepEqual(problems(policies), named)
    assert.deepEqual(problems(policies.toReversed()), named)
  })
}

test('the same database in two policies is one, with the port that either asks for', () => {
  const both = merged([policy('a'), policy('b', { databases: [{ ...orders, hosts: [...orders.hosts], localPort: 20_000 }] })])
  assert.deepEqual(
    both.databases.map(({ name, localPort, policy: source }) => ({ name, localPort, source })),
    [{ name: 'orders', localPort: 20_000, source: 'shop/a' }],
  )
})

test('of several policies the strictest counts, the smallest spool, and what may be reached adds up', () => {
  const https = { preset: 'internet-https' }
  const search = { to: [{ podSelector: { matchLabels: { app: 'search' } } }], ports: [{ port: 80 }] }
  const both = merged([
    policy('a', {
      recording: { onFailure: 'continue', spoolBytesMax: '1Gi', spoolAgeSecondsMax: 600 },
      enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Block' },
      network: { allow: [https, search] },
      secrets: { allowKeys: [{ secret: 'x', keys: ['b', 'a'] }] },
      sidecar: { resources: { requests: { memory: '512Mi' }, limits: { cpu: 1 } } },
    }),
    policy('b', {
      databases: [reports],
      recording: { onFailure: 'block', spoolBytesMax: '600Mi', spoolAgeSecondsMax: 900 },
      enforcement: { mode: 'Relay', onOpenPath: 'Report' },
      network: { allow: [https] },
      secrets: { allowKeys: [{ secret: 'x', keys: ['c', 'a'] }] },
      sidecar: { resources: { limits: { cpu: '500m', memory: '128Mi' } } },
    }),
  ])
  assert.deepEqual(both.recording, {
    level: 'results',
    store: 'default',
    onFailure: 'block',
    spoolBytesMax: '600Mi',
    spoolAgeSecondsMax: 600,
  })
  assert.deepEqual(both.enforcement, { mode: 'Relay', onOpenPath: 'Block' })
  assert.equal(both.network.allow.length, 2)
  assert.deepEqual(both.secrets.allowKeys, [{ secret: 'x', keys: ['a', 'b', 'c'] }])
  // A limit is never below its request: Kubernetes refuses such a pod.
  assert.deepEqual(both.sidecar.resources, { requests: { cpu: '10m', memory: '512Mi' }, limits: { cpu: '1', memory: '512Mi' } })
})

test('a limit of processor time that only one policy asks for would slow the agents of the other, so there is none', () => {
  const limited = policy('a', { sidecar: { resources: { limits: { cpu: 1, memory: '128Mi' } } } })
  assert.deepEqual(merged([limited, policy('b', { databases: [reports] })]).sidecar.resources.limits, { memory: '256Mi' })
})

test('ports that are asked for are kept, and the others go around them', () => {
  const ports = (asked: readonly (number | undefined)[]): number[] =>
    assignLocalPorts(asked.map((localPort) => (localPort === undefined ? {} : { localPort }))).map(({ localPort }) => localPort)
  assert.deepEqual(ports([undefined, undefined, undefined]), [15_432, 15_433, 15_434])
  assert.deepEqual(ports([undefined, 15_432, undefined]), [15_433, 15_432, 15_434])
  assert.deepEqual(ports([undefined, 15_434, undefined]), [15_432, 15_434, 15_435])
  assert.deepEqual(ports([undefined, undefined, 15_432]), [15_433, 15_434, 15_432])
})

const hashes: readonly { readonly what: string; readonly spec: object; readonly same: boolean }[] = [
  { what: 'hosts in another order and case', spec: { databases: [{ ...orders, hosts: ['B.example.com', 'a.example.com'] }] }, same: true },
  { what: 'the same size in another unit', spec: { recording: { spoolBytesMax: '0.5Gi' } }, same: true },
  { what: 'other resources of the sidecar', spec: { sidecar: { resources: { limits: { memory: '1Gi' } } } }, same: true },
  { what: 'another host', spec: { databases: [{ ...orders, hosts: ['a.example.com', 'c.example.com'] }] }, same: false },
  { what: 'another failure mode', spec: { recording: { onFailure: 'continue' } }, same: false },
  { what: 'another variable', spec: { databases: [{ ...orders, variables: [{ form: 'url', name: 'URL' }] }] }, same: false },
  { what: 'another port on localhost', spec: { databases: [{ ...orders, localPort: 20_000 }] }, same: false },
  { what: 'another enforcement', spec: { enforcement: { mode: 'CredentialsOnly' } }, same: false },
  { what: 'another key left to agents', spec: { secrets: { allowKeys: [{ secret: 'x', keys: ['y'] }] } }, same: false },
  { what: 'something more to reach', spec: { network: { allow: [{ preset: 'internet-https' }] } }, same: false },
]
for (const { what, spec, same } of hashes) {
  test(`the hash ${same ? 'stays the same with' : 'changes with'} ${what}`, () => {
    const two = { databases: [{ ...orders, hosts: ['a.example.com', 'b.example.com'] }] }
    const before = merged([policy('a', two)]).hash
    const after = merged([policy('a', { ...two, ...spec })]).hash
    // A spec that spells out its databases has two hosts too, so that only one thing differs.
    const databases = (spec as { databases?: readonly { hosts: readonly string[] }[] }).databases
    const fair = databases === undefined || databases[0]?.hosts.length === 2 ? before : merged([policy('a')]).hash
    assert.equal(after === fair, same)
  })
}

test('neither the order of policies nor the names of the policies change the hash', () => {
  const databases = Array.from({ length: 6 }, (_, index) => ({
    ...orders,
    name: `d${index}`,
    variables: [{ form: 'url', name: `URL_${index}` }],
  }))
  const policies = databases.map((database, index) =>
    policy(`p${index}`, { databases: [database], network: { allow: [{ to: [{ ipBlock: { cidr: `10.${index}.0.0/16` } }] }] } }),
  )
  const ofCluster = [clusterPolicy('x', { floor: { tls: { mode: 'verify-ca' } } }), clusterPolicy('y', {})]
  const expected = merged(policies, ofCluster)
  fc.assert(
    fc.property(fc.shuffledSubarray(policies, { minLength: 6 }), fc.shuffledSubarray(ofCluster, { minLength: 2 }), (shuffled, cluster) => {
      assert.deepEqual(merged(shuffled, cluster), expected)
    }),
    { numRuns: 50 },
  )
  assert.equal(merged([policy('other')]).hash, merged([policy('a')]).hash)
})
