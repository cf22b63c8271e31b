// Goal: a pod's condition says what its sidecar measured last, changes when that changes and hardly otherwise, and says when nobody reports.
// Method: an API server of a few lines that keeps one pod, and a clock in hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import type { ClusterRequest } from '../../../cluster/client.ts'
import { ClusterRefused } from '../../../cluster/errors.ts'
import { startTestControl } from '../test-control.ts'
import { requestTo } from '../test-requests.ts'
import { podFactsBytes, podFactsIn, type PodFacts, type RecordingFacts, type WayFacts } from '../../../session/pod-facts.ts'
import type { PodCondition } from './facts.ts'
import { createPodConditions } from './pod-conditions.ts'
import { factsRoute } from './route.ts'

const pod = { podUid: 'uid-a', podName: 'a', podNamespace: 'shop' }
const epoch = Date.UTC(2026, 10, 21, 9)

function egress(state: WayFacts['state'], changes: Partial<WayFacts> = {}): PodFacts {
  const databases = [{ name: 'orders', state, addresses: ['10.0.0.5:5432'] }]
  return { egress: { state, reason: '', since: epoch, measured: epoch, databases, ...changes } }
}

function recording(state: RecordingFacts['state'], changes: Partial<RecordingFacts> = {}): PodFacts {
  const code = state === 'Shipping' ? '' : 'STORE_FULL'
  return {
    ...egress('Closed'),
    recording: { state, code, unshippedBytes: 0, unshippedBytesMax: 1_000, oldestUnshippedSeconds: 0, ...changes },
  }
}

function createWorld() {
  const clock = { now: 0 }
  const server = {
    conditions: [] as PodCondition[],
    patches: [] as ClusterRequest[],
    refuse: null as ClusterRefused | null,
    uid: pod.podUid,
  }
  const cluster = {
    request<T>(request: ClusterRequest): Promise<T> {
      if (server.refuse !== null) return Promise.reject(server.refuse)
      if (request.method === 'GET')
        return Promise.resolve({ metadata: { uid: server.uid }, status: { conditions: server.conditions } } as T)
      server.patches.push(request)
      const { conditions } = (request.body as { status: { conditions: PodCondition[] } }).status
      // As a strategic merge by type does it.
      const told = new Set(conditions.map(({ type }) => type))
      server.conditions = [...server.conditions.filter(({ type }) => !told.has(type)), ...conditions]
      return Promise.resolve({} as T)
    },
  }
  const control = () =>
    createPodConditions({ cluster, log: createLog({ level: 'silent' }), now: () => clock.now, wallClock: () => epoch + clock.now })
  const said = (): string => server.conditions.map(({ status, reason }) => `${status} ${reason}`).join()
  return { clock, server, control, said }
}

function refusal(status: number): ClusterRefused {
  return new ClusterRefused('PATCH', { status, reason: 'x', message: 'x', retryAfterMilliseconds: null })
}

test('a change is written at once, the same again only every five minutes, and a transition keeps its time', async () => {
  const { clock, server, control, said } = createWorld()
  const conditions = control()
  conditions.heard(pod, egress('Closed'))
  await conditions.look()
  assert.equal(said(), 'True Closed')
  const [patch] = server.patches
  assert.deepEqual([patch!.path, patch!.patch], ['/api/v1/namespaces/shop/pods/a/status', 'strategic'])
  assert.deepEqual((patch!.body as { metadata: object }).metadata, { uid: 'uid-a' })
  for (let beat = 1; beat <= 20; beat++) {
    clock.now = beat * 15_000
    conditions.heard(pod, egress('Closed', { measured: epoch + clock.now }))
    await conditions.look()
  }
  assert.equal(server.patches.length, 2, 'after five minutes')
  assert.deepEqual(
    [server.conditions[0]!.lastProbeTime, server.conditions[0]!.lastTransitionTime],
    ['2026-11-21T09:05:00Z', '2026-11-21T09:00:00Z'],
  )
  clock.now += 5_000
  conditions.heard(pod, egress('Open'))
  await conditions.look()
  assert.equal(said(), 'False Open')
  assert.match(server.conditions[0]!.message, /orders \(10\.0\.0\.5:5432\)/)
  assert.equal(server.conditions[0]!.lastTransitionTime, '2026-11-21T09:05:05Z')
  conditions.heard(pod, egress('Unknown'))
  await conditions.look()
  assert.equal(server.patches.length, 3, 'a state that flaps does not flood the API server')
  clock.now += 2_000
  await conditions.look()
  assert.equal(said(), 'Unknown NotMeasured')
  conditions.stop()
})

