/**
 * What the proofs of the shared store need: RecordingStores of type s3, the address at which the cluster's pods reach this process, agents
 * that speak in numbered sessions, and what the database says that they said.
 *
 * An S3 server of the test listens on the node's address when the test runs on the node, as on the cluster of `e2e/cluster`; elsewhere
 * E2E_HOST_ADDRESS names one.
 */
import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { assertEveryStatementRecorded, readRecordedSessions } from '../support/compare-with-log.ts'
import type { LoggedBackend } from '../support/server-log.ts'
import { chartFolder, helm } from '../../tools/chart/helm.ts'
import { apply, eventually, getJson, kubectl } from './support/kubectl.ts'
import { openRecordings } from './support/recordings.ts'
import { agentPod, databaseUser, inAgent, startAgent, type LivePod, type Shop } from './support/shop.ts'

const stenoNamespace = 'steno-system'
/** Longer than control looks at a store that fails, and than a sidecar waits between two tries. */
export const settleMillisecondsMax = 120_000

/** Null where pods cannot reach this process. */
export async function addressForStores(): Promise<string | null> {
  const given = process.env['E2E_HOST_ADDRESS']
  if (given !== undefined) return given
  type Nodes = { items: { status: { addresses: { type: string; address: string }[] } }[] }
  const { items } = await getJson<Nodes>(['nodes'])
  const nodes = items.flatMap(({ status }) => status.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address))
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return own.find(({ address }) => nodes.includes(address))?.address ?? null
}

/** Lets control read these Secrets, as an administrator does. */
export async function letControlRead(secretNames: readonly string[]): Promise<void> {
  const value = `control.readableSecrets=${JSON.stringify(secretNames)}`
  await helm([
    'upgrade',
    'steno',
    chartFolder,
    '--namespace',
    stenoNamespace,
    '--reuse-values',
    '--wait',
    '--timeout',
    '90s',
    '--set-json',
    value,
  ])
}

export async function writeSecret(name: string, key: { readonly accessKeyId: string; readonly secretAccessKey: string }): Promise<void> {
  const { accessKeyId, secretAccessKey } = key
  const stringData = { accessKeyId, secretAccessKey }
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: stenoNamespace }, stringData })
}

export type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string }

export type RecordingStoreProof = AsyncDisposable & {
  readonly name: string
  readonly url: string
  /** Returns once its condition StoreReachable has this status and one of these reasons. */
  untilReachable(status: 'True' | 'False', reason: RegExp): Promise<Condition>
  /** What control's metric says: 1, or 0 with its reason. */
  metric(): Promise<{ readonly value: number; readonly reason: string }>
}

/** A RecordingStore of type s3, gone when disposed of. */
export async function createRecordingStore(
  prefix: string,
  { bucket, endpoint, secretName }: { readonly bucket: string; readonly endpoint: string; readonly secretName: string },
): Promise<RecordingStoreProof> {
  const name = `${prefix}-${Math.random().toString(36).slice(2, 8)}`
  const s3 = { bucket, endpoint, prefix: 'cluster/one', pathStyle: true, credentials: { secretName } }
  await apply({ apiVersion: 'steno.dev/v1alpha1', kind: 'RecordingStore', metadata: { name }, spec: { type: 's3', s3 } })
  return {
    name,
    url: `s3://${bucket}/${s3.prefix}?endpoint=${endpoint}&path-style=true`,
    untilReachable: (status, reason) => untilCondition(['recordingstore', name], { status, reason }),
    async metric() {
      const line = new RegExp(`^steno_control_store_reachable\\{store="${name}",reason="(\\w+)"\\} (\\d)$`, 'm').exec(
        await controlMetrics(),
      )
      assert.ok(line !== null, `control has no metric of ${name}`)
      return { reason: line[1]!, value: Number(line[2]) }
    },
    async [Symbol.asyncDispose]() {
      await kubectl(['delete', 'recordingstore', name, '--wait=false'])
    },
  }
}

/** The condition StoreReachable of an object, once it is so. */
export async function untilCondition(
  object: readonly string[],
  { status, reason }: { readonly status: string; readonly reason: RegExp },
): Promise<Condition> {
  let last: Condition | undefined
  try {
    return await eventually(
      `StoreReachable of ${object.join(' ')} is ${status} for ${reason}`,
      async () => {
        const { status: found } = await getJson<{ status?: { conditions?: Condition[] } }>(object)
        last = found?.conditions?.find(({ type }) => type === 'StoreReachable')
        return last?.status === status && reason.test(last.reason) ? last : null
      },
      { withinMilliseconds: settleMillisecondsMax },
    )
  } catch (cause) {
    throw new Error(`StoreReachable of ${object.join(' ')} is ${JSON.stringify(last)}`, { cause })
  }
}

