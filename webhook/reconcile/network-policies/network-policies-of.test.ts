// Goal: agents reach what their policies say and nothing else. Method: each form of policy with the NetworkPolicy that it means, written out.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressOf, addressRangeOf, rangeHolds } from '../../../crds/address-range.ts'
import { sessionPolicySchema, type SessionPolicy } from '../../../crds/session-policy.ts'
import { allowName, networkPoliciesOf, openedDatabases, type AddressesOf } from './network-policies-of.ts'
import { publicBlocksWithout } from './public-ranges.ts'
import { standardNetworkSettings, type NetworkSettings } from './settings.ts'

function policy(allow: readonly object[], more: object = {}, name = 'orders', hosts = ['db.example.com']): SessionPolicy {
  const databases = [{ name, engine: 'postgresql', hosts, databaseNames: ['orders'] }]
  const spec = { databases, network: { allow }, ...more }
  return sessionPolicySchema.parse({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name, namespace: 'shop' }, spec })
}

const found: Record<string, readonly string[]> = { 'db.example.com': ['52.1.2.3', '10.0.0.9'], 'two.example.com': ['2a00::7'] }
const known: AddressesOf = (host) => (addressOf(host) === null ? (found[host] ?? []) : [host])

function made(policies: readonly SessionPolicy[], addressesOf: AddressesOf = known, settings: Partial<NetworkSettings> = {}) {
  return networkPoliciesOf({
    namespace: 'shop',
    policies: policies.map((one) => ({ uid: `uid-${one.metadata.name}`, policy: one })),
    addressesOf,
    settings: { ...standardNetworkSettings('steno-system'), ...settings },
  })
}

const isRelay = { key: 'steno.dev/enforcement', operator: 'In', values: ['Relay'] }
const component = (name: string) => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'steno-system' } },
  podSelector: { matchLabels: { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/component': name } },
})
const dns = {
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
  podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
}
const dnsPorts = [
  { protocol: 'UDP', port: 53 },
  { protocol: 'TCP', port: 53 },
]
const closing = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: {
    name: 'steno-egress',
    namespace: 'shop',
    labels: { 'app.kubernetes.io/managed-by': 'steno', 'app.kubernetes.io/part-of': 'steno' },
  },
  spec: {
    podSelector: { matchExpressions: [isRelay] },
    policyTypes: ['Egress'],
    egress: [
      { to: [component('relay'), component('control')], ports: [{ protocol: 'TCP', port: 8443 }] },
      { to: [dns], ports: dnsPorts },
    ],
  },
}

test('a namespace without any policy is closed, and one whose policies allow nothing the same', () => {
  assert.deepEqual(made([]), [closing])
  assert.deepEqual(made([policy([])]), [closing])
})

