/**
 * Goal: agents notice nothing, whatever they know their database by; and what they did is recorded whole. Method: pods with every form of
 * environment, run by real clients, in a labelled namespace; then the auditor reads what control has.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { clusterTest, eventually, kubectl } from './support/kubectl.ts'
import { openRecordings, type Recordings } from './support/recordings.ts'
import { agentPod, databaseUrlVariable, databaseUser, inAgent, openShop, password, podOf, startAgent, type Shop } from './support/shop.ts'

let shop: Shop
let recordings: Recordings
const isThere = process.env['KUBECONFIG'] !== undefined

before(async () => {
  if (!isThere) return
  shop = await openShop()
  recordings = await openRecordings('default', { since: new Date() })
})
after(async () => {
  if (!isThere) return
  await recordings[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
})

const sql = 'select customer from orders where id = 7'
/** What each client is run with; all print the customer. */
const clients = {
  'psql with the URL': ['sh', '-c', `psql "$DATABASE_URL" -Atc "${sql}"`],
  'node-postgres': [
    'node',
    '-e',
    `const pg = require('pg'); const c = new pg.Client(process.env.DATABASE_URL); c.connect().then(() => c.query('select customer from orders where id = $1', [7])).then((r) => { console.log(r.rows[0].customer); return c.end() })`,
  ],
  'postgres.js': [
    'node',
    '--input-type=module',
    '-e',
    "import postgres from 'postgres'; const sql = postgres(process.env.DATABASE_URL); console.log((await sql`select customer from orders where id = ${7}`)[0].customer); await sql.end()",
  ],
  'psycopg with the URL': [
    'python3',
    '-c',
    "import os, psycopg; print(psycopg.connect(os.environ['DATABASE_URL']).execute('select customer from orders where id = %s', [7]).fetchone()[0])",
  ],
} as const

clusterTest('a pod with the URL in a Secret works with every client, and each session is recorded and verified', async () => {
  const { metadata } = await startAgent(shop.namespace, agentPod('by-secret'))
  for (const [client, command] of Object.entries(clients)) {
    assert.equal((await inAgent(shop.namespace, 'by-secret', command)).trim(), 'customer 7', client)
  }
  const sessions = await eventually('the sessions are stored', async () => {
    const found = await recordings.sessionsOf(metadata.uid)
    return found.length === Object.keys(clients).length && found.every(({ closed }) => closed !== null) ? found : null
  })
  for (const { session, identity } of sessions) {
    assert.equal(identity.user, databaseUser)
    assert.equal(identity.attested['podName'], 'by-secret')
    assert.equal(identity.attested['podNamespace'], shop.namespace)
    assert.match(identity.policy?.name ?? '', /orders/)
    // Drivers say something of their own before: BEGIN, or which types there are.
    const shown = await Promise.all(['1', '2', '3', '4'].map((number) => recordings.run(['show', session, '--statement', number])))
    assert.ok(shown.some(({ stdout }) => stdout.includes('customer 7')))
    const verified = await recordings.run(['verify', session])
    assert.equal(verified.status, 0, verified.stdout + verified.stderr)
  }
})

const url = (): string => shop.url
const secretKey = (key: string): object => ({ valueFrom: { secretKeyRef: { name: 'parts', key } } })

/** By name: the variables of the agent, and objects that must be there first. All are read by `psql "$DATABASE_URL"` or by libpq alone. */
const environments: Readonly<
  Record<
    string,
    () => {
      readonly env?: readonly object[]
      readonly container?: Readonly<Record<string, unknown>>
      readonly objects?: readonly object[]
      readonly isLibpq?: boolean
    }
  >
