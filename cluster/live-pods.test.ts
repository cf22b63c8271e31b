// Goal: a verdict is of the pod and the policies as they are now, costs a GET only when it must, and is never given for want of an answer.
// Method: a double of the API server that counts, fails and hangs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { NotIdentified } from './identity/not-identified.ts'
import { createLivePods, type LivePodsOptions } from './live-pods.ts'
import { watchInjectedPods } from './pod-watch.ts'
import { startTestApi, type TestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'

const timeout = 120_000
const at = (name: string): string => `/api/v1/namespaces/shop/pods/${name}`
const identity = (name: string) => ({ podUid: `uid-${name}`, podName: name, podNamespace: 'shop' })
const pod = (name: string, color = 'red', uid = `uid-${name}`) => ({
  metadata: { name, namespace: 'shop', uid, labels: { color, 'steno.dev/injected': 'true' } },
  status: { podIPs: [{ ip: '10.42.0.7' }] },
})
type World = { readonly says: string }
type Verdict = { readonly text: string }

async function startLive(api: TestApi, more: Partial<LivePodsOptions<World, Verdict>> = {}, silence = () => 0) {
  const { log } = testLog()
  const watch = watchInjectedPods({ cluster: api.client, log })
  await watch.synced
  await until(() => api.watchers === 1)
  const pods = Object.assign(watch, { silentMilliseconds: silence })
  const judge = ({ metadata }: V1Pod, { says }: World): Verdict => ({ text: `${metadata?.labels?.['color']} ${says}` })
  const state: { world: World | null } = { world: { says: 'one' } }
  const live = createLivePods<World, Verdict>({ cluster: api.client, pods, world: () => state.world, judge, ...more })
  const text = async (name: string): Promise<string> => {
    const found = await live.look(identity(name))
    return 'kind' in found ? found.kind : found.verdict.text
  }
  const gets = (): number => api.requests.filter((request) => request.startsWith('GET /api/v1/namespaces/shop/pods/')).length
  return { live, pods, state, text, gets, [Symbol.dispose]: () => pods.stop() }
}

test('a pod is looked up once for each of its versions', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using run = await startLive(api)
  assert.deepEqual([await run.text('agent'), await run.text('agent'), run.gets()], ['red one', 'red one', 1])
  api.put(at('agent'), pod('agent', 'blue'))
  await until(() => run.pods.get('shop/agent')?.labels['color'] === 'blue')
  assert.deepEqual([await run.text('agent'), await run.text('agent'), run.gets()], ['blue one', 'blue one', 2])
})

test('a pod of which only conditions were written is not looked up again, and is known at its later version', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using run = await startLive(api)
  await run.text('agent')
  for (const status of ['True', 'False']) {
    const conditions = [{ type: 'steno.dev/PolicyFollowed', status }]
    api.put(at('agent'), { ...pod('agent'), status: { ...pod('agent').status, phase: 'Running', conditions } })
    const { resourceVersion = '' } = api.get(at('agent'))!.metadata
    await until(() => run.pods.get('shop/agent')?.resourceVersion === resourceVersion)
    const found = await run.live.look(identity('agent'), resourceVersion)
    assert.deepEqual(['resourceVersion' in found && found.resourceVersion, run.gets()], [resourceVersion, 1])
  }
  run.state.world = { says: 'two' }
  assert.deepEqual([await run.text('agent'), run.gets()], ['red two', 2])
})

const judgedBy: Readonly<Record<string, (one: ReturnType<typeof pod>) => object>> = {
  'its address': (one) => ({ ...one, status: { podIPs: [{ ip: '10.42.0.8' }] } }),
  'its specification': (one) => ({ ...one, spec: { ephemeralContainers: [{ name: 'debugger' }] } }),
  'its annotations': (one) => ({ ...one, metadata: { ...one.metadata, annotations: { 'steno.dev/policy-hash': '0' } } }),
  'its end': (one) => ({ ...one, metadata: { ...one.metadata, deletionTimestamp: '2026-11-21T20:00:00Z' } }),
}
for (const [what, change] of Object.entries(judgedBy))
  test(`a pod is looked up again after a change of ${what}`, { timeout }, async () => {
    await using api = await startTestApi()
    api.put(at('agent'), pod('agent'))
    using run = await startLive(api)
    await run.text('agent')
    api.put(at('agent'), change(pod('agent')) as ReturnType<typeof pod>)
    const { resourceVersion = '' } = api.get(at('agent'))!.metadata
    await until(() => run.pods.get('shop/agent')?.resourceVersion === resourceVersion)
    const found = await run.live.look(identity('agent'))
    assert.equal(run.gets(), 2)
    assert.ok('podIPs' in found)
    assert.deepEqual([found.podIPs, found.isBeingDeleted], [[what === 'its address' ? '10.42.0.8' : '10.42.0.7'], what === 'its end'])
  })

