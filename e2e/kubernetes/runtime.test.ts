/**
 * Goal: certificates rotate without a lost request, statuses say what is, and there is always one who keeps them. Method: the webhook beside
 * a real API server that calls it, with intervals of seconds; one replica in a process of its own that is killed.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createRuntimeWorld, policy, reachedAddress, waitingPod } from './runtime-world.ts'
import { apply, clusterTest, eventually, getJson, kubectl, ran } from './support/kubectl.ts'
import { openCluster } from '../../cluster/client.ts'
import { pathOf, resources } from '../../cluster/resources.ts'

type Condition = { type: string; status: string; reason: string; message: string; lastTransitionTime: string }
type Status = { observedGeneration?: number; conditions?: Condition[]; pods?: Record<string, number> }
type PodList = { items: { spec: { initContainers?: { name: string }[] } }[] }

const statusOf = async (namespace: string, name: string): Promise<Status> =>
  (await getJson<{ status?: Status }>(['sessionpolicy', name, '-n', namespace])).status ?? {}
const conditionOf = (status: Status, type: string): Condition | undefined => status.conditions?.find((one) => one.type === type)

clusterTest(
  'while the authority rotates every few seconds, a burst of pods loses none and leaves none bare',
  async () => {
    await using world = await createRuntimeWorld({ isOptedIn: true })
    const intervals = { rotateMilliseconds: 2_000, overlapMilliseconds: 1_500, validMilliseconds: 86_400_000 }
    const certificate = { ...world.settings('any').certificate, authority: intervals }
    const leader = await world.start('leader', { certificate })
    await eventually('the first one leads', async () => leader.isLeader() || null)
    // The API server calls the one that only follows: it hears of each step later than the one that makes it.
    const follower = await world.start('follower', { certificate })
    await world.admitBy(follower.port)
    await using cluster = Object.assign(openCluster({ kubeconfig: null }), { [Symbol.asyncDispose]: async () => cluster.close() })
    const authorities = new Set<string>()
    let made = 0
    const until = performance.now() + 25_000
    const makePods = async (worker: number): Promise<void> => {
      for (let pod = 0; performance.now() < until; pod++) {
        await cluster.request({
          ...{
            method: 'POST',
            path: pathOf(resources.pods, { namespace: world.shop }),
            body: waitingPod(`burst-${worker}-${pod}`, world.shop),
          },
        })
        made++
        await new Promise((resolve) => setTimeout(resolve, 100)) // Some hundreds are enough, and other tests share the cluster.
      }
    }
    const watchAuthority = async (): Promise<void> => {
      while (performance.now() < until) {
        const secret = await cluster.request<{ data: Record<string, string> }>({
          ...{ method: 'GET', path: pathOf(resources.secrets, { namespace: world.system, name: 'steno-ca' }) },
        })
        authorities.add(
          createHash('sha256')
            .update(secret.data['tls.crt'] ?? '')
            .digest('hex'),
        )
        await new Promise((resolve) => setTimeout(resolve, 500))
      }
    }
    await Promise.all([watchAuthority(), ...[0, 1, 2, 3].map(makePods)])
    const { items } = await cluster.request<PodList>({ method: 'GET', path: pathOf(resources.pods, { namespace: world.shop }) })
    const bare = items.filter(({ spec }) => !(spec.initContainers ?? []).some(({ name }) => name === 'steno'))
    console.log(`${made} pods were made through ${authorities.size} authorities`)
    assert.deepEqual([items.length, bare.length], [made, 0])
    assert.ok(authorities.size >= 4, `${authorities.size} authorities`)
    assert.ok(made >= 100, `${made} pods`)
  },
  { timeoutMilliseconds: 360_000 },
)

clusterTest('a policy’s status says what is: conditions with reasons, and which pods are injected, stale or bare', async () => {
  await using world = await createRuntimeWorld({ isOptedIn: false })
  const { shop } = world
  const seen = (what: string, type: string, reason: string): Promise<Condition> =>
    eventually(`${type} says ${reason}: ${what}`, async () => {
      const condition = conditionOf(await statusOf(shop, 'orders'), type)
      return condition?.reason === reason ? condition : null
    })
  const counted = (pods: Record<string, number>): Promise<Status> =>
    eventually(`the pods are ${JSON.stringify(pods)}`, async () => {
      const status = await statusOf(shop, 'orders')
      assert.deepEqual(status.pods, pods)
      return status
    })
  const webhook = await world.start('only')
  await world.admitBy(webhook.port)
  const store = `t-runtime-${shop.slice(-6)}`
  try {
    await apply(policy('orders', shop, { recording: { store } }))
    const notOptedIn = await seen('the namespace has no label', 'Ready', 'NamespaceNotOptedIn')
    assert.match(notOptedIn.message, new RegExp(`kubectl label namespace ${shop} steno.dev/inject=enabled`))

    await apply(waitingPod('older', shop))
    await kubectl(['label', 'namespace', shop, 'steno.dev/inject=enabled'])
    await seen('there is no such store', 'Ready', 'StoreNotFound')
    await apply({
      apiVersion: 'steno.dev/v1alpha1',
      kind: 'RecordingStore',
      metadata: { name: store },
      spec: { type: 'volume', volume: {} },
    })
    // The chart's control, where it is installed, says it by itself.
    if ((await ran('kubectl', ['get', 'deployment', 'steno-control', '-n', 'steno-system'])).code !== 0) {
      await seen('control said nothing', 'StoreReachable', 'NotReported')
      // As control does.
      const reported = {
        type: 'StoreReachable',
        status: 'True',
        reason: 'Proven',
        message: 'It keeps what it has.',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      }
      await kubectl([
        'patch',
        'recordingstore',
        store,
        '--subresource=status',
        '--type=merge',
        '-p',
        JSON.stringify({ status: { conditions: [reported] } }),
      ])
    }
    await seen('control reaches the store', 'StoreReachable', 'Proven')
    await seen('all is there', 'Ready', 'InForce')
    const stored = await eventually('the store is Ready, beside what control said', async () => {
      const { status } = await getJson<{ status: Status }>(['recordingstore', store])
      return conditionOf(status, 'Ready')?.status === 'True' ? status : null
    })
    assert.equal(conditionOf(stored, 'StoreReachable')?.reason, 'Proven')

    await apply(['one', 'two', 'three'].map((name) => waitingPod(name, shop)))
    await counted({ matched: 4, injected: 3, stale: 0, bare: 1 })
    await seen('one pod is bare', 'CredentialsIsolated', 'BarePods')
    await eventually('an event at the bare pod says so', async () => {
      const { items } = await getJson<{ items: { reason: string; note?: string; message?: string; involvedObject: { name: string } }[] }>([
        'events',
        '-n',
        shop,
      ])
      return items.some(({ reason, involvedObject }) => reason === 'NotRecorded' && involvedObject.name === 'older') || null
    })
    await kubectl(['delete', 'pod', 'older', '-n', shop, '--wait=false', '--force', '--grace-period=0'])
    await counted({ matched: 3, injected: 3, stale: 0, bare: 0 })
    await seen('nobody may do anything', 'CredentialsIsolated', 'Isolated')
    assert.equal((await seen('no sidecar has started', 'EgressEnforced', 'NotReported')).status, 'Unknown')

    await kubectl(['create', 'role', 'reader', '-n', shop, '--verb=get', '--resource=secrets'])
    await kubectl(['create', 'rolebinding', 'reader', '-n', shop, '--role=reader', `--serviceaccount=${shop}:default`])
    const open = await seen('the account may read Secrets', 'CredentialsIsolated', 'ServiceAccountReadsSecrets')
    assert.match(open.message, new RegExp(`${shop}/default: get secrets`))
    await kubectl(['delete', 'rolebinding', 'reader', '-n', shop])
    await seen('the right is gone', 'CredentialsIsolated', 'Isolated')
    await kubectl(['annotate', 'serviceaccount', 'default', '-n', shop, 'eks.amazonaws.com/role-arn=arn:aws:iam::1:role/r'])
    const cloud = await seen('the account has an identity of the cloud', 'CredentialsIsolated', 'ServiceAccountHasCloudIdentity')
    assert.ok(!cloud.message.includes('arn:aws'), 'the annotation is named, its value is not')

    const before = conditionOf(await statusOf(shop, 'orders'), 'Ready')?.lastTransitionTime
    await apply(policy('orders', shop, { recording: { store }, secrets: { allowKeys: [{ secret: 'db', keys: ['host'] }] } }))
    const stale = await counted({ matched: 3, injected: 0, stale: 3, bare: 0 })
    assert.equal(stale.observedGeneration, 2)
    assert.equal(conditionOf(stale, 'Ready')?.lastTransitionTime, before, 'it was ready before and is')

    const other = [{ name: 'orders', engine: 'postgresql', hosts: ['other.example.com'], databaseNames: ['orders'], localPort: 15_432 }]
    await apply(policy('contradicts', shop, { recording: { store: 'another-store' }, databases: other }))
    const conflict = await seen('two policies contradict each other', 'Ready', 'Conflict')
    assert.match(conflict.message, /another-store/)
  } finally {
    await kubectl(['delete', 'recordingstore', store, '--ignore-not-found'])
  }
})

clusterTest(
  'a leader that is killed is followed by another, which keeps the statuses; one that is told to stop hands over at once',
  async () => {
    await using world = await createRuntimeWorld({ isOptedIn: true })
    await apply(policy('orders', world.shop))
    const args = [
      ...['--namespace', world.system, '--instance', 'killed', '--listen', `${reachedAddress()}:0`, '--metrics-listen', '127.0.0.1:0'],
      ...[
        '--sidecar-image',
        'localhost/steno/pause:1',
        '--webhook-configuration',
        world.configuration,
        '--admission-parameters',
        world.system,
      ],
    ]
    const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url))
    const child = spawn(process.execPath, [main, 'webhook', ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
    const holder = async (): Promise<string> =>
      (await getJson<{ spec: { holderIdentity?: string } }>(['lease', 'steno-webhook', '-n', world.system])).spec.holderIdentity ?? ''
    try {
      await eventually('the process leads', async () => (await holder()) === 'killed' || null)
      await eventually('it keeps the status', async () => (await statusOf(world.shop, 'orders')).pods)
      const heir = await world.start('heir')
      child.kill('SIGKILL')
      await once(child, 'exit')
      await eventually('the heir leads', async () => heir.isLeader() || null, { withinMilliseconds: 40_000 })
      await apply(policy('second', world.shop))
      await eventually('the heir keeps the status', async () => (await statusOf(world.shop, 'second')).observedGeneration)
      const next = await world.start('next')
      const stopping = performance.now()
      await heir.stop()
      await eventually('the next one leads', async () => next.isLeader() || null, { withinMilliseconds: 3_000 })
      console.log(`handed over in ${(performance.now() - stopping).toFixed(0)} ms`)
    } finally {
      child.kill('SIGKILL')
    }
  },
  { timeoutMilliseconds: 360_000 },
)
