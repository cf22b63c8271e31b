/**
 * Goal: with kubectl alone people see what steno does, and auditors read what it recorded; others cannot. Method: the plugin as kubectl runs
 * it, on a real cluster with a shop in it, as an administrator, as an auditor with the one Role, and as a developer with `edit`; then every
 * command of docs/kubectl.md as it stands there.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runToEnd } from '../../tools/run-to-end.ts'
import { apply, clusterTest, createNamespace, eventually, kubectl, type Ran } from './support/kubectl.ts'
import { agentPod, inAgent, openShop, password, startAgent, type Shop } from './support/shop.ts'

const project = fileURLToPath(new URL('../../', import.meta.url))
const isThere = process.env['KUBECONFIG'] !== undefined
const sql = 'select customer from orders where id = 7'
let shop: Shop
let people: Awaited<ReturnType<typeof createNamespace>>
let folder = ''
let auditor = ''
let developer = ''

before(async () => {
  if (!isThere) return
  folder = mkdtempSync(path.join(tmpdir(), 'steno-plugin-'))
  shop = await openShop()
  people = await createNamespace('t-plugin')
  auditor = await becomes('auditor', { namespace: 'steno-system', role: { kind: 'Role', name: 'steno-auditor' } })
  developer = await becomes('developer', { namespace: shop.namespace, role: { kind: 'ClusterRole', name: 'edit' } })
  await startAgent(shop.namespace, agentPod('agent'))
  assert.equal((await inAgent(shop.namespace, 'agent', ['sh', '-c', `psql "$DATABASE_URL" -Atc "${sql}"`])).trim(), 'customer 7')
  await eventually('the session is stored', async () => {
    const found = await steno(['sessions', '--json', '--pod', `${shop.namespace}/agent`])
    return found.stdout.includes('"state":"closed"') ? found : null
  })
})
after(async () => {
  if (!isThere) return
  await kubectl(['-n', 'steno-system', 'delete', 'rolebinding', people.name, '--ignore-not-found'])
  await people[Symbol.asyncDispose]()
  await shop[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

type Binding = { readonly namespace: string; readonly role: { readonly kind: string; readonly name: string } }

/** A ServiceAccount with one role and nothing else, as a kubeconfig. */
async function becomes(name: string, { namespace, role }: Binding): Promise<string> {
  await apply([
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: people.name } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: people.name, namespace },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', ...role },
      subjects: [{ kind: 'ServiceAccount', name, namespace: people.name }],
    },
  ])
  const token = (await kubectl(['-n', people.name, 'create', 'token', name])).trim()
  const config = JSON.parse(await kubectl(['config', 'view', '--minify', '--flatten', '--raw', '-o', 'json'])) as {
    users: { name: string; user: object }[]
  }
  const file = path.join(folder, `${name}.json`)
  writeFileSync(file, JSON.stringify({ ...config, users: config.users.map((user) => ({ ...user, user: { token } })) }), { mode: 0o600 })
  return file
}

/** As kubectl runs it: by its name on PATH. */
function run(command: string, args: readonly string[], kubeconfig = process.env['KUBECONFIG'], input = ''): Promise<Ran> {
  const env = { ...process.env, KUBECONFIG: kubeconfig, HOME: folder, PATH: `${project}bin:${process.env['PATH'] ?? ''}` }
  return runToEnd(command, args, { cwd: project, env, input })
}

const steno = (args: readonly string[], kubeconfig?: string, input?: string): Promise<Ran> =>
  run('kubectl', ['steno', ...args], kubeconfig, input)