test('a pod that reports no more is said to, unless another control has heard it since', async () => {
  const { clock, server, control, said } = createWorld()
  const [one, other] = [control(), control()]
  one.heard(pod, egress('Closed'))
  await one.look()
  clock.now = 44_999
  await one.look()
  assert.deepEqual([said(), one.silent], ['True Closed', 0])
  clock.now = 40_000
  other.heard(pod, egress('Closed', { measured: epoch + 40_000 }))
  await other.look()
  clock.now = 46_000
  await one.look()
  assert.deepEqual([said(), one.size], ['True Closed', 0], 'the other speaks of it now')
  clock.now = 85_000
  await other.look()
  assert.deepEqual([said(), other.silent], ['Unknown NotReported', 1])
  other.heard(pod, egress('Closed', { measured: epoch + 90_000 }))
  clock.now = 90_000
  await other.look()
  assert.equal(said(), 'True Closed')
  assert.equal(server.patches.length, 4)
  for (const each of [one, other]) each.stop()
})

test('a pod whose policy closes no way has the time of its report', async () => {
  const { clock, server, control, said } = createWorld()
  const conditions = control()
  clock.now = 60_000
  conditions.heard(pod, egress('Unknown', { reason: 'NotEnforced', measured: 0 }))
  await conditions.look()
  assert.deepEqual([said(), server.conditions[0]!.lastProbeTime], ['Unknown NotEnforced', '2026-11-21T09:01:00Z'])
  conditions.stop()
})

test('a pod that is gone, or whose name another has, is forgotten; what fails otherwise is tried again', async () => {
  const { clock, server, control, said } = createWorld()
  const conditions = control()
  for (const status of [404, 409]) {
    server.refuse = refusal(status)
    conditions.heard(pod, egress('Closed'))
    await conditions.look()
    assert.equal(conditions.size, 0, String(status))
  }
  server.refuse = null
  server.uid = 'another'
  conditions.heard(pod, egress('Closed'))
  await conditions.look()
  assert.deepEqual([conditions.size, server.patches.length], [0, 0])
  server.uid = pod.podUid
  server.refuse = refusal(503)
  conditions.heard(pod, egress('Closed'))
  await conditions.look()
  server.refuse = null
  await conditions.look()
  assert.equal(said(), '', 'not at once')
  clock.now = 5_000
  await conditions.look()
  assert.equal(said(), 'True Closed')
  conditions.stop()
})

test('what an admission policy refuses is not tried again for half a minute, and is then written', async () => {
  const { clock, server, control, said } = createWorld()
  const conditions = control()
  server.refuse = refusal(422)
  conditions.heard(pod, egress('Closed'))
  await conditions.look()
  server.refuse = null
  for (clock.now of [5_000, 29_999]) {
    await conditions.look()
    assert.equal(said(), '', String(clock.now))
  }
  clock.now = 30_000
  await conditions.look()
  assert.equal(said(), 'True Closed')
  conditions.stop()
})

test('facts that are none, too long, or of a pod without a sidecar are refused', async (t) => {
  const heard: string[] = []
  let isFit = true
  const control = await startTestControl({
    routes: () => [
      factsRoute({
        conditions: { heard: ({ podUid }, { egress: { state } }) => void heard.push(`${podUid} ${state}`) },
        describePod: () =>
          Promise.resolve(
            isFit
              ? { kind: 'fit', owner: null, image: null, nodeName: null, store: 'default' }
              : { kind: 'unfit', reason: 'it has no steno sidecar' },
          ),
      }),
    ],
  })
  t.after(() => control[Symbol.asyncDispose]())
  const send = (body: string, name = 'a'): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-length': String(Buffer.byteLength(body)) }
      const outgoing = requestTo(control, { method: 'POST', path: '/v1/facts', headers, pod: name })
      outgoing.on('response', (answer) => resolve(answer.resume().statusCode!)).on('error', reject)
      outgoing.end(body)
    })
  assert.equal(await send(JSON.stringify(egress('Open'))), 204)
  for (const [body, status] of [
    ['', 400],
    ['[]', 400],
    [JSON.stringify({ egress: { ...egress('Open').egress, state: 'Ajar' } }), 400],
    [JSON.stringify(egress('Open', { measured: 1e300 })), 400],
    [JSON.stringify({ ...egress('Open'), recording: { ...recording('Full').recording, code: 'a sentence' } }), 400],
    [JSON.stringify({ ...egress('Open'), recording: {} }), 400],
    ['x'.repeat(70_000), 413],
  ] as const)
    assert.equal(await send(body), status, body.slice(0, 80))
  isFit = false
  assert.equal(await send(JSON.stringify(egress('Closed')), 'b'), 403)
  assert.deepEqual(heard, ['uid-a Open'])
})

