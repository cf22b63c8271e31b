/**
 * Objects that are refused, with what is said: one table for the reader in `read-object.ts` and for a real API server, so that both say the
 * same. Each row spoils one field of an object that is good.
 */
type Value = null | boolean | number | string | readonly Value[] | { readonly [name: string]: Value }
type Plain = { [name: string]: Plain | Value }
export type PlainObject = Plain & { readonly apiVersion: string; readonly kind: string; readonly metadata: { readonly name: string } }

const database = { name: 'orders', hosts: ['orders.db.example.com'], databaseNames: ['orders'] }

/** The good ones, by kind; each call gives fresh objects. */
const good = {
  SessionPolicy: () => ({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name: 'orders' },
    spec: { databases: [{ ...database }] },
  }),
  ClusterSessionPolicy: () => ({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'ClusterSessionPolicy',
    metadata: { name: 'crds-test' },
    spec: { ceiling: { hosts: ['*'], addressRanges: ['10.0.0.0/8'] } },
  }),
  RecordingStore: () => ({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'RecordingStore',
    metadata: { name: 'crds-test' },
    spec: { type: 's3', s3: { bucket: 'recordings', region: 'eu-central-1', credentials: { secretName: 'bucket' } } },
  }),
  AdmissionParameters: () => ({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'AdmissionParameters',
    metadata: { name: 'steno' },
    spec: { images: ['localhost/steno:1'], stenoNamespace: 'steno-system' },
  }),
} satisfies Record<string, () => Plain>

export type BadObject = {
  /** What is bad, as the end of a sentence. */
  readonly what: string
  readonly object: PlainObject
  /** What both say. */
  readonly says: string
  /** What the API server says, where the message is its own. */
  readonly serverSays: string
}

const row =
  (kind: keyof typeof good) =>
  (what: string, path: string, value: Value | undefined, says: string, serverSays = says): BadObject => {
    const object: Plain = good[kind]()
    const names = path.split('.')
    const last = names.pop() ?? ''
    const place = names.reduce<Plain>((at, name) => {
      at[name] ??= {}
      return at[name] as Plain
    }, object)
    if (value === undefined) delete place[last]
    else place[last] = value
    return { what: `${kind} ${what}`, object: object as PlainObject, says, serverSays }
  }

const policy = row('SessionPolicy')
const cluster = row('ClusterSessionPolicy')
const store = row('RecordingStore')
const parameters = row('AdmissionParameters')

const first = 'spec.databases.0'
const url = (name: string): Value => ({ form: 'url', name })
const hostMessage = 'a host is a name (db.example.com), a wildcard for whole labels at the front (*.example.com) or an address'
const rangeMessage = 'an address range is written as 10.0.0.0/8 or fd00::/8: add the prefix length'
const quantityMessage = 'write a quantity as 100m, 512Mi or 2Gi'
const spoolMessage = 'must be from 64Mi to 64Gi: write it as a quantity of bytes, such as 512Mi'
const parameterMessage = "parameters are for the agent's client: remove those that steno sets"
const peerMessage = 'a peer is either an ipBlock, or a namespaceSelector, a podSelector or both'
const allowMessage = 'a rule without `to` would open every way, so name the peers'
const certificateMessage = 'must be certificates in PEM (-----BEGIN CERTIFICATE-----) and no private key'
const doubleVariable =
  'two databases are carried by the same variable, so agents could not tell them apart: give each database `variables` of its own'