async function told(args: readonly string[], kubeconfig?: string, input?: string): Promise<string> {
  const { code, stdout, stderr } = await steno(args, kubeconfig, input)
  assert.equal(code, 0, `kubectl steno ${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

type Concern = { readonly severity: string; readonly what: string; readonly message: string; readonly remedy: string | null }

/** What is said of a namespace and its policies: tests beside this one break stores of their own on the same cluster. */
async function concernsOf(namespace: string): Promise<Concern[]> {
  const { stdout, stderr } = await steno(['status', '-n', namespace, '--json'])
  assert.equal(stderr, '')
  return (JSON.parse(stdout) as { concerns: Concern[] }).concerns.filter(({ what }) => what.includes(namespace))
}

clusterTest('status says that all is well with the shop, and what its policy leaves open', async () => {
  const shown = await eventually('the policy is judged', async () => {
    const { stdout } = await steno(['status', '-n', shop.namespace])
    return /orders +True +1 +1 +0 +0 +True +True +True/.test(stdout) ? stdout : null
  })
  assert.deepEqual(
    (await concernsOf(shop.namespace)).map(({ severity }) => severity),
    ['note'],
  )
  assert.match(shown, /NOTE +SessionPolicy \S+orders: EgressEnforced: CredentialsOnly/)
  assert.match(shown, /steno-control +\d\/\d +\S+/)
  assert.doesNotMatch(shown, /Not looked at/)
})

clusterTest('recordings are said to be stored when something was, and not before a session began', async () => {
  await using idle = await openShop()
  await startAgent(idle.namespace, agentPod('idle'))
  const saidOf = async (wanted: RegExp): Promise<string> =>
    eventually(`status says ${wanted}`, async () => {
      const { stdout } = await steno(['status', '-n', idle.namespace])
      return wanted.test(stdout) ? stdout : null
    })
  const shown = await saidOf(/orders +True +1 +1 +0 +0 +True +Unknown \(NothingRecorded\)/)
  assert.doesNotMatch(shown, /^(?:ERROR|WARNING) .*idle/m)
  assert.match(await told(['explain', 'idle', '-n', idle.namespace]), /^ +Recorded: +UNKNOWN, NothingRecorded since 20/m)
  await inAgent(idle.namespace, 'idle', ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 1"'])
  await saidOf(/orders +True +1 +1 +0 +0 +True +True/)
  await kubectl(['-n', idle.namespace, 'delete', 'pod', 'idle', '--wait=false', '--grace-period=30'])
  const going = await steno(['explain', 'idle', '-n', idle.namespace])
  if (going.code === 0) assert.match(going.stdout, /^Outcome: +TERMINATING: /m)
  else assert.match(going.stderr, /OBJECT_NOT_FOUND/)
})

clusterTest('status names a pod without a sidecar, with the command that finds it, and ends with 1', async () => {
  await using bare = await openShop({ labels: {} })
  await startAgent(bare.namespace, agentPod('older'))
  await kubectl(['label', 'namespace', bare.namespace, 'steno.dev/inject=enabled'])
  const found = await eventually('the pod is seen to be bare', async () =>
    (await concernsOf(bare.namespace)).find(({ message }) => message.startsWith('1 of 1 pods have no sidecar')),
  )
  assert.equal(found.severity, 'error')
  assert.equal((await steno(['status', '-n', bare.namespace])).code, 1)
  const [, command = ''] = /^(kubectl get pods .*?) names them/.exec(found.remedy ?? '') ?? []
  assert.match((await run('/bin/sh', ['-c', command])).stdout, /older/)
  const explained = await told(['explain', 'older', '-n', bare.namespace])
  assert.match(explained, /Outcome: +BARE/)
  assert.ok(!explained.includes(password))
})

clusterTest('explain says that the pod has what it would be given now, where its credential went, and shows no secret', async () => {
  const shown = await told(['explain', 'pod/agent', '-n', shop.namespace])
  assert.match(shown, /^Outcome: +current: exactly the sidecar that it would be given now$/m)
  assert.match(shown, new RegExp(`^Policies: +${shop.namespace}/orders$`, 'm'))
  assert.match(shown, /Used by: +agent: DATABASE_URL leads to 127\.0\.0\.1:15432/)
  assert.match(shown, /Credential: +STENO_SOURCE_0_DATABASE_URL from Secret orders, key url/)
  assert.ok(!shown.includes(password))
  const asJson = JSON.parse(await told(['explain', 'agent', '-n', shop.namespace, '--json'])) as Record<string, unknown>
  assert.equal(asJson['outcome'], 'unchanged')
})

clusterTest('a policy that changes: the pod that follows it needs nothing, and one that cannot says what waits', async () => {
  const give = (spoolBytesMax: string): Promise<string> =>
    kubectl([
      '-n',
      shop.namespace,
      'patch',
      'sessionpolicy',
      'orders',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { recording: { spoolBytesMax } } }),
    ])
  const outcome = async (expected: RegExp): Promise<string> =>
    eventually(`explain says ${expected}`, async () => {
      const shown = await told(['explain', 'agent', '-n', shop.namespace])
      return expected.test(shown) ? shown : null
    })
  const stale = async (count: number): Promise<unknown> =>
    eventually(`${count} pods are stale`, async () => {
      const { stdout } = await steno(['status', '-n', shop.namespace])
      return new RegExp(`orders +True +1 +${1 - count} +${count} +0 `).test(stdout) ? true : null
    })
  try {
    await give('128Mi')
    await outcome(/^Outcome: +current policy, made by an earlier one/m)
    await stale(0)
    await give('1Gi') // More than the volume that the pod was made with.
    // Stale it is at once; what the sidecar cannot follow it says a moment later.
    assert.match(await outcome(/recording\.spoolBytesMax stays 536870912 and should be 1073741824/), /^Outcome: +stale: /m)
    await stale(1)
  } finally {
    await give('512Mi')
  }
  await outcome(/^Outcome: +current: exactly/m)
  await stale(0)
})

clusterTest('status names Jobs, StatefulSets and DaemonSets whose pods are refused, with the reason, until they have them', async () => {
  const { spec } = agentPod('foretold')
  const refusedPod = { metadata: { labels: { app: 'refused' } }, spec: { ...spec, hostNetwork: true } }
  const selector = { matchLabels: { app: 'refused' } }
  const jobTemplate = { spec: { template: { ...refusedPod, spec: { ...refusedPod.spec, restartPolicy: 'Never' } } } }
  const at = { namespace: shop.namespace }
  await apply([
    { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'refused-job', ...at }, ...jobTemplate },
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'refused-set', ...at },
      spec: { selector, serviceName: 'x', template: refusedPod },
    },
    { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'refused-each', ...at }, spec: { selector, template: refusedPod } },
  ])
  const named = (concerns: readonly Concern[]): string[] =>
    concerns.filter(({ message }) => message.startsWith('its pods are refused')).map(({ what }) => what.replace(`${shop.namespace}/`, ''))
  try {
    await eventually('all three are named', async () => {
      const found = (await concernsOf(shop.namespace)).filter(({ message }) => /refused: .*(host|steno)/i.test(message))
      return named(found).sort().join() === 'DaemonSet refused-each,Job refused-job,StatefulSet refused-set' ? true : null
    })
  } finally {
    await kubectl(['-n', shop.namespace, 'delete', 'job/refused-job', 'statefulset/refused-set', 'daemonset/refused-each', '--wait=true'])
  }
  await eventually('none is', async () => (named(await concernsOf(shop.namespace)).length === 0 ? true : null))
})

// The agent's pod as each kind of workload carries it; what the cluster then makes of the pod is compared with what was foretold.
clusterTest('check foretells what the cluster then does: admitted ones are, refused ones are refused for the same rule', async () => {
  const { spec } = agentPod('foretold')
  const template = { metadata: { labels: { app: 'foretold' } }, spec }
  const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'shop' }, spec: { selector: {}, template } }
  const good = await told(['check', '-n', shop.namespace, '-f', '-'], undefined, JSON.stringify(deployment))
  assert.match(good, /^Name: +Deployment shop\n/)
  assert.match(good, /Outcome: +admitted, with the sidecar/)
  assert.match(good, new RegExp(`Leads to: +${shop.databaseHost}, port 5432, TLS verify-full`))
  const command = ['psql', `postgresql://shop_agent:${password}@${shop.databaseHost}/shop`]
  const pod = agentPod('refused', { command })
  const bad = await steno(['check', '-n', shop.namespace, '-f', '-'], undefined, JSON.stringify(pod))
  assert.equal(bad.code, 1)
  assert.ok(!bad.stdout.includes(password) && !bad.stderr.includes(password))
  const rule = /Refused:\n +(\w+) at/.exec(bad.stdout)?.[1] ?? 'none'
  const answer = await run('kubectl', ['-n', shop.namespace, 'create', '--dry-run=server', '-f', '-'], undefined, JSON.stringify(pod))
  assert.equal(answer.code, 1)
  assert.ok(answer.stderr.includes(rule), `${rule}: ${answer.stderr}`)
  const elsewhere = await steno(['check', '-n', 'default', '-f', '-'], undefined, JSON.stringify(pod))
  assert.equal(elsewhere.code, 0)
  assert.match(elsewhere.stdout, /left alone: the namespace is not opted in/)
  const nowhere = await steno(['check', '-n', 'nowhere-at-all', '-f', '-'], undefined, JSON.stringify(pod))
  assert.match(nowhere.stderr, /has no namespace nowhere-at-all[\s\S]*BAD_OBJECT_FILE/)
})