test('what a sidecar says cannot act on the terminal of who reads the condition', async () => {
  const { control, server } = createWorld()
  const conditions = control()
  const facts = podFactsIn(Buffer.from(JSON.stringify(egress('Unknown', { reason: '\u001b[2J\u202enothing' + 'x'.repeat(5_000) }))))
  conditions.heard(pod, facts)
  await conditions.look()
  const { message } = server.conditions[0]!
  assert.ok(!/\p{C}/u.test(message) && message.length < 500, message)
  conditions.stop()
})

test('what a sidecar says of its recording is a condition of its own, with a remedy, and both are one write', async () => {
  const { clock, server, control } = createWorld()
  const conditions = control()
  const stored = (): PodCondition => server.conditions.find(({ type }) => type === 'steno.dev/RecordingStored')!
  conditions.heard(pod, recording('Shipping'))
  await conditions.look()
  assert.deepEqual([server.patches.length, stored().status, stored().reason], [1, 'True', 'Stored'])
  clock.now = 60_000
  conditions.heard(pod, recording('Failing', { unshippedBytes: 300 }))
  await conditions.look()
  assert.deepEqual([stored().status, stored().reason, stored().lastTransitionTime], ['False', 'StoreRefuses', '2026-11-21T09:01:00Z'])
  assert.match(stored().message, /STORE_FULL.*above 25 %.*Free space in the store/)
  const writes = server.patches.length
  for (let beat = 1; beat <= 8; beat++) {
    clock.now += 15_000
    conditions.heard(pod, recording('Failing', { unshippedBytes: 300 + beat, oldestUnshippedSeconds: 15 * beat }))
    await conditions.look()
  }
  assert.equal(server.patches.length, writes, 'a spool that grows a little is no change')
  conditions.heard(pod, recording('Full', { code: 'SPOOL_FULL', unshippedBytes: 1_001 }))
  await conditions.look()
  assert.deepEqual([stored().reason, stored().lastTransitionTime], ['SpoolFull', '2026-11-21T09:01:00Z'])
  clock.now += 5_000
  conditions.heard(pod, recording('Shipping'))
  await conditions.look()
  assert.equal(stored().status, 'True')
  clock.now += 45_000
  await conditions.look()
  assert.deepEqual(
    server.conditions.map(({ status, reason }) => `${status} ${reason}`),
    ['Unknown NotReported', 'Unknown NotReported'],
  )
  conditions.stop()
})

test('a sidecar that has stored nothing yet is in no trouble, and is not said to store', async () => {
  const { clock, server, control } = createWorld()
  const conditions = control()
  const said: string[] = []
  for (const shown of ['NothingRecorded', 'NothingStored', 'Stored', undefined] as const) {
    const facts = podFactsIn(podFactsBytes(recording('Shipping', shown === undefined ? {} : { shown })))
    conditions.heard(pod, facts)
    await conditions.look()
    clock.now += 5_000
    const { status, reason } = server.conditions.find(({ type }) => type === 'steno.dev/RecordingStored')!
    said.push(`${status} ${reason}`)
  }
  // Earlier releases do not say how far it is shown.
  assert.deepEqual(said, ['Unknown NothingRecorded', 'Unknown NothingStored', 'True Stored', 'True Stored'])
  conditions.stop()
})

test('of a sidecar of an earlier release, which says nothing of its recording, nothing is said, not even in silence', async () => {
  const { clock, server, control } = createWorld()
  const conditions = control()
  conditions.heard(pod, egress('Closed'))
  await conditions.look()
  clock.now = 45_000
  await conditions.look()
  assert.deepEqual(
    server.conditions.map(({ type, reason }) => `${type} ${reason}`),
    ['steno.dev/EgressClosed NotReported'],
  )
  conditions.stop()
})
