/**
 * Does admission ever hold up a cluster? Budget: p99 under 10 ms at 50 requests a second on one replica; and of 1,000 pods at once all are
 * injected within the 5 s after which the API server stops waiting.
 *
 * Real HTTPS from another process, as the API server speaks it: connections are kept, and another is opened when all are busy. Arrivals are
 * random (Poisson) and do not wait for answers; a request's time runs from when it was due, so a server that stalls pays for all that queue up.
 * `--smoke` shows that it runs; its figures judge nothing. On a machine that does other things, `chrt -r 10 node bench/admission.ts` keeps their
 * turns on the processor out of the figures.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { readCommandLine } from './command-line.ts'

const requestsPerSecond = 50
const p99MillisecondsMax = 10
const burstPods = 1_000
/** Mutating requests that an API server handles at a time, unless told otherwise (--max-mutating-requests-inflight). */
const burstConnections = 200
const burstMillisecondsMax = 5_000

const usage = `usage: node bench/admission.ts [--smoke]
  --smoke    a few seconds, to see that it runs; the figures judge nothing (otherwise under 3 minutes)
  --help`
const isSmoke = readCommandLine(usage, { flags: ['smoke'] }, (given) => given.has('smoke'))
const rounds = isSmoke ? 1 : 5
const secondsPerRound = isSmoke ? 2 : 20

type Figures = {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly failures: number
  readonly cpu: number
}

const replica = fork(fileURLToPath(new URL('admission-replica.ts', import.meta.url)), { stdio: ['ignore', 'inherit', 'ignore', 'ipc'] })
try {
  process.exitCode = await main(replica)
} finally {
  replica.disconnect()
  if (replica.exitCode === null) await once(replica, 'exit')
}

async function main(server: ChildProcess): Promise<number> {
  const { port, ca } = await told<{ port: number; ca: string }>(server)
  const agent = new https.Agent({ keepAlive: true, ca })
  const pods = realisticPods()
  const bytes = pods.map((pod) => pod.length)
  process.stdout.write(
    `${cpus().length} x ${cpus()[0]?.model ?? '?'}, Node ${process.version}; reviews of ${Math.min(...bytes)} to ${Math.max(...bytes)} bytes, ` +
      `${requestsPerSecond} a second for ${secondsPerRound} s; load average at start ${(loadavg()[0] ?? 0).toFixed(2)}\n\n`,
  )
  const rows: string[][] = []
  const counted: Figures[] = []
  for (let round = 0; round <= rounds; round++) {
    // Round 0 warms the compiler.
    const figures = await steadyRound(server, agent, port, pods)
    if (round > 0) counted.push(figures)
    rows.push([round === 0 ? 'warm-up' : `round ${round}`, ...cellsOf(figures)])
  }
  const burst = await burstRound(server, ca, port, pods)
  rows.push([`burst of ${burstPods}`, ...cellsOf(burst)])
  agent.destroy()
  process.stdout.write(`${tableOf([['', 'reviews', 'p50 ms', 'p99 ms', 'longest ms', 'not injected', 'CPU us each'], ...rows])}\n`)
  const p99 = median(counted.map((figures) => figures.p99))
  const failures = [...counted, burst].reduce((sum, figures) => sum + figures.failures, 0)
  const isMet = p99 < p99MillisecondsMax && burst.max < burstMillisecondsMax
  process.stdout.write(
    `\np99 (median of rounds) ${p99.toFixed(2)} ms, at most ${p99MillisecondsMax}; the burst's last answer after ${burst.max.toFixed(0)} ms, at most ` +
      `${burstMillisecondsMax}; not injected ${failures}: ${isSmoke ? 'a smoke run judges nothing' : isMet && failures === 0 ? 'pass' : 'FAIL'}\n`,
  )
  return failures > 0 || (!isSmoke && !isMet) ? 1 : 0
}

async function steadyRound(server: ChildProcess, agent: https.Agent, port: number, pods: readonly string[]): Promise<Figures> {
  const before = await asked(server)
  const started = performance.now()
  const until = started + secondsPerRound * 1_000
  const answers: Promise<number | null>[] = []
  for (let due = started; due < until; due += (-Math.log(1 - Math.random()) * 1_000) / requestsPerSecond) {
    const wait = due - performance.now()
    if (wait > 0) await sleep(wait)
    // What the timer of this process is late is not the server's; what queues up behind its requests is.
    const from = Math.max(due, performance.now() - 1)
    answers.push(review(agent, port, pods[answers.length % pods.length] ?? '', from))
  }
  return figuresOf(await Promise.all(answers), before, await asked(server))
}

/** All at once; fresh connections, as an API server opens them that has not spoken to this replica lately. */
async function burstRound(server: ChildProcess, ca: string, port: number, pods: readonly string[]): Promise<Figures> {
  const agent = new https.Agent({ keepAlive: true, maxSockets: burstConnections, ca })
  const before = await asked(server)
  const started = performance.now()
  const answers = await Promise.all(
    Array.from({ length: burstPods }, (_, index) => review(agent, port, pods[index % pods.length] ?? '', started)),
  )
  agent.destroy()
  return figuresOf(answers, before, await asked(server))
}

/** Milliseconds from `from` to the answer's last byte, or null when the pod came back without the sidecar. */
async function review(agent: https.Agent, port: number, body: string, from: number): Promise<number | null> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  const request = https.request({ host: '127.0.0.1', port, path: '/mutate?timeout=5s', method: 'POST', agent, headers })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  const milliseconds = performance.now() - from
  if (response.statusCode !== 200) return null
  const answer = JSON.parse(Buffer.concat(chunks).toString()) as { response: { patch?: string } }
  return Buffer.from(answer.response.patch ?? '', 'base64').includes('"name":"steno"') ? milliseconds : null
}