const policies: readonly BadObject[] = [
  policy('with a name too long for annotations', 'metadata.name', 'a'.repeat(64), 'shorten it to 63 characters'),
  policy('without databases', 'spec.databases', undefined, 'spec.databases: must be given', 'spec.databases: Required value'),
  policy('with an empty list of databases', 'spec.databases', [], 'must be at least 1 items long', 'should have at least 1 items'),
  policy(
    'with more databases than there may be',
    'spec.databases',
    Array.from({ length: 17 }, (_, at) => ({ ...database, name: `d${at}`, variables: [url(`U${at}`)] })),
    'must be at most 16 items long',
    'Too many: 17: must have at most 16 items',
  ),
  policy('with two databases of one name', 'spec.databases', [database, { ...database, variables: [url('OTHER')] }], 'Duplicate value'),
  policy('with two databases in the default variable', 'spec.databases', [database, { ...database, name: 'reports' }], doubleVariable),
  policy(
    'with two databases under one prefix',
    'spec.databases',
    [
      { ...database, variables: [{ form: 'libpq', prefix: 'PG' }] },
      { ...database, name: 'reports', variables: [url('R'), { form: 'libpq', prefix: 'PG' }] },
    ],
    doubleVariable,
  ),
  policy(
    'with two databases on one port',
    'spec.databases',
    [
      { ...database, localPort: 20_000 },
      { ...database, name: 'reports', variables: [url('R')], localPort: 20_000 },
    ],
    'two databases have the same localPort: give each its own, or leave localPort out',
  ),
  policy('with a database name that is no label', `${first}.name`, 'Orders', 'must match', 'should match'),
  policy('with another engine', `${first}.engine`, 'mysql', 'must be one of postgresql', 'supported values: "postgresql"'),
  policy('with a URL as host', `${first}.hosts`, ['postgresql://db.example.com'], hostMessage),
  policy('with a port behind the host', `${first}.hosts`, ['db.example.com:5432'], hostMessage),
  policy('with a wildcard in the middle', `${first}.hosts`, ['db.*.example.com'], hostMessage),
  policy('with a wildcard for everything', `${first}.hosts`, ['*'], hostMessage),
  policy('with an address that is none', `${first}.hosts`, ['10.0.0.256'], hostMessage),
  policy('with an address in brackets', `${first}.hosts`, ['[fd00::5]'], hostMessage),
  policy('with the same host twice', `${first}.hosts`, ['a.example.com', 'a.example.com'], 'Duplicate value'),
  policy('without hosts', `${first}.hosts`, [], 'must be at least 1 items long', 'should have at least 1 items'),
  policy('with port 0', `${first}.port`, 0, 'must be at least 1', 'should be greater than or equal to 1'),
  policy('with a port in quotes', `${first}.port`, '5432', 'must be a number', 'must be of type integer'),
  policy('without database names', `${first}.databaseNames`, undefined, 'databaseNames: must be given', 'databaseNames: Required value'),
  policy(
    'with an unknown TLS mode',
    `${first}.tls`,
    { mode: 'prefer' },
    'must be one of disable, require, verify-ca, verify-full',
    'supported values: "disable", "require", "verify-ca", "verify-full"',
  ),
  policy(
    'with authorities that the mode does not use',
    `${first}.tls`,
    { mode: 'require', ca: { configMapKeyRef: { name: 'ca', key: 'ca.crt' } } },
    'tls.ca is used by verify-ca and verify-full only: raise tls.mode to one of them, or remove tls.ca',
  ),
  policy(
    'with authorities from two places',
    `${first}.tls`,
    { ca: { configMapKeyRef: { name: 'ca', key: 'ca.crt' }, secretKeyRef: { name: 'ca', key: 'ca.crt' } } },
    'give exactly one of configMapKeyRef, secretKeyRef and inline',
  ),
  policy('with authorities from nowhere', `${first}.tls`, { ca: {} }, 'give exactly one of configMapKeyRef, secretKeyRef and inline'),
  policy('with inline text that is no certificate', `${first}.tls`, { ca: { inline: 'trust me' } }, certificateMessage),
  policy(
    'with a private key beside the certificate',
    `${first}.tls`,
    { ca: { inline: '-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----' } },
    certificateMessage,
  ),
  policy(
    'with a variable of no form',
    `${first}.variables`,
    [{ name: 'DATABASE_URL' }],
    'must be one of url, libpq',
    'form: Required value',
  ),
  policy(
    'with a variable of an unknown form',
    `${first}.variables`,
    [{ form: 'json', name: 'DATABASE_URL' }],
    'must be one of url, libpq',
    'supported values: "url", "libpq"',
  ),
  policy(
    'with form url and a prefix',
    `${first}.variables`,
    [{ form: 'url', name: 'A', prefix: 'PG' }],
    '`prefix` does not belong to `form: url`: remove it, or choose another form',
  ),
  policy('with form url and no name', `${first}.variables`, [{ form: 'url' }], '`form: url` needs `name`: add it, or choose another form'),
  policy(
    'with form libpq and no prefix',
    `${first}.variables`,
    [{ form: 'libpq' }],
    '`form: libpq` needs `prefix`: add it, or choose another form',
  ),
  policy(
    'with form libpq and a scheme',
    `${first}.variables`,
    [{ form: 'libpq', prefix: 'PG', scheme: 'postgres' }],
    '`scheme` does not belong to `form: libpq`',
  ),
  policy('with a variable name that no shell takes', `${first}.variables`, [url('DATABASE-URL')], 'must match', 'should match'),
  policy(
    'with a password among the parameters',
    `${first}.variables`,
    [{ form: 'url', name: 'A', parameters: { password: 'x' } }],
    parameterMessage,
  ),
  policy(
    'with a parameter that is no name',
    `${first}.variables`,
    [{ form: 'url', name: 'A', parameters: { 'a=b&host': 'x' } }],
    parameterMessage,
  ),
  policy(
    'with the sidecar’s own port',
    `${first}.localPort`,
    15_090,
    'localPort 15090 is where the sidecar answers the kubelet: choose another port',
  ),
  policy('with a privileged port', `${first}.localPort`, 80, 'must be at least 1024', 'should be greater than or equal to 1024'),
  policy('with a level in capitals', 'spec.recording', { level: 'Statements' }, 'must be one of', 'Unsupported value'),
  policy('with a level that there is not', 'spec.recording', { level: 'everything' }, 'must be one of', 'Unsupported value'),
  policy('with a spool too small', 'spec.recording', { spoolBytesMax: '63Mi' }, spoolMessage),
  policy('with a spool too large', 'spec.recording', { spoolBytesMax: '65Gi' }, spoolMessage),
  policy('with a spool in a unit that is none', 'spec.recording', { spoolBytesMax: '512MiB' }, 'must match', 'should match'),
  policy(
    'with a spool age in the wrong unit',
    'spec.recording',
    { spoolAgeSecondsMax: 3_600_000 },
    'must be at most 604800',
    'should be less than or equal to 604800',
  ),
  policy(
    'with a failure mode that is none',
    'spec.recording',
    { onFailure: 'ignore' },
    'must be one of block, continue',
    'supported values: "block", "continue"',
  ),
  policy(
    'with an unknown enforcement',
    'spec.enforcement',
    { mode: 'None' },
    'must be one of Relay, CredentialsOnly',
    'supported values: "Relay", "CredentialsOnly"',
  ),
  policy('with an egress rule to everywhere', 'spec.network', { allow: [{ ports: [{ port: 443 }] }] }, allowMessage),
  policy('with a preset and peers', 'spec.network', { allow: [{ preset: 'internet-https', to: [{ podSelector: {} }] }] }, allowMessage),
  policy('with an empty peer', 'spec.network', { allow: [{ to: [{}] }] }, peerMessage),
  policy(
    'with a peer of two sorts',
    'spec.network',
    { allow: [{ to: [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }] }] },
    peerMessage,
  ),
  policy('with an address where a range belongs', 'spec.network', { allow: [{ to: [{ ipBlock: { cidr: '10.0.0.5' } }] }] }, rangeMessage),
  policy(
    'with a range of ports from a name',
    'spec.network',
    { allow: [{ to: [{ podSelector: {} }], ports: [{ port: 'http', endPort: 90 }] }] },
    'endPort needs a numeric port that is not above it',
  ),
  policy(
    'with a backward range of ports',
    'spec.network',
    { allow: [{ to: [{ podSelector: {} }], ports: [{ port: 91, endPort: 90 }] }] },
    'endPort needs a numeric port that is not above it',
  ),
  policy(
    'with a selector In without values',
    'spec.selector',
    { matchExpressions: [{ key: 'app', operator: 'In' }] },
    'operators In and NotIn need `values`',
  ),
  policy(
    'with a selector Exists with values',
    'spec.selector',
    { matchExpressions: [{ key: 'app', operator: 'Exists', values: ['a'] }] },
    'operators In and NotIn need `values`',
  ),
  policy(
    'with a key of a Secret that cannot be one',
    'spec.secrets',
    { allowKeys: [{ secret: 'orders', keys: ['a/b'] }] },
    'must match',
    'should match',
  ),
  policy(
    'with one Secret twice',
    'spec.secrets',
    {
      allowKeys: [
        { secret: 'orders', keys: ['a'] },
        { secret: 'orders', keys: ['b'] },
      ],
    },
    'Duplicate value',
  ),
  policy('with a quantity that is none', 'spec.sidecar', { resources: { limits: { cpu: 'much' } } }, quantityMessage),
  policy('with a negative quantity', 'spec.sidecar', { resources: { requests: { memory: '-1Mi' } } }, quantityMessage),
  policy(
    'with too little memory for a sidecar',
    'spec.sidecar',
    { resources: { limits: { memory: '64Mi' } } },
    'limits.memory below 96Mi would have the sidecar killed: raise it, or leave it out for 256Mi',
  ),
  policy(
    'with too little memory as a number',
    'spec.sidecar',
    { resources: { limits: { memory: 1024 } } },
    'limits.memory below 96Mi would have the sidecar killed',
  ),
]