> = {
  'a literal URL': () => ({ env: [{ name: 'DATABASE_URL', value: url() }] }),
  'a literal URL with parameters of the client': () => ({
    env: [{ name: 'DATABASE_URL', value: `${url()}?sslmode=verify-full&application_name=shop&connect_timeout=9` }],
  }),
  'a key of a Secret': () => ({ env: [databaseUrlVariable] }),
  'a key of a ConfigMap': () => ({
    objects: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'plain-url' }, data: { url: url() } }],
    env: [{ name: 'DATABASE_URL', valueFrom: { configMapKeyRef: { name: 'plain-url', key: 'url' } } }],
  }),
  'envFrom of a Secret': () => ({
    objects: [{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'whole' }, stringData: { DATABASE_URL: url() } }],
    env: [],
    container: { envFrom: [{ secretRef: { name: 'whole' } }] },
  }),
  'envFrom of a Secret with a prefix': () => ({
    objects: [{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'prefixed' }, stringData: { URL: url() } }],
    env: [],
    container: { envFrom: [{ prefix: 'DATABASE_', secretRef: { name: 'prefixed' } }] },
  }),
  'a URL put together from other variables': () => ({
    env: [
      { name: 'DB_USER', value: databaseUser },
      { name: 'DB_SECRET', ...secretKey('password') },
      { name: 'DB_HOST', value: shop.databaseHost },
      { name: 'DATABASE_URL', value: 'postgresql://$(DB_USER):$(DB_SECRET)@$(DB_HOST):5432/shop' },
    ],
  }),
}

for (const [name, make] of Object.entries(environments)) {
  clusterTest(`an agent that knows its database by ${name} works and does not hold the credential`, async () => {
    const { env, container, objects = [] } = make()
    const podName = `by-${name.replaceAll(/[^a-z]+/gi, '-').toLowerCase()}`.slice(0, 50)
    const parts = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'parts' }, stringData: { password } }
    for (const object of [parts, ...objects]) await kubectl(['-n', shop.namespace, 'apply', '-f', '-'], JSON.stringify(object))
    await startAgent(shop.namespace, agentPod(podName, { ...(env && { env }), ...(container && { container }) }))
    assert.equal((await inAgent(shop.namespace, podName, clients['psql with the URL'])).trim(), 'customer 7')
    const environment = await inAgent(shop.namespace, podName, ['env'])
    assert.ok(!environment.includes(password), 'the agent’s environment holds the password')
    assert.match(environment, /^DATABASE_URL=postgres(ql)?:\/\/.*127\.0\.0\.1/m)
  })
}

clusterTest('libpq’s own variables work without a word in the command', async () => {
  await using other = await openShop({ database: { variables: [{ form: 'libpq', prefix: 'PG' }] } })
  const parts = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'parts' }, stringData: { password } }
  await kubectl(['-n', other.namespace, 'apply', '-f', '-'], JSON.stringify(parts))
  const env = [
    { name: 'PGHOST', value: other.databaseHost },
    { name: 'PGPORT', value: '5432' },
    { name: 'PGUSER', value: databaseUser },
    { name: 'PGPASSWORD', ...secretKey('password') },
    { name: 'PGDATABASE', value: 'shop' },
    { name: 'PGSSLMODE', value: 'verify-full' },
  ]
  await startAgent(other.namespace, agentPod('by-libpq', { env }))
  assert.equal((await inAgent(other.namespace, 'by-libpq', ['psql', '-Atc', sql])).trim(), 'customer 7')
  assert.ok(!(await inAgent(other.namespace, 'by-libpq', ['env'])).includes(password))
})

clusterTest('an init container uses the database too, before the agent starts', async () => {
  const initContainers = [
    {
      name: 'migrate',
      image: 'localhost/steno-e2e/client:1',
      imagePullPolicy: 'Never',
      command: ['sh', '-c', `psql "$DATABASE_URL" -Atc "${sql}" > /dev/termination-log`],
      env: [databaseUrlVariable],
    },
  ]
  await startAgent(shop.namespace, agentPod('with-init', { spec: { initContainers } }))
  const { status } = await podOf(shop.namespace, 'with-init')
  const migrate = status.initContainerStatuses?.find(({ name }) => name === 'migrate')
  assert.equal(migrate?.state.terminated?.message?.trim(), 'customer 7')
})