clusterTest('an auditor with the one Role lists, shows, replays, follows, queries and verifies', async () => {
  const mine = ['--pod', `${shop.namespace}/agent`]
  const listed = await told(['sessions', '-n', shop.namespace, '--kubeconfig', auditor, '--json'])
  const { session } = JSON.parse(listed.split('\n')[0]!) as { session: string }
  assert.match(await told(['sessions', ...mine], auditor), new RegExp(`POD[\\s\\S]*${shop.namespace}/agent`))
  assert.equal(await told(['sessions', '-n', 'nobody', '--json'], auditor), '')
  assert.match(await told(['show', session], auditor), new RegExp(`^pod +${shop.namespace}/agent, ServiceAccount default, node `, 'm'))
  assert.match(await told(['show', session, '--statement', '1'], auditor), /customer 7/)
  assert.match(await told(['replay', session, '--plain'], auditor), /select customer from orders/)
  assert.match(await told(['tail', ...mine, '--since', '1h', '--count', '1', '--json'], auditor), /select customer/)
  assert.match(await told(['search', '--table', 'orders', '-n', shop.namespace], auditor), /select customer/)
  assert.equal((await told(['query', 'select pod_name from statements', ...mine, '--format', 'csv'], auditor)).trim(), 'pod_name\r\nagent')
  const unpinned = await steno(['verify', session], auditor)
  assert.equal(unpinned.code, 0, unpinned.stdout + unpinned.stderr)
  assert.match(unpinned.stdout, /sound/)
  assert.match(unpinned.stderr, /control's key cannot be had from the cluster \(.*admissionparameters.*\); give it with --trust-control/)
  assert.doesNotMatch(unpinned.stdout, /RECORDER_NOT_PINNED/)
})

clusterTest('verify trusts the recorders that control attested by the key that the API server has, and no other key', async () => {
  const listed = await told(['sessions', '--json', '--pod', `${shop.namespace}/agent`])
  const { session } = JSON.parse(listed.split('\n')[0]!) as { session: string }
  const verified = await told(['verify', session])
  assert.match(verified, /^trusted \d+ recorders? by control's attestation\nverified 1 session, .*: sound( \(\d+ warnings?\))?$/m)
  assert.doesNotMatch(verified, /NOT_PINNED/)
  const { generateKeyPairSync } = await import('node:crypto')
  const file = path.join(folder, 'other.pem')
  writeFileSync(file, generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }))
  const other = await steno(['verify', session, '--trust-control', file])
  assert.equal(other.code, 1)
  assert.match(other.stdout, /RECORDER_UNTRUSTED/)
})

