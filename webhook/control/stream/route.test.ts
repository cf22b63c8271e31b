// Goal: a stream is for a fit pod with its own token, and for as long as it is one. Method: control's real server and stream over TLS, requests by hand; the
// cluster and the judge of pods in the test's hand.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import { test, type TestContext } from 'node:test'
import { watchPolicyWorld } from '../../../cluster/policy-world.ts'
import { startTestApi } from '../../../cluster/test-api.ts'
import { testLog, until } from '../../../cluster/test-support.ts'
import { NotIdentified } from '../../../cluster/identity/not-identified.ts'
import { readPolicyDocument, type PolicyDocument } from '../../../session/policy-document.ts'
import { startTestControl, testPod } from '../test-control.ts'
import { requestTo, type Sent } from '../test-requests.ts'
import { createPolicyIndex } from './policy-index.ts'
import { createPolicyStream, type JudgePod, type PolicyStream, type StreamedPod } from './route.ts'
import { standardStreamLimits, type StreamLimits } from './streams.ts'

const labels = { app: 'orders' }
const streamed = (name: string, changed: Partial<StreamedPod> = {}): StreamedPod => ({
  ...{ uid: `uid-${name}`, name, namespace: 'shop', labels },
  ...changed,
})

async function createWorld(t: TestContext, { limits = {}, waits = true }: { limits?: Partial<StreamLimits>; waits?: boolean } = {}) {
  const api = await startTestApi()
  api.put('/api/v1/namespaces/shop', { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } })
  const databases = [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }]
  const spec = { selector: { matchLabels: labels }, databases }
  api.put('/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders', { metadata: { name: 'orders', namespace: 'shop' }, spec })
  if (!waits) api.faults.intercept = () => 'hang'
  const world = watchPolicyWorld({ cluster: api.client, log: testLog().log })
  if (waits) await until(() => world.isSynced())
  const judge: { now: JudgePod; asked: string[] } = { now: () => Promise.resolve({ kind: 'fit', labels }), asked: [] }
  const index = createPolicyIndex(world)
  const made: { stream: PolicyStream | null } = { stream: null }
  const control = await startTestControl({
    routes(parts) {
      const judgePod: JudgePod = (pod) => {
        judge.asked.push(pod.podName)
        return judge.now(pod)
      }
      made.stream = createPolicyStream(parts, { index, podsVersion: () => 0n, judgePod, limits: { ...standardStreamLimits, ...limits } })
      return [made.stream.route]
    },
  })
  t.after(async () => {
    await control[Symbol.asyncDispose]()
    index.stop()
    world.stop()
    await api[Symbol.asyncDispose]()
  })
  return { api, control, judge, stream: () => made.stream! }
}

type World = Awaited<ReturnType<typeof createWorld>>

async function answered(
  { control }: Pick<World, 'control'>,
  sent: Partial<Sent> = {},
): Promise<{ answer: http.IncomingMessage; close(): void }> {
  const outgoing = requestTo(control, { method: 'GET', path: '/v1/stream', ...sent })
  outgoing.end()
  const [answer] = (await once(outgoing, 'response')) as [http.IncomingMessage]
  return { answer, close: () => void outgoing.destroy() }
}

/** A stream as its reader has it. */
async function opened(world: World, pod: string, headers: Record<string, string> = {}) {
  const { answer, close } = await answered(world, { pod, headers })
  assert.equal(answer.statusCode, 200)
  assert.equal(answer.headers['content-type'], 'application/x-ndjson')
  const state = { documents: [] as PolicyDocument[], kinds: [] as string[], hasEnded: false, close }
  let rest = ''
  answer.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      const told = JSON.parse(line) as { kind: string; document?: string }
      state.kinds.push(told.kind)
      if (told.document === undefined) continue
      const options = { pod: testPod(pod), publicKeys: [world.control.key.publicKey], known: state.documents.at(-1) ?? null }
      state.documents.push(readPolicyDocument(Buffer.from(told.document, 'base64'), options))
    }
  })
  answer.on('close', () => (state.hasEnded = true)).on('error', () => undefined)
  return state
}

async function refusedWith(world: Pick<World, 'control'>, sent: Partial<Sent> = {}): Promise<[number | undefined, string]> {
  const { answer } = await answered(world, sent)
  let text = ''
  for await (const piece of answer.setEncoding('utf8')) text += String(piece)
  return [answer.statusCode, (JSON.parse(text) as { code: string }).code]
}

test('a fit pod is told its policy over its own stream, and nobody else’s', { timeout: 120_000 }, async (t) => {
  const world = await createWorld(t)
  const [a, b] = [await opened(world, 'a'), await opened(world, 'b')]
  await until(() => a.documents.length === 1 && b.documents.length === 1)
  assert.deepEqual([a.documents[0]?.podUid, b.documents[0]?.podUid], ['uid-a', 'uid-b'])
  assert.equal(world.stream().size, 2)
  const metrics = await world.control.registry.metrics()
  assert.match(metrics, /^steno_control_streams 2$/m)
  assert.match(metrics, /^steno_control_policy_documents_sent 2$/m)
  a.close()
  await until(() => world.stream().size === 1)
  b.close()
})

