// Goal: a sidecar that goes from one control to another never goes back to an older policy, and never waits long for the newest, however far
// behind the watches of one of them are. Method: two policy worlds over one double of the API server, the watches of one held up by hand.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { test, type TestContext } from 'node:test'
import type { ClusterClient } from '../../../cluster/client.ts'
import { watchPolicyWorld } from '../../../cluster/policy-world.ts'
import { startTestApi, type TestApi } from '../../../cluster/test-api.ts'
import { testLog, until } from '../../../cluster/test-support.ts'
import { PolicyDocumentRefused, readPolicyDocument, sealPolicyDocument, type PolicyDocument } from '../../../session/policy-document.ts'
import { controlKeyOf } from '../control-key.ts'
import { testPod } from '../test-control.ts'
import { createPolicyIndex } from './policy-index.ts'
import { createStreams, type OpenStream, type Streams } from './streams.ts'

const key = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
const labels = { app: 'orders' }
const policyPath = '/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders'
const namespacePath = '/api/v1/namespaces/shop'

function putPolicy(api: TestApi, host: string): void {
  const databases = [{ name: 'orders', engine: 'postgresql', hosts: [host], databaseNames: ['orders'] }]
  api.put(policyPath, {
    metadata: { name: 'orders', namespace: 'shop', uid: 'uid' },
    spec: { selector: { matchLabels: labels }, databases },
  })
}

