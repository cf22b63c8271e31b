/**
 * Goal: what leaves the cluster helps, and holds no secret. Method: a cluster with secrets planted wherever Kubernetes keeps them, the plugin as it is
 * run, and the archive read by the machine's own tar.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { assertComputedWithin } from '../../base/test-durations.ts'
import { SupportBundleUnclean, assertClean, scrub } from './bundle/scrub.ts'
import { sidecarLogOf } from './bundle/sidecar-log.ts'
import { tarOf } from './bundle/tar.ts'
import { cleaned } from './support-bundle.ts'
import { createTestKubectl, type KubectlAnswers } from './test-kubectl.ts'

const planted = (what: string): string => `planted-${what}`
const key = `-----BEGIN PRIVATE KEY-----\n${planted('pem')}\n-----END PRIVATE KEY-----`
const token = `eyJhbGciOiJSUzI1NiJ9.eyJ${planted('jwt').replaceAll('-', '')}.c2lnbmF0dXJl`

const agentName = `agent-${'x'.repeat(120)}`
const container = (name: string): object => ({
  name,
  image: 'registry.example/steno:1',
  args: ['--password', planted('argument')],
  command: ['sh', '-c', `PGPASSWORD=${planted('command')} run`],
  env: [{ name: 'DATABASE_URL', value: `postgres://shop:${planted('variable')}@db/shop` }],
  ports: [{ name: 'metrics', containerPort: 8080 }],
  livenessProbe: { httpGet: { path: `/${planted('probe')}` } },
})
const podOf = (name: string, namespace: string): object => ({
  metadata: {
    name,
    namespace,
    labels: { 'steno.dev/injected': 'true' },
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': planted('annotation'), 'steno.dev/policy': 'shop/orders' },
  },
  spec: {
    initContainers: [container('steno')],
    containers: [container('agent')],
    volumes: [{ name: 'v', secret: { secretName: planted('volume') } }],
  },
  status: {
    phase: 'Running',
    initContainerStatuses: [{ name: 'steno', ready: true, restartCount: 0 }],
    containerStatuses: [
      {
        name: 'agent',
        ready: false,
        restartCount: 2,
        lastState: { terminated: { message: namespace === 'shop' ? planted('termination') : 'it ended' } },
      },
    ],
  },
})
const log = (more: object): string => JSON.stringify({ level: 'info', time: '2026-11-21T09:00:00.000Z', msg: 'listening', ...more })
const list = (...items: object[]): object => ({ items })

const answers: KubectlAnswers = {
  version: { clientVersion: { gitVersion: 'v1.33.1' }, serverVersion: { gitVersion: 'v1.33.1' } },
  'get nodes': list({ metadata: { name: 'node-1' }, status: { nodeInfo: { kubeletVersion: 'v1.33.1', machineID: planted('machine') } } }),
  'get -n steno-system deployments': list({
    metadata: { name: 'steno-control' },
    spec: { replicas: 1, template: { spec: { containers: [container('control')] } } },
  }),
  'get -n steno-system pods': list(podOf('steno-control-1', 'steno-system')),
  'get -n steno-system events': list({
    reason: 'Failed',
    message: `cannot use postgres://u:${planted('event')}@db`,
    involvedObject: { kind: 'Pod', name: 'x' },
  }),
  'get -n steno-system leases': list(),
  'get -n steno-system networkpolicies': list(),
  'logs -n steno-system steno-control-1 --all-containers --tail=2000 --limit-bytes=8388608': [
    log({
      database: `postgresql://u:${planted('url')}@h/db`,
      header: `Bearer ${planted('bearer')}`,
      key,
      token,
      text: `password=${planted('word')} next`,
    }),
    log({ msg: 'kept line' }),
  ].join('\n'),
  'logs -n steno-system steno-control-1 --all-containers --tail=2000 --limit-bytes=8388608 --previous': log({ msg: 'of before' }),
  'get --raw /api/v1/namespaces/steno-system/pods/steno-control-1:8080/proxy/metrics': 'steno_control_streams 3\n',
  'get clustersessionpolicies.steno.dev': list(),
  'get recordingstores.steno.dev': list({ kind: 'RecordingStore', metadata: { name: 'default' }, spec: { type: 'volume' } }),
  'get admissionparameters.steno.dev': { stderr: 'Error from server (Forbidden): admissionparameters is forbidden: User "x" cannot list' },
  'get -A sessionpolicies.steno.dev': list({
    kind: 'SessionPolicy',
    metadata: { name: 'orders', namespace: 'shop' },
    spec: { databases: [] },
    status: {},
  }),
  'get mutatingwebhookconfigurations -l app.kubernetes.io/name=steno': list({
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'steno' },
    webhooks: [{ name: 'pods.steno.dev', clientConfig: { caBundle: Buffer.from(planted('bundle')).toString('base64') } }],
  }),
  'get validatingadmissionpolicies -l app.kubernetes.io/name=steno': list({
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: 'steno-sidecar' },
  }),
  'get validatingadmissionpolicybindings -l app.kubernetes.io/name=steno': list(),
  'get customresourcedefinitions -l app.kubernetes.io/name=steno': list(),
  'get namespaces -l steno.dev/inject=enabled': list({ metadata: { name: 'shop' } }),
  'get -n shop events': list(),
  'get -n shop networkpolicies': list(),
  'get -A pods -l steno.dev/injected=true': list(podOf(agentName, 'shop')),
  [`logs -n shop ${agentName} -c steno --tail=200 --limit-bytes=8388608`]: [
    log({ msg: 'the sidecar’s own' }),
    JSON.stringify({ time: '2026-11-21T09:00:00.000Z', event: 'statement', sql: `select '${planted('statement')}'` }),
    `Error: ${planted('stack')}`,
    `{"level":"info","time":"","msg":"half ${planted('half')}`,
  ].join('\n'),
}

/** Every file of the archive, by its path below the archive's folder. */
function unpacked(archive: string, into: string): Map<string, string> {
  const folder = mkdtempSync(path.join(into, 'unpacked-'))
  execFileSync('tar', ['-xzf', archive, '-C', folder])
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return new Map(
    files.map((entry) => {
      const file = path.join(entry.parentPath, entry.name)
      return [path.relative(folder, file).split('/').slice(1).join('/'), readFileSync(file, 'utf8')]
    }),
  )
}