const to = [{ namespaceSelector: { matchLabels: { team: 'a' } }, podSelector: {} }]
const tables: readonly (readonly [string, SessionPolicy, { readonly podSelector: object; readonly egress: readonly object[] }])[] = [
  [
    'peers as they are',
    policy([{ to, ports: [{ port: 80 }, { port: 'dns', protocol: 'UDP' }, { port: 1_000, endPort: 2_000 }] }]),
    {
      podSelector: { matchExpressions: [isRelay] },
      egress: [
        {
          to,
          ports: [
            { protocol: 'TCP', port: 80 },
            { protocol: 'UDP', port: 'dns' },
            { protocol: 'TCP', port: 1_000, endPort: 2_000 },
          ],
        },
      ],
    },
  ],
  ['all ports of a peer', policy([{ to }]), { podSelector: { matchExpressions: [isRelay] }, egress: [{ to }] }],
  [
    'pods of its selector that are closed, and no others',
    policy([{ to }], {
      selector: {
        matchLabels: { app: 'agent', 'steno.dev/enforcement': 'CredentialsOnly' },
        matchExpressions: [{ key: 'tier', operator: 'Exists' }],
      },
    }),
    {
      podSelector: {
        matchLabels: { app: 'agent', 'steno.dev/enforcement': 'CredentialsOnly' },
        matchExpressions: [{ key: 'tier', operator: 'Exists' }, isRelay],
      },
      egress: [{ to }],
    },
  ],
]
for (const [what, one, spec] of tables)
  test(`a policy allows ${what}`, () => {
    assert.deepEqual(made([one]), [
      {
        ...closing,
        metadata: {
          ...closing.metadata,
          name: 'steno-allow-orders',
          ownerReferences: [
            { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', name: 'orders', uid: 'uid-orders', controller: true },
          ],
        },
        spec: { ...spec, policyTypes: ['Egress'] },
      },
      closing,
    ])
  })

test('internet-https is port 443 of what is public, without the databases’ addresses', () => {
  const [allow] = made([policy([{ preset: 'internet-https' }], {}, 'orders', ['db.example.com', '8.8.8.8'])], known, {
    closedRanges: ['9.9.9.0/24'],
  })
  const [rule, ...others] = allow?.spec.egress ?? []
  assert.deepEqual(others, [])
  assert.deepEqual(rule?.ports, [{ protocol: 'TCP', port: 443 }])
  const blocks = (rule?.to ?? []).map(({ ipBlock }) => ipBlock)
  assert.deepEqual(
    blocks.map((block) => block?.cidr),
    ['0.0.0.0/0', '2000::/3'],
  )
  assert.deepEqual(blocks[0]?.except?.slice(-3), ['52.1.2.3/32', '8.8.8.8/32', '9.9.9.0/24'])
  assert.equal(blocks[0].except.includes('10.0.0.9/32'), false, 'what is closed already is not said twice')
})

test('internet-https leaves the databases of every policy of the namespace closed', () => {
  const [allow] = made([policy([{ preset: 'internet-https' }]), policy([], {}, 'two', ['two.example.com'])])
  assert.ok(allow?.spec.egress[0]?.to[1]?.ipBlock?.except?.includes('2a00::7/128'))
})

test('internet-https stays closed until every name was looked up, and where there is too much to close', () => {
  const one = policy([{ preset: 'internet-https' }, { to }])
  const many = Array.from({ length: 1_001 }, (_, index) => `52.0.${index >> 8}.${index & 255}`)
  for (const addressesOf of [() => null, () => many]) assert.deepEqual(made([one], addressesOf)[0]?.spec.egress, [{ to }])
})

const mustStayClosed = [
  ...[
    '10.1.2.3',
    '172.31.0.1',
    '192.168.1.1',
    '127.0.0.1',
    '169.254.169.254',
    '100.100.100.200',
    '224.0.0.1',
    '255.255.255.255',
    '0.0.0.0',
  ],
  ...['168.63.129.16', '::1', 'fe80::1', 'fd00:ec2::254', 'fc00::1', 'ff02::1', '::', '2002:a00:1::', '64:ff9b::a00:1'],
]
test('of what is not public, nothing is within the preset', () => {
  const isOpen = (text: string): boolean => {
    const address = addressOf(text)
    assert.ok(address !== null, text)
    return publicBlocksWithout([]).some(({ cidr, except }) => {
      const holds = (range: string): boolean => rangeHolds(addressRangeOf(range) ?? { bits: 32, value: 1n, prefixBits: 32 }, address)
      return holds(cidr) && !except.some(holds)
    })
  }
  for (const text of mustStayClosed) assert.equal(isOpen(text), false, text)
  for (const text of ['8.8.8.8', '1.1.1.1', '2606:4700::1111']) assert.equal(isOpen(text), true, text)
})

test('what is closed lies within its block, as the API server wants it', () => {
  const four = fc.ipV4()
  fc.assert(
    fc.property(
      fc.array(fc.oneof(four, fc.constantFrom('2a00::1', 'fd00::1', 'no address', '10.0.0.0/33', '9.9.0.0/16')), { maxLength: 20 }),
      (closed) => {
        for (const { cidr, except } of publicBlocksWithout(closed)) {
          const block = addressRangeOf(cidr)
          assert.equal(new Set(except).size, except.length)
          for (const text of except) {
            const range = addressRangeOf(text)
            assert.ok(range !== null && block !== null && range.prefixBits > block.prefixBits && rangeHolds(block, range), text)
          }
        }
      },
    ),
  )
})

test('DNS is where the installation has it, and without peers it is nowhere', () => {
  const dnsPeers = [dns, { ipBlock: { cidr: '169.254.20.10/32' } }]
  assert.deepEqual(made([], known, { dnsPeers, dnsPorts: [5353] })[0]?.spec.egress[1], {
    to: dnsPeers,
    ports: [
      { protocol: 'UDP', port: 5353 },
      { protocol: 'TCP', port: 5353 },
    ],
  })
  for (const none of [{ dnsPeers: [] }, { dnsPorts: [] }]) assert.equal(made([], known, none)[0]?.spec.egress.length, 1)
})

test('no rule is without peers, which would open every way', () => {
  for (const one of made([policy([{ to }, { preset: 'internet-https' }])]))
    for (const rule of one.spec.egress) assert.ok(rule.to.length > 0)
})

test('a long name is cut, ends as a name may, and stays its policy’s own', () => {
  assert.equal(allowName('orders'), 'steno-allow-orders')
  const [one, other] = [`${'a'.repeat(41)}.${'b'.repeat(21)}`, `${'a'.repeat(41)}.${'c'.repeat(21)}`].map(allowName)
  assert.notEqual(one, other)
  for (const name of [one, other]) assert.match(name ?? '', /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])$/)
})

test('an address block that holds a database is told, unless its ports or exceptions leave it closed', () => {
  const opens = (entry: object): number => {
    const one = policy([entry])
    return openedDatabases(one, [one], known).length
  }
  const block = { cidr: '52.0.0.0/8' }
  assert.equal(opens({ to: [{ ipBlock: block }] }), 1)
  assert.equal(opens({ to: [{ ipBlock: block }], ports: [{ port: 5_000, endPort: 6_000 }] }), 1)
  assert.equal(opens({ to: [{ ipBlock: block }], ports: [{ port: 'postgres' }] }), 1)
  assert.equal(opens({ to: [{ ipBlock: block }], ports: [{ port: 443 }] }), 0)
  assert.equal(opens({ to: [{ ipBlock: block }], ports: [{ port: 5_432, protocol: 'UDP' }] }), 0)
  assert.equal(opens({ to: [{ ipBlock: { ...block, except: ['52.1.2.0/24'] } }] }), 0)
  assert.equal(opens({ to: [{ ipBlock: { cidr: '53.0.0.0/8' } }] }), 0)
  assert.equal(opens({ to }), 0)
})