const others: readonly BadObject[] = [
  cluster(
    'with a ceiling of hosts alone',
    'spec.ceiling',
    { hosts: ['*.example.com'] },
    'addressRanges: must be given',
    'addressRanges: Required value',
  ),
  cluster('with a ceiling range that is an address', 'spec.ceiling.addressRanges', ['10.1.2.3'], rangeMessage),
  cluster('with an impossible prefix length', 'spec.ceiling.addressRanges', ['10.0.0.0/33'], rangeMessage),
  cluster('with a ceiling host that is none', 'spec.ceiling.hosts', ['https://example.com'], hostMessage),
  cluster('with a floor that is no level', 'spec.floor', { recording: { level: 'rows' } }, 'must be one of', 'Unsupported value'),
  cluster(
    'with a floor that loosens',
    'spec.floor',
    { recording: { onFailure: 'continue' } },
    'must be one of block',
    'supported values: "block"',
  ),
  cluster(
    'with an exemption for no namespace',
    'spec.exemptPods',
    [{ namespaces: [], reason: 'none' }],
    'must be at least 1 items long',
    'should have at least 1 items',
  ),
  cluster(
    'with an exemption without reason',
    'spec.exemptPods',
    [{ namespaces: ['shop'], reason: '  ' }],
    'an exemption needs a reason that an auditor can read',
  ),
  cluster(
    'with a foreign init container of any image',
    'spec.foreignInitContainers',
    [{ name: 'istio-init', image: '' }],
    'must be at least 1 characters long',
    'should be at least 1 chars long',
  ),
  store('of an unknown type', 'spec.type', 'gcs', 'must be one of volume, s3', 'supported values: "volume", "s3"'),
  store('of type volume with a bucket', 'spec.type', 'volume', '`s3` does not belong to `type: volume`: remove it, or choose another type'),
  store('of type s3 without s3', 'spec.s3', undefined, '`type: s3` needs `s3`: add it, or choose another type'),
  store('with a bucket that cannot be one', 'spec.s3.bucket', 'Recordings', 'must match', 'should match'),
  store('with a slash before the prefix', 'spec.s3.prefix', '/steno', 'must match', 'should match'),
  store(
    'with credentials in the endpoint',
    'spec.s3.endpoint',
    'https://key:secret@objects.example.com',
    'endpoint is a URL of the form https://host:port: leave out path, query and credentials',
  ),
  store(
    'with a path in the endpoint',
    'spec.s3.endpoint',
    'https://objects.example.com/bucket',
    'endpoint is a URL of the form https://host:port',
  ),
  store(
    'without region and endpoint',
    'spec.s3.region',
    undefined,
    'region is missing: write the bucket’s region, or the endpoint of the service that has it',
  ),
  store(
    'with two sorts of credentials',
    'spec.s3.credentials',
    { secretName: 'bucket', workloadIdentity: true },
    'give either credentials.secretName or credentials.workloadIdentity: true, and not both',
  ),
  store(
    'without credentials',
    'spec.s3.credentials',
    { workloadIdentity: false },
    'give either credentials.secretName or credentials.workloadIdentity: true, and not both',
  ),
  parameters('under another name', 'metadata.name', 'other', 'there is one object of this kind, and it is called steno: edit that one'),
  parameters('without images', 'spec.images', [], 'must be at least 1 items long', 'should have at least 1 items'),
]

export const badObjects: readonly BadObject[] = [...policies, ...others]
export const goodObjects: readonly PlainObject[] = Object.values(good).map((make) => make())