export async function controlMetrics(): Promise<string> {
  return kubectl(['get', '--raw', `/api/v1/namespaces/${stenoNamespace}/services/http:steno-control:8080/proxy/metrics`])
}

/** One number of a sidecar's metrics. */
export async function sidecarMetric(namespace: string, pod: string, name: string): Promise<number> {
  const text = await kubectl(['get', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}:15090/proxy/metrics`])
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]
  assert.ok(value !== undefined, `the sidecar has no metric ${name}`)
  return Number(value)
}

/** A policy of the shop for pods with the label `store: LABEL`. */
export async function applyPolicy(shop: Shop, label: string, recording: Readonly<Record<string, unknown>>): Promise<void> {
  await apply({
    ...shop.policy,
    metadata: { name: `store-${label}`, namespace: shop.namespace },
    spec: { ...shop.policy.spec, selector: { matchLabels: { store: label } }, recording },
  })
}

export type Speaker = {
  readonly name: string
  readonly uid: string
  /** Runs `count` sessions of one statement each, one after the other, and asserts that each was answered. */
  speak(count: number): Promise<void>
  /** What the agent's shell printed. */
  shell(script: string): Promise<string>
  metric(name: string): Promise<number>
  /** Returns once what the store has of this pod is what the database says that it ran, statement for statement, each once. */
  untilAllArrived(store: string): Promise<void>
}

/** A pod whose policy is the one of `label`. Each statement carries the pod's name, by which the database's log is told apart. */
export async function startSpeaker(shop: Shop, name: string, label: string): Promise<Speaker> {
  const pod: LivePod = await startAgent(shop.namespace, agentPod(name, { labels: { store: label } }))
  const { uid } = pod.metadata
  let said = 0
  const shell = (script: string): Promise<string> => inAgent(shop.namespace, name, ['sh', '-c', script])
  return {
    name,
    uid,
    shell,
    async speak(count) {
      const first = said + 1
      said += count
      const script = `for number in $(seq ${first} ${said}); do psql "$DATABASE_URL" -Atc "select $number as number /* ${name} */" || exit 1; done`
      const answers = (await shell(script)).trim().split('\n')
      assert.deepEqual(
        answers,
        Array.from({ length: count }, (_, at) => String(first + at)),
      )
    },
    metric: (metric) => sidecarMetric(shop.namespace, name, metric),
    async untilAllArrived(store) {
      const backends = (await loggedBackends(shop)).filter(({ statements }) =>
        statements.some(({ text }) => text.includes(`/* ${name} */`)),
      )
      assert.ok(backends.length > 0, 'the database ran something')
      // A port-forward ends with the control that it led to.
      await using recordings = await openRecordings(store)
      await eventually(
        `all of ${name} is in ${store}`,
        async () => {
          const sessions = (await readRecordedSessions(recordings.url)).filter(({ identity }) => identity.attested['podUid'] === uid)
          assert.equal(sessions.length, backends.length, 'as many sessions as the database had')
          assertEveryStatementRecorded(backends, sessions)
          return true
        },
        { withinMilliseconds: settleMillisecondsMax },
      )
      const sessions = (await recordings.sessionsOf(uid)).map(({ session }) => session)
      assert.equal(new Set(sessions).size, sessions.length, 'no session twice')
      const verified = await recordings.run(['verify', '--all'])
      assert.equal(verified.status, 0, verified.stdout + verified.stderr)
    },
  }
}

/** What the shop's database says that its agents ran, by server process; complete up to now. */
async function loggedBackends(shop: Shop): Promise<LoggedBackend[]> {
  const marker = `end of log ${Math.random()}`
  await shop.query(`do $$ begin raise log '${marker}'; end $$`)
  const log = await eventually('the database’s log is written', async () => {
    const text = await shop.databaseLog()
    return text.includes(marker) ? text : null
  })
  const backends = new Map<number, { processId: number; database: string; statements: { kind: 'query'; text: string }[] }>()
  const statement = new RegExp(`\\[(\\d+)\\] ${databaseUser}@(\\w+) \\S+ LOG: +statement: (.*)$`, 'gm')
  for (const [, id, database = '', text = ''] of log.matchAll(statement)) {
    const processId = Number(id)
    const backend = backends.get(processId) ?? { processId, database, statements: [] }
    backends.set(processId, backend)
    backend.statements.push({ kind: 'query', text })
  }
  return [...backends.values()]
}