type Usage = { readonly cpuMicroseconds: number }

async function asked(server: ChildProcess): Promise<Usage> {
  server.send('usage')
  return told<Usage>(server)
}

async function told<T>(server: ChildProcess): Promise<T> {
  const listening = new AbortController()
  const { signal } = listening
  try {
    const early = once(server, 'exit', { signal }).then(() => {
      throw new Error('the replica ended early')
    })
    const [message] = (await Promise.race([once(server, 'message', { signal }), early])) as [T]
    return message
  } finally {
    listening.abort()
  }
}

function figuresOf(answers: readonly (number | null)[], before: Usage, after: Usage): Figures {
  const times = answers.filter((time) => time !== null).sort((left, right) => left - right)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  return {
    count: answers.length,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    failures: answers.length - times.length,
    cpu: (after.cpuMicroseconds - before.cpuMicroseconds) / answers.length,
  }
}

function cellsOf({ count, p50, p99, max, failures, cpu }: Figures): string[] {
  return [String(count), p50.toFixed(2), p99.toFixed(2), max.toFixed(1), String(failures), cpu.toFixed(0)]
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  '))
    .join('\n')
}

/** Reviews as API servers send them: defaults filled in, managed fields, the ServiceAccount's volume; one to eight containers. */
function realisticPods(): string[] {
  return [1, 1, 2, 3, 8].map((containers, kind) => {
    const token = { name: 'kube-api-access-5x2kq', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }
    const probe = {
      httpGet: { path: '/healthz', port: 8_080, scheme: 'HTTP' },
      timeoutSeconds: 1,
      periodSeconds: 10,
      successThreshold: 1,
      failureThreshold: 3,
    }
    const container = (index: number) => ({
      name: `agent-${index}`,
      image: `registry.example.com/agent@sha256:${'6a7c5b8d'.repeat(8)}`,
      ports: [{ name: 'http', containerPort: 8_080 + index, protocol: 'TCP' }],
      env: [
        ...Array.from({ length: 20 }, (_, variable) => ({ name: `SETTING_${variable}`, value: `value of setting ${variable}` })),
        { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'orders-db', key: index % 2 === 0 ? 'url' : 'reader-url' } } },
        ...(kind < 2
          ? []
          : [
              { name: 'PGHOST', value: 'stock-db.data.svc.cluster.local' },
              { name: 'PGDATABASE', value: 'stock' },
              { name: 'PGPASSWORD', valueFrom: { secretKeyRef: { name: 'stock-db', key: 'password' } } },
            ]),
      ],
      resources: { limits: { memory: '512Mi' }, requests: { cpu: '100m', memory: '256Mi' } },
      volumeMounts: [token, { name: 'config', mountPath: '/etc/agent' }],
      livenessProbe: probe,
      readinessProbe: probe,
      terminationMessagePath: '/dev/termination-log',
      terminationMessagePolicy: 'File',
      imagePullPolicy: 'IfNotPresent',
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    })
    const object = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        generateName: 'agent-7d9c5b6f4-',
        labels: { app: 'agent', 'pod-template-hash': '7d9c5b6f4' },
        ownerReferences: [
          {
            apiVersion: 'apps/v1',
            kind: 'ReplicaSet',
            name: 'agent-7d9c5b6f4',
            uid: '0d1c7a5e-6f7f-4d3d-a8a5-3f6f6f2b7d10',
            controller: true,
          },
        ],
        managedFields: [
          { manager: 'kube-controller-manager', operation: 'Update', apiVersion: 'v1', fieldsType: 'FieldsV1', fieldsV1: managedFields() },
        ],
      },
      spec: {
        volumes: [
          {
            name: 'kube-api-access-5x2kq',
            projected: { defaultMode: 420, sources: [{ serviceAccountToken: { expirationSeconds: 3_607, path: 'token' } }] },
          },
          { name: 'config', configMap: { name: 'agent', defaultMode: 420 } },
        ],
        ...(kind === 3 ? { initContainers: [container(20), container(21)] } : {}),
        containers: Array.from({ length: containers }, (_, index) => container(index)),
        restartPolicy: 'Always',
        terminationGracePeriodSeconds: 30,
        dnsPolicy: 'ClusterFirst',
        serviceAccountName: 'agent',
        securityContext: { runAsNonRoot: true, runAsUser: 1_000, seccompProfile: { type: 'RuntimeDefault' } },
        schedulerName: 'default-scheduler',
        tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 }],
      },
    }
    return JSON.stringify({
      apiVersion: 'admission.k8s.io/v1',
      kind: 'AdmissionReview',
      request: {
        uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
        kind: { group: '', version: 'v1', kind: 'Pod' },
        resource: { group: '', version: 'v1', resource: 'pods' },
        namespace: 'shop',
        operation: 'CREATE',
        userInfo: {
          username: 'system:serviceaccount:kube-system:replicaset-controller',
          groups: ['system:serviceaccounts', 'system:authenticated'],
        },
        object,
        oldObject: null,
        dryRun: false,
        options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
      },
    })
  })
}

function managedFields(): object {
  return {
    'f:spec': {
      'f:containers': Object.fromEntries(
        Array.from({ length: 10 }, (_, index) => [`k:{"name":"agent-${index}"}`, { '.': {}, 'f:image': {}, 'f:name': {} }]),
      ),
    },
  }
}