clusterTest('who may edit the shop’s namespace reads no recording, and is told which right that needs', async () => {
  for (const [args, code] of [
    [['sessions'], 1],
    [['tail'], 1],
    [['verify', '--all'], 3],
    [['search', '--text', 'x'], 3],
  ] as const) {
    const { code: ended, stdout, stderr } = await steno(args, developer)
    assert.deepEqual([ended, stdout], [code, ''], stderr)
    assert.match(stderr, /forbidden[\s\S]*steno-auditor[\s\S]*\(CLUSTER_FORBIDS\)/i)
  }
  const asJson = await steno(['sessions', '--json'], developer)
  assert.equal((JSON.parse(asJson.stderr) as { error: { code: string } }).error.code, 'CLUSTER_FORBIDS')
})

clusterTest('who may read little is told little, and what was left out', async () => {
  const explained = await told(['explain', 'agent', '-n', shop.namespace], developer)
  assert.match(explained, /Sidecar:\n +State: +running since/)
  assert.match(explained, /Warnings:[\s\S]*admissionparameters/)
  const status = await steno(['status', '-A'], auditor)
  assert.match(status.stderr + status.stdout, /forbidden/i)
})

clusterTest('a control, a store or a namespace that is not there is told as what it is', async () => {
  await using empty = await createNamespace('t-plugin-empty')
  const absent = await steno(['sessions', '--steno-namespace', empty.name])
  assert.match(absent.stderr, /CONTROL_NOT_REACHED/)
  const labels = { app: 'control' }
  await apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'steno-control', namespace: empty.name, labels: { 'app.kubernetes.io/name': 'steno' } },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'control', image: 'x' }] } },
    },
  })
  const down = await steno(['sessions', '--steno-namespace', empty.name])
  assert.match(down.stderr, /CONTROL_NOT_REACHED/)
  assert.match(down.stderr, /kubectl steno status/)
  const status = await steno(['status', '-n', empty.name, '--steno-namespace', empty.name])
  assert.equal(status.code, 1)
  assert.match(status.stdout, /^ERROR +Deployment steno-control: 0 of 0 ready: recordings wait in the spools/)
  const store = await steno(['sessions', '--recording-store', 'other'])
  assert.match(store.stderr, /control knows default[\s\S]*RECORDING_STORE_UNKNOWN/)
})