test('who is not a fit pod has no stream, and is told why', { timeout: 120_000 }, async (t) => {
  const world = await createWorld(t, { limits: { streamsMax: 1 } })
  const { judge, control } = world
  assert.deepEqual(await refusedWith(world, { headers: { authorization: 'Bearer nonsense' } }), [401, 'TOKEN_UNFIT'])
  assert.deepEqual(await refusedWith(world, { method: 'POST', body: Buffer.alloc(0) }), [405, 'METHOD_NOT_ALLOWED'])
  assert.deepEqual(await refusedWith(world, { path: '/v1/stream?more' }), [404, 'NOT_FOUND'])
  assert.deepEqual(await refusedWith(world, { headers: { 'steno-generation': '-1' } }), [400, 'BAD_REQUEST'])
  assert.deepEqual(judge.asked, [])
  judge.now = () => Promise.resolve({ kind: 'unfit', reason: 'it has no steno sidecar' })
  assert.deepEqual(await refusedWith(world), [403, 'POD_UNFIT'])
  judge.now = () => Promise.reject(new NotIdentified('CLUSTER_UNAVAILABLE', 'the API server does not answer'))
  assert.deepEqual(await refusedWith(world), [503, 'CLUSTER_UNAVAILABLE'])
  judge.now = () => Promise.resolve({ kind: 'fit', labels })
  const only = await opened(world, 'a')
  assert.deepEqual(await refusedWith(world, { pod: 'b' }), [503, 'BUSY'])
  const byReader = await fetch(`http://127.0.0.1:${control.server.readerPort}/v1/stream`)
  assert.equal(byReader.status, 404)
  only.close()
})

test(
  'a pod that its policies alone make unfit is told that they are withdrawn, and is judged anew when one is in force',
  { timeout: 120_000 },
  async (t) => {
    const world = await createWorld(t)
    const { judge, api } = world
    const path = '/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders'
    const policy = api.get(path)!
    api.remove(path)
    judge.now = () => Promise.resolve({ kind: 'withdrawn', labels })
    const stream = await opened(world, 'a')
    await until(() => stream.documents.at(-1)?.state === 'withdrawn')
    api.put(path, policy)
    await until(() => stream.hasEnded)
    assert.deepEqual(
      stream.documents.map(({ state }) => state),
      ['withdrawn'],
    )
    judge.now = () => Promise.resolve({ kind: 'fit', labels })
    const again = await opened(world, 'a')
    await until(() => again.documents.at(-1)?.state === 'in-force')
    again.close()
  },
)

test('while the policies are not read, nobody is told anything', { timeout: 120_000 }, async (t) => {
  const world = await createWorld(t, { waits: false })
  assert.deepEqual(await refusedWith(world), [503, 'CLUSTER_UNAVAILABLE'])
})

test(
  'a pod that is gone, or another by its name, has its stream ended; one with other labels is judged anew',
  { timeout: 120_000 },
  async (t) => {
    const world = await createWorld(t)
    const { judge } = world
    const [gone, replaced, relabelled, unfit] = [
      await opened(world, 'a'),
      await opened(world, 'b'),
      await opened(world, 'c'),
      await opened(world, 'd'),
    ]
    await until(() => relabelled.documents.length === 1)
    judge.asked.length = 0
    world.stream().podChanged({ before: streamed('a'), after: undefined })
    await until(() => gone.hasEnded)
    world.stream().podChanged({ before: streamed('b'), after: streamed('b', { uid: 'uid-of-another' }) })
    await until(() => replaced.hasEnded)
    const before = streamed('c')
    world.stream().podChanged({ before, after: { ...before, labels: { ...labels } } })
    assert.deepEqual(judge.asked, [], 'what selects nothing asks nobody')
    judge.now = ({ podName }) =>
      Promise.resolve(podName === 'd' ? { kind: 'unfit', reason: 'it is another now' } : { kind: 'fit', labels: { app: 'other' } })
    world.stream().podChanged({ before, after: { ...before, labels: { app: 'other' } } })
    await until(() => relabelled.documents.at(-1)?.state === 'withdrawn')
    world.stream().podChanged({ before: streamed('d'), after: streamed('d', { labels: { app: 'other' } }) })
    await until(() => unfit.hasEnded)
    judge.now = () => Promise.reject(new Error('the API server does not answer'))
    world.stream().podChanged({ before, after: { ...before, labels } })
    await until(() => relabelled.documents.at(-1)?.state === 'in-force')
    relabelled.close()
  },
)

test('a control that stops ends its streams first, and does not wait for them', { timeout: 120_000 }, async (t) => {
  const world = await createWorld(t)
  const stream = await opened(world, 'a')
  await until(() => stream.documents.length === 1)
  const begun = performance.now()
  await world.control.server.stop()
  // A stop that waits for somebody in vain takes 20 s.
  assert.ok(performance.now() - begun < 18_000)
  await until(() => stream.hasEnded)
})