test('who judges is shown nothing whose change would go unnoticed', { timeout }, async () => {
  await using api = await startTestApi()
  const status = { podIPs: [{ ip: '10.42.0.7' }], phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }
  api.put(at('agent'), { ...pod('agent'), status })
  const shown: V1Pod[] = []
  using run = await startLive(api, { judge: (one) => ({ text: String(shown.push(one)) }) })
  await run.text('agent')
  assert.deepEqual(Object.keys(shown[0]?.status ?? {}), ['podIPs'])
  assert.equal(shown[0]?.metadata?.resourceVersion, undefined)
})

test('many who ask at once share one look-up', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using run = await startLive(api)
  const answers = await Promise.all(Array.from({ length: 500 }, () => run.text('agent')))
  assert.deepEqual([new Set(answers), run.gets()], [new Set(['red one']), 1])
})

test('a thousand pods are looked up, so many at a time', { timeout }, async () => {
  await using api = await startTestApi()
  const names = Array.from({ length: 1_000 }, (_, index) => `agent-${index}`)
  for (const name of names) api.put(at(name), pod(name))
  using run = await startLive(api)
  const answers = await Promise.all(names.map(run.text))
  assert.deepEqual([new Set(answers), run.gets(), run.live.size], [new Set(['red one']), 1_000, 1_000])
})

test('another world is another verdict, with a look at the pod only where it must be', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using plain = await startLive(api)
  assert.equal(await plain.text('agent'), 'red one')
  plain.state.world = { says: 'two' }
  assert.deepEqual([await plain.text('agent'), await plain.text('agent'), plain.gets()], ['red two', 'red two', 2])
  plain.pods.stop()
  await until(() => api.watchers === 0)
  using again = await startLive(api, {
    judgeAgain: ({ labels }, before, { says }) => (says === 'three' ? null : { text: `${labels['color']} ${before.text} ${says}` }),
  })
  await again.text('agent')
  again.state.world = { says: 'two' }
  assert.deepEqual([await again.text('agent'), await again.text('agent'), again.gets()], ['red red one two', 'red red one two', 3])
  again.state.world = { says: 'three' }
  assert.deepEqual([await again.text('agent'), again.gets()], ['red three', 4])
})

test('a pod that is gone, or whose name another has, is unfit and forgotten', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using run = await startLive(api)
  assert.equal(await run.text('agent'), 'red one')
  api.put(at('agent'), pod('agent', 'red', 'uid-next'))
  await until(() => run.pods.get('shop/agent')?.uid === 'uid-next')
  assert.deepEqual(await run.live.look(identity('agent')), { kind: 'unfit', reason: 'another pod has its name by now' })
  api.remove(at('agent'))
  assert.deepEqual(await run.live.look(identity('agent')), { kind: 'unfit', reason: 'the cluster has no such pod' })
  assert.equal(run.live.size, 0)
})

test('a pod that the watch does not have is looked at each time', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), { ...pod('agent'), metadata: { name: 'agent', namespace: 'shop', uid: 'uid-agent' } })
  using run = await startLive(api)
  assert.deepEqual([await run.text('agent'), await run.text('agent'), run.gets()], ['undefined one', 'undefined one', 2])
})

test('what the API server cannot answer is an error, whatever was known before', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  using run = await startLive(api)
  const isUnavailable = (error: unknown): boolean => error instanceof NotIdentified && error.code === 'CLUSTER_UNAVAILABLE'
  for (const [status, reason] of [
    [500, 'InternalError'],
    [403, 'Forbidden'],
    [429, 'TooManyRequests'],
  ] as const) {
    api.faults.intercept = ({ path }) => (path === at('agent') ? { status, reason } : null)
    await assert.rejects(run.live.look(identity('agent')), isUnavailable)
  }
  api.faults.intercept = null
  assert.equal(await run.text('agent'), 'red one')
  run.state.world = null
  await assert.rejects(run.live.look(identity('agent')), isUnavailable)
})

test('a watch that fell silent is not believed', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('agent'), pod('agent'))
  let silence = 0
  using run = await startLive(api, {}, () => silence)
  await run.text('agent')
  await run.text('agent')
  assert.equal(run.gets(), 1)
  silence = 101_000
  await run.text('agent')
  assert.equal(run.gets(), 2)
})