clusterTest('kubectl completes the plugin’s commands, options, namespaces, pods and sessions', async () => {
  const complete = async (...words: string[]): Promise<string[]> =>
    (await run('kubectl', ['__complete', 'steno', ...words])).stdout.split('\n')
  assert.ok((await complete('')).some((line) => line.startsWith('explain\t')))
  assert.deepEqual((await complete('explain', '-n', shop.namespace, 'ag')).slice(0, 2), ['agent', ':4'])
  assert.ok((await complete('sessions', '-n', shop.namespace.slice(0, -1))).includes(shop.namespace))
  assert.match((await complete('show', '')).join('\n'), /^last\tthe newest session\n[0-9a-f]{8}-/)
  assert.deepEqual((await complete('check', '-f', '')).slice(0, 1), [':0'])
})

clusterTest('no kubectl is left behind, also when the plugin is killed', async () => {
  // The kubeconfig's name tells this one from those of other tests.
  const child = spawn('kubectl', ['steno', 'tail', '--kubeconfig', auditor], {
    cwd: project,
    env: { ...process.env, PATH: `${project}bin:${process.env['PATH'] ?? ''}` },
    detached: true,
  })
  const forwards = async (): Promise<number> => {
    const { stdout } = await run('ps', ['-eo', 'args'])
    return stdout.split('\n').filter((line) => line.startsWith('kubectl') && line.includes(auditor) && line.includes('port-forward')).length
  }
  await eventually('a port is forwarded', async () => ((await forwards()) === 1 ? true : null))
  process.kill(-child.pid!, 'SIGKILL')
  await eventually('it is gone', async () => ((await forwards()) === 0 ? true : null))
})

clusterTest('a support bundle of the shop has no secret of it, of steno or of the agent’s, and no statement', async () => {
  const archive = path.join(folder, 'bundle.tar.gz')
  await told(['support-bundle', '-n', shop.namespace, '-o', archive])
  const { stdout: text } = await run('tar', ['-xzOf', archive])
  assert.match(text, new RegExp(`"name": "agent"[\\s\\S]*${shop.namespace}`))
  for (const kept of [/steno_control_store_reachable/, /"kind": "SessionPolicy"/, /steno-egress/]) assert.match(text, kept)
  const secrets = await Promise.all(
    [shop.namespace, 'steno-system'].map(async (namespace) => {
      const { items } = JSON.parse(await kubectl(['-n', namespace, 'get', 'secrets', '-o', 'json'])) as {
        items: { metadata: { name: string }; data?: Record<string, string> }[]
      }
      return items.flatMap(({ metadata, data = {} }) =>
        Object.entries(data)
          .filter(([key]) => !/\.crt$|^public\.pem$|^state\.json$|^(user(name)?|host|port|database|dbname)$/i.test(key))
          .map(([key, value]) => [`${metadata.name}/${key}`, Buffer.from(value, 'base64').toString('utf8')] as const),
      )
    }),
  )
  for (const [name, value] of [['the password', password], ['the statement', sql], ...secrets.flat()] as const)
    for (const line of value.split('\n').filter((candidate) => candidate.length >= 6 && !candidate.startsWith('-----')))
      assert.ok(!text.includes(line), `${name} is in the archive`)
  assert.doesNotMatch(text, /PRIVATE KEY-----/)
})

clusterTest(
  'every command of docs/kubectl.md works as it stands there',
  async () => {
    const page = readFileSync(path.join(project, 'docs/kubectl.md'), 'utf8')
    const blocks = [...page.matchAll(/```sh\n([\s\S]*?)\n```/g)].map(([, block = '']) => block)
    assert.ok(blocks.length >= 6)
    for (const block of blocks) {
      const own = block
        .replaceAll('-n shop', `-n ${shop.namespace}`)
        .replaceAll('shop/agent', `${shop.namespace}/agent`)
        .replaceAll('--output statements.csv', `--output ${folder}/statements.csv`)
        .replaceAll('shop.tar.gz', `${folder}/shop.tar.gz`)
        // Tests beside this one break stores of their own, which is an error of the cluster.
        .replaceAll(/^(kubectl steno status.*)$/gm, '{ $1 || test $? = 1; }')
      const { code, stdout, stderr } = await run('/bin/sh', ['-ec', own])
      assert.equal(code, 0, `${own}\n${stdout}${stderr}`)
    }
  },
  { timeoutMilliseconds: 480_000 },
)