function touchNamespace(api: TestApi, label: string): void {
  api.put(namespacePath, { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled', label } } })
}

/** A client whose lists and watches of SessionPolicies bring nothing while `isHeldUp`, as over a connection that is dead on one side. */
function holdingUp(client: ClusterClient): { cluster: ClusterClient; held: { isHeldUp: boolean; release(): void } } {
  const waiting: (() => void)[] = []
  const held = {
    isHeldUp: false,
    release(): void {
      held.isHeldUp = false
      for (const go of waiting.splice(0)) go()
    },
  }
  const isOfPolicies = (path: string): boolean => path.endsWith('/sessionpolicies')
  const turn = async (): Promise<void> => {
    if (held.isHeldUp) await new Promise<void>((resolve) => waiting.push(resolve))
  }
  const cluster: ClusterClient = {
    ...client,
    async request<T>(request: Parameters<ClusterClient['request']>[0]): Promise<T> {
      if (isOfPolicies(request.path)) await turn()
      return client.request<T>(request)
    },
    async openStream(request) {
      const stream = await client.openStream(request)
      if (!isOfPolicies(request.path)) return stream
      const through = new PassThrough()
      stream.on('data', (bytes: Buffer) => void turn().then(() => through.write(bytes)))
      stream.on('close', () => through.end())
      stream.on('error', (error) => through.destroy(error))
      return through as unknown as typeof stream
    },
  }
  return { cluster, held }
}

async function startReplica(t: TestContext, api: TestApi) {
  const { cluster, held } = holdingUp(api.client)
  const world = watchPolicyWorld({ cluster, log: testLog().log })
  const index = createPolicyIndex(world)
  await until(() => world.isSynced())
  await until(() => world.sessionPolicies.version !== '' && world.clusterPolicies.version !== '')
  const streams = createStreams({ index, podsVersion: () => 0n, key, log: testLog().log })
  t.after(() => {
    held.release()
    streams.stop()
    index.stop()
    world.stop()
  })
  return { world, index, streams, held }
}

/** What a sidecar does with what it is sent. */
function createSidecar() {
  const state = { known: null as PolicyDocument | null, hosts: [] as string[], refused: 0, sent: 0 }
  let open: OpenStream | null = null
  const options = { pod: testPod('a'), publicKeys: [key.publicKey] }
  return Object.assign(state, {
    moveTo(streams: Streams, version = 1n): void {
      open?.closed()
      const { known } = state
      const sink = {
        write(line: Buffer): boolean {
          const { document } = JSON.parse(line.toString()) as { document?: string }
          if (document === undefined) return true
          state.sent++
          try {
            state.known = readPolicyDocument(Buffer.from(document, 'base64'), { ...options, known: state.known })
            state.hosts.push(state.known.databases[0]?.hosts[0] ?? '')
          } catch (error) {
            if (!(error instanceof PolicyDocumentRefused)) throw error
            state.refused++
          }
          return true
        },
        end: () => undefined,
      }
      const positions = known?.positions ?? null
      open = streams.open(testPod('a'), labels, BigInt(known?.generation ?? 0), sink, { version, positions })
    },
  })
}

test('a control whose watch of policies is held up brings no older policy back, though its other watches are ahead', async (t) => {
  await using api = await startTestApi()
  touchNamespace(api, 'one')
  putPolicy(api, 'old.example.com')
  const [lagging, current] = [await startReplica(t, api), await startReplica(t, api)]
  lagging.held.isHeldUp = true
  putPolicy(api, 'new.example.com')
  const sidecar = createSidecar()
  sidecar.moveTo(current.streams)
  await until(() => sidecar.known?.databases[0]?.hosts[0] === 'new.example.com')
  touchNamespace(api, 'two')
  const heard = (): boolean => lagging.world.namespaces.get('shop')?.labels['label'] === 'two'
  await until(heard)
  assert.ok(lagging.index.generation() > BigInt(sidecar.known!.generation), 'the lagging control has heard of more, of another kind')
  sidecar.moveTo(lagging.streams)
  // Something that is sent after whatever would have been sent.
  const other = createSidecar()
  other.moveTo(lagging.streams)
  assert.equal(other.known?.databases[0]?.hosts[0], 'old.example.com')
  assert.deepEqual([sidecar.hosts.at(-1), sidecar.sent], ['new.example.com', sidecar.hosts.length])
  // Were it sent all the same, as by a control that pays no heed to what is known, it would not be taken.
  const fields = other.known
  const { bytes } = sealPolicyDocument(
    { ...fields, generation: String(BigInt(sidecar.known!.generation) + 1n), time: Date.now() + 1_000 },
    key,
  )
  const options = { pod: testPod('a'), publicKeys: [key.publicKey], known: sidecar.known }
  assert.throws(() => readPolicyDocument(bytes, options), { code: 'POLICY_DOCUMENT_REFUSED', why: 'older' })
  const before = sidecar.sent
  lagging.held.release()
  await until(() => sidecar.sent > before)
  assert.deepEqual([sidecar.hosts.lastIndexOf('old.example.com') < sidecar.hosts.indexOf('new.example.com'), sidecar.refused], [true, 0])
})

test('a control that was merely quiet lists again for a sidecar that comes from another, and tells it of changes soon', async (t) => {
  await using api = await startTestApi()
  touchNamespace(api, 'one')
  putPolicy(api, 'one.example.com')
  const quiet = await startReplica(t, api)
  // Revisions of what no control of policies hears.
  for (let at = 0; at < 5; at++) api.put('/api/v1/namespaces/shop/pods/x', { metadata: { name: 'x', namespace: 'shop' } })
  const fresh = await startReplica(t, api)
  const sidecar = createSidecar()
  sidecar.moveTo(fresh.streams)
  await until(() => sidecar.hosts.length === 1)
  const { positions } = sidecar.known!
  assert.ok(BigInt(positions!.clusterSessionPolicies) > BigInt(quiet.index.positions().clusterSessionPolicies))
  sidecar.moveTo(quiet.streams)
  putPolicy(api, 'two.example.com')
  await until(() => sidecar.hosts.at(-1) === 'two.example.com')
  assert.equal(sidecar.refused, 0)
})

test('labels of an earlier revision of the pod are not gone by, and a sidecar that has heard of a later one waits', async (t) => {
  await using api = await startTestApi()
  touchNamespace(api, 'one')
  putPolicy(api, 'one.example.com')
  const replica = await startReplica(t, api)
  const sidecar = createSidecar()
  sidecar.moveTo(replica.streams, 7n)
  assert.equal(sidecar.known?.positions?.pod, '7')
  replica.streams.relabel('uid-a', { app: 'other' }, 6n)
  assert.deepEqual(replica.streams.labelsOf('uid-a'), labels)
  const elsewhere = await startReplica(t, api)
  sidecar.moveTo(elsewhere.streams, 5n)
  assert.equal(sidecar.sent, 1)
  elsewhere.streams.advance('uid-a', 8n)
  await until(() => sidecar.sent === 2)
  assert.deepEqual([sidecar.refused, sidecar.known?.positions?.pod], [0, '8'])
})