test('the archive has what helps, and none of the secrets that were planted in the cluster', async () => {
  using kubectl = createTestKubectl(answers)
  const archive = path.join(kubectl.folder, 'bundle.tar.gz')
  const { code, stdout, stderr } = await kubectl.steno(['support-bundle', '-o', archive])
  assert.deepEqual([code, stdout], [0, ''], stderr)
  assert.match(stderr, /log and metrics of steno-control-1[\s\S]*files in .*bundle\.tar\.gz/)
  assert.equal(statSync(archive).mode & 0o777, 0o600)
  const files = unpacked(archive, kubectl.folder)
  const all = [...files].map(([name, text]) => `${name}\n${text}`).join('\n')
  for (const [found] of all.matchAll(/planted\S{0,20}/g)) assert.fail(`${found} is in the archive`)
  assert.ok(!all.includes(token) && !all.includes('PRIVATE KEY-----'))

  assert.match(files.get('versions.json') ?? '', /v1\.33\.1/)
  assert.match(files.get('steno/logs/steno-control-1.log') ?? '', /kept line/)
  assert.match(files.get('steno/logs/steno-control-1.previous.log') ?? '', /of before/)
  assert.match(files.get('steno/metrics/steno-control-1.txt') ?? '', /steno_control_streams 3/)
  assert.match(files.get('steno/pods.json') ?? '', /"variables": \[\s*"DATABASE_URL"/)
  assert.match(files.get('cluster/validatingadmissionpolicies.json') ?? '', /steno-sidecar/)
  assert.match(files.get('cluster/mutatingwebhookconfigurations.json') ?? '', /authoritySha256": "[0-9a-f]{64}"/)
  assert.match(files.get('README.txt') ?? '', /- cluster\/admissionparameters\.json: .*forbidden/)
  const sidecarLog = [...files].find(([name]) => /^agents\/shop\/agent-x+-[0-9a-f]{12}\.log$/.test(name))?.[1]
  assert.match(sidecarLog ?? '', /the sidecar’s own[\s\S]*\(3 lines that are not of the log/)
  for (const asked of kubectl.asked()) assert.doesNotMatch(asked, /\bsecrets?\b|configmaps?/)
})

test('with --json it says what is in it, and standard error stays empty', async () => {
  using kubectl = createTestKubectl(answers)
  const archive = path.join(kubectl.folder, 'bundle.tar.gz')
  const { code, stdout, stderr } = await kubectl.steno(['support-bundle', '-o', archive, '--json'])
  assert.deepEqual([code, stderr], [0, ''])
  const told = JSON.parse(stdout) as { file: string; files: { path: string; bytes: number }[]; missing: { what: string; why: string }[] }
  assert.equal(told.file, archive)
  const files = unpacked(archive, kubectl.folder)
  assert.deepEqual(told.files.map((each) => each.path.split('/').slice(1).join('/')).sort(), [...files.keys()].sort())
  assert.deepEqual(
    told.missing.map(({ what }) => what),
    ['cluster/admissionparameters.json'],
  )
})

test('a cluster that does not answer ends it with its reason and no file; two answers on one output are used wrongly', async () => {
  using kubectl = createTestKubectl({
    version: { stderr: 'The connection to the server x was refused - did you specify the right host or port?' },
  })
  const archive = path.join(kubectl.folder, 'bundle.tar.gz')
  const failed = await kubectl.steno(['support-bundle', '-o', archive])
  assert.equal(failed.code, 1)
  assert.match(failed.stderr, /KUBECTL_FAILED/)
  assert.ok(!existsSync(archive))
  assert.equal((await kubectl.steno(['support-bundle', '--json', '-o', '-'])).code, 2)
})

for (const [what, text] of [
  ['a connection string', 'postgres://user:p4ss@db:5432/x'],
  ['a password with @ and : and /', 'postgres://user:p@s:s/w@db/x'],
  ['one inside of JSON inside of JSON', JSON.stringify({ a: JSON.stringify({ url: 'postgres://user:p4"ss@db/x' }) })],
  ['a user that is no word', 'see amqp://us%20er:p4ss@host'],
  ['a libpq string', "host=db password='p4ss word' user=x"],
  ['a field', '{"secretAccessKey":"p4ss","region":"x"}'],
  ['a field in JSON in JSON', JSON.stringify({ a: '{"password":"p4ss"}' })],
  ['a header', 'authorization: Bearer p4ssp4ssp4ss'],
  ['half a key', 'before -----BEGIN EC PRIVATE KEY-----\np4ss'],
  ['an access key', 'AKIAP4SSP4SSP4SSP4SS'],
  ['a token as a password', `postgres://user:${'p4ss'.repeat(500)}@db/x`],
] as const) {
  test(`what is written like a credential is taken out: ${what}`, () => {
    const scrubbed = scrub(text)
    assert.doesNotMatch(scrubbed, /p4|P4SS|s\/w/)
    assert.match(scrubbed, /\[removed\]/)
    assert.equal(scrub(scrubbed), scrubbed)
    assertClean('x', scrubbed)
  })
}

test('what only looks alike is left: addresses, public keys, times, names of Secrets', () => {
  for (const text of [
    'https://steno-control.steno-system.svc:443/v1/stream',
    'at 09:00:00 a@b said https://x:8443 and mail@example.com',
    '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----',
    '{"secret":"orders","keys":["url"],"time":"2026-11-21T09:00:00Z"}',
  ])
    assert.equal(scrub(text), text)
})

test('a line of a megabyte without an end is looked through as fast as any', () => {
  for (const piece of ['a-', 'a', 'a.b:', 'password', 'eyJ', '-----BEGIN ', "'"]) {
    const text = piece.repeat(1_000_000 / piece.length)
    assertComputedWithin(20_000, () => assertClean('x', scrub(text)), piece)
  }
})

test('what slips through is found again, and nothing is written', () => {
  for (const text of ['postgres://user:p4ss@db', '-----END PRIVATE KEY-----', 'eyJhbGciOiJS.eyJzdWIiOiJ4In0'])
    assert.throws(
      () => assertClean('steno/x.log', text),
      (error) => error instanceof SupportBundleUnclean && !error.message.includes(text),
    )
  assert.throws(() => cleaned({ texts: new Map([['a', 'x -----END PRIVATE KEY-----']]) }, ''), SupportBundleUnclean)
})

test('of a sidecar’s output only log lines are kept', () => {
  const { lines, leftOut } = sidecarLogOf(`${log({})}\n${log({ event: 'statement' })}\n${log({ sql: 'x' })}\nnull\n[]\nselect 1\n\n`)
  assert.deepEqual([lines, leftOut], [[log({})], 5])
})

test('long paths are cut at a slash as tar wants it, and times and sizes are right', () => {
  const folder = mkdtempSync('/tmp/steno-tar-')
  try {
    const files = [1, 511, 512, 513, 100_000].map((bytes) => ({
      path: `${'d'.repeat(60)}/${'e'.repeat(60)}/${bytes}-${'f'.repeat(60)}`,
      bytes: Buffer.alloc(bytes, 'x'),
    }))
    const listed = execFileSync('tar', ['-tvf', '-', '--utc', '--numeric-owner'], {
      input: tarOf(files, Date.UTC(2026, 10, 21, 9)),
    }).toString()
    assert.deepEqual(
      listed
        .trim()
        .split('\n')
        .map((line) => line.replaceAll(/\s+/g, ' ')),
      files.map((file) => `-rw------- 0/0 ${file.bytes.length} 2026-11-21 09:00 ${file.path}`),
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})
