// Goal: each sidecar hears what holds for its pod and nothing else, the newest at once, however policies, pods and readers behave. Method: the real
// policy world over the API server's double, sinks in the test's hand, a clock in the test's hand.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test, type TestContext } from 'node:test'
import { watchPolicyWorld } from '../../../cluster/policy-world.ts'
import { startTestApi, type TestApi } from '../../../cluster/test-api.ts'
import { testLog, until } from '../../../cluster/test-support.ts'
import type { Labels } from '../../../crds/label-selector.ts'
import { placeAfter, readPolicyDocument, type PolicyDocument } from '../../../session/policy-document.ts'
import { controlKeyOf } from '../control-key.ts'
import { testPod } from '../test-control.ts'
import { createPolicyIndex } from './policy-index.ts'
import { createStreams, standardStreamLimits, type StreamLimits } from './streams.ts'

const key = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
const policyPath = (name: string, namespace = 'shop'): string => `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/${name}`

function policyOf(name: string, spec: object = {}, namespace = 'shop'): Parameters<TestApi['put']>[1] {
  const databases = [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }]
  return { metadata: { name, namespace, uid: `uid-of-${name}` }, spec: { selector: { matchLabels: { app: name } }, databases, ...spec } }
}

function optIn(api: TestApi, name: string, labels: Labels = {}): void {
  api.put(`/api/v1/namespaces/${name}`, { metadata: { name, labels: { 'steno.dev/inject': 'enabled', ...labels } } })
}

async function world(t: TestContext, limits: Partial<StreamLimits> = {}) {
  const api = await startTestApi()
  optIn(api, 'shop')
  api.put(policyPath('orders'), policyOf('orders'))
  const policies = watchPolicyWorld({ cluster: api.client, log: testLog().log })
  await until(() => policies.isSynced())
  const clock = { now: 0 }
  const { log, lines } = testLog()
  const index = createPolicyIndex(policies)
  const signatures = { count: 0 }
  const signing = {
    sign(bytes: Buffer) {
      signatures.count++
      return key.sign(bytes)
    },
  }
  const streams = createStreams({
    ...{ index, podsVersion: () => 0n, key: signing, log, now: () => clock.now },
    limits: { ...standardStreamLimits, ...limits },
  })
  t.after(async () => {
    streams.stop()
    index.stop()
    policies.stop()
    await api[Symbol.asyncDispose]()
  })
  return { api, streams, index, clock, signatures, lines }
}

/** What a stream's reader has been sent; it takes no more while `isFull`. */
function reader(name: string) {
  const sent: PolicyDocument[] = []
  const lines: string[] = []
  const state = { isFull: false, ended: 0, sent, lines }
  const sink = {
    write(line: Buffer): boolean {
      const told = JSON.parse(line.toString()) as { kind: string; document?: string }
      lines.push(told.kind)
      if (told.document !== undefined) {
        const known = sent.at(-1) ?? null
        sent.push(readPolicyDocument(Buffer.from(told.document, 'base64'), { pod: testPod(name), publicKeys: [key.publicKey], known }))
      }
      return !state.isFull
    },
    end: () => void state.ended++,
  }
  return { state, sink }
}

const labels = { app: 'orders' }

test('a stream begins with a sign of life and what holds', async (t) => {
  const { streams } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  assert.deepEqual(state.lines, ['alive', 'policy'])
  assert.equal(state.sent[0]?.state, 'in-force')
  assert.deepEqual(state.sent[0]?.policy.names, ['shop/orders'])
  assert.deepEqual(state.sent[0]?.databases[0]?.hosts, ['db.example.com'])
})

test('a change reaches the pods that it concerns, once each, as a higher document; the others are not even signed for', async (t) => {
  const { api, streams, signatures } = await world(t)
  api.put(policyPath('other'), policyOf('other'))
  const [concerned, unconcerned] = [reader('a'), reader('b')]
  streams.open(testPod('a'), labels, 0n, concerned.sink)
  streams.open(testPod('b'), { app: 'other' }, 0n, unconcerned.sink)
  await until(() => unconcerned.state.sent.at(-1)?.state === 'in-force')
  const [before, signed] = [unconcerned.state.sent.length, signatures.count]
  api.put(policyPath('orders'), policyOf('orders', { recording: { onFailure: 'continue' } }))
  await until(() => concerned.state.sent.at(-1)?.recording.onFailure === 'continue')
  assert.equal(placeAfter(concerned.state.sent[0]!, concerned.state.sent.at(-1)!), 'ahead')
  assert.notEqual(concerned.state.sent.at(-1)!.policy.hash, concerned.state.sent[0]!.policy.hash)
  assert.equal(unconcerned.state.sent.length, before)
  assert.equal(signatures.count, signed + 1)
})

test('a change that means nothing for a pod is not sent', async (t) => {
  const { api, streams, signatures } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  api.put(policyPath('orders'), { ...policyOf('orders'), status: { conditions: [] } })
  api.put(policyPath('elsewhere', 'stock'), policyOf('elsewhere', {}, 'stock'))
  api.put(policyPath('orders'), policyOf('orders', { selector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] } }))
  api.put(policyPath('marker'), policyOf('marker'))
  const marker = reader('m')
  streams.open(testPod('m'), { app: 'marker' }, 0n, marker.sink)
  await until(() => marker.state.sent.at(-1)?.policy.names.includes('shop/marker') === true)
  assert.equal(state.sent.length, 1)
  assert.equal(signatures.count, 1 + marker.state.sent.length)
})

test('a status, which steno itself writes, concerns nobody', async (t) => {
  const { api, index } = await world(t)
  let concerns = 0
  index.subscribe(() => void concerns++)
  const before = index.generation()
  api.put(policyPath('orders'), { ...policyOf('orders'), status: { conditions: [] } })
  await until(() => index.generation() > before)
  assert.equal(concerns, 0)
  api.put(policyPath('orders'), policyOf('orders', { recording: { onFailure: 'continue' } }))
  await until(() => concerns === 1)
})

test('a policy that goes is withdrawn, with a generation above all before; one that comes again is in force', async (t) => {
  const { api, streams } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  api.remove(policyPath('orders'))
  await until(() => state.sent.at(-1)?.state === 'withdrawn')
  assert.match(state.sent.at(-1)!.reason, /no SessionPolicy/)
  assert.ok(BigInt(state.sent[1]!.generation) > BigInt(state.sent[0]!.generation))
  api.put(policyPath('orders'), policyOf('orders'))
  await until(() => state.sent.at(-1)?.state === 'in-force')
})

test('policies that contradict each other, an exemption and a namespace that is opted out withdraw with their reason', async (t) => {
  const { api, streams } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  const double = policyOf('double', { selector: { matchLabels: labels }, recording: { store: 'elsewhere' } })
  api.put(policyPath('double'), double)
  await until(() => /records to store/.test(state.sent.at(-1)?.reason ?? ''))
  api.remove(policyPath('double'))
  await until(() => state.sent.at(-1)?.state === 'in-force')
  const exemptPods = [{ namespaces: ['shop'], matchLabels: labels, reason: 'a test' }]
  const floorPath = '/apis/steno.dev/v1alpha1/clustersessionpolicies/floor'
  api.put(floorPath, { metadata: { name: 'floor' }, spec: { namespaceSelector: {}, exemptPods } })
  await until(() => /exempt/.test(state.sent.at(-1)?.reason ?? ''))
  api.remove(floorPath)
  await until(() => state.sent.at(-1)?.state === 'in-force')
  api.remove('/api/v1/namespaces/shop')
  await until(() => /not opted in/.test(state.sent.at(-1)?.reason ?? ''))
})

test('the cluster’s floor reaches the pods of the namespaces that it selects', async (t) => {
  const { api, streams } = await world(t)
  optIn(api, 'strict', { tier: 'strict' })
  api.put(policyPath('orders', 'strict'), policyOf('orders', { recording: { onFailure: 'continue' } }, 'strict'))
  const [lax, strict] = [reader('a'), reader('a')]
  streams.open(testPod('a'), labels, 0n, lax.sink)
  const inStrict = { ...testPod('a'), podUid: 'uid-s', podNamespace: 'strict' }
  const documents: PolicyDocument[] = []
  streams.open(inStrict, labels, 0n, {
    ...strict.sink,
    write(line) {
      const { document } = JSON.parse(line.toString()) as { document?: string }
      if (document !== undefined)
        documents.push(readPolicyDocument(Buffer.from(document, 'base64'), { pod: inStrict, publicKeys: [key.publicKey], known: null }))
      return true
    },
  })
  const spec = { namespaceSelector: { matchLabels: { tier: 'strict' } }, floor: { recording: { onFailure: 'block' } } }
  api.put('/apis/steno.dev/v1alpha1/clustersessionpolicies/floor', { metadata: { name: 'floor' }, spec })
  await until(() => documents.at(-1)?.policy.names.includes('ClusterSessionPolicy/floor') === true)
  assert.equal(documents.at(-1)?.recording.onFailure, 'block')
  assert.equal(lax.state.sent.length, 1)
})

test('what this release cannot read changes nothing for anybody', async (t) => {
  const { api, streams, index } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  optIn(api, 'stock')
  api.put(policyPath('odd'), policyOf('odd', { selector: { matchLabels: labels }, recording: { onFailure: 'never heard of' } }))
  await until(() => index.policyOf({ namespace: 'shop', labels }).kind === 'unknown')
  api.put(policyPath('orders'), policyOf('orders', { recording: { onFailure: 'continue' } }))
  api.put(policyPath('orders', 'stock'), policyOf('orders', {}, 'stock'))
  await until(() => index.policyOf({ namespace: 'stock', labels }).kind === 'in-force')
  const late = reader('m')
  streams.open(testPod('m'), labels, 0n, late.sink)
  assert.deepEqual(late.state.lines, ['alive'])
  assert.equal(state.sent.length, 1)
  api.remove(policyPath('odd'))
  await until(() => state.sent.at(-1)?.recording.onFailure === 'continue')
})

test('a reader that takes nothing is sent nothing more, and then the newest alone', async (t) => {
  const { api, streams, clock } = await world(t)
  const [slow, quick] = [reader('a'), reader('b')]
  slow.state.isFull = true
  const opened = streams.open(testPod('a'), labels, 0n, slow.sink)
  streams.open(testPod('b'), labels, 0n, quick.sink)
  for (const hosts of [['b.example.com'], ['c.example.com'], ['d.example.com']]) {
    const databases = [{ name: 'orders', engine: 'postgresql', hosts, databaseNames: ['orders'] }]
    api.put(policyPath('orders'), policyOf('orders', { databases }))
    await until(() => quick.state.sent.at(-1)?.databases[0]?.hosts[0] === hosts[0])
  }
  clock.now += 60_000
  assert.deepEqual(slow.state.lines, ['alive'])
  slow.state.isFull = false
  opened.drained()
  assert.deepEqual(slow.state.lines, ['alive', 'policy'])
  assert.deepEqual(slow.state.sent[0]?.databases[0]?.hosts, ['d.example.com'])
  opened.drained()
  assert.equal(slow.state.lines.length, 2)
})

test('a sidecar that has a higher generation is not sent a lower one, and what comes after it is sent', async (t) => {
  const { api, streams, index } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, index.generation() + 2n, sink)
  api.put(policyPath('else'), policyOf('else'))
  await until(() => index.generation() > 0n && index.policyOf({ namespace: 'shop', labels: { app: 'else' } }).kind === 'in-force')
  assert.deepEqual(state.lines, ['alive'])
  api.put(policyPath('orders'), policyOf('orders', { recording: { onFailure: 'continue' } }))
  await until(() => state.sent.length === 1)
  assert.equal(state.sent[0]?.recording.onFailure, 'continue')
})

test('of a pod’s streams the oldest gives way, and beyond the limit of all there is no room', async (t) => {
  const { streams } = await world(t, { streamsMax: 3, perPodMax: 2 })
  const readers = [reader('a'), reader('a'), reader('a')]
  const opened = readers.map(({ sink }) => streams.open(testPod('a'), labels, 0n, sink))
  assert.deepEqual(
    readers.map(({ state }) => state.ended),
    [1, 0, 0],
  )
  opened[0]!.closed()
  assert.equal(streams.size, 2)
  streams.checkRoom()
  streams.open(testPod('b'), labels, 0n, reader('b').sink)
  assert.throws(() => streams.checkRoom(), { code: 'BUSY' })
  for (const each of opened) each.closed()
  assert.equal(streams.size, 1)
  assert.equal(streams.has('uid-a'), false)
})

test('signs of life come when nothing else does, and a stream that has lived its time ends', async (t) => {
  const { streams, clock } = await world(t, { aliveMilliseconds: 10, lifeMilliseconds: 1_000 })
  const { state, sink } = reader('a')
  const opened = streams.open(testPod('a'), labels, 0n, sink)
  assert.deepEqual(state.lines, ['alive', 'policy'])
  clock.now += 11
  await until(() => state.lines.length === 3)
  assert.equal(state.lines[2], 'alive')
  clock.now += 1_000
  await until(() => state.ended > 0)
  opened.closed()
})

test('a pod that is labelled otherwise hears what holds then, and one that is gone hears no more', async (t) => {
  const { streams } = await world(t)
  const { state, sink } = reader('a')
  streams.open(testPod('a'), labels, 0n, sink)
  streams.relabel('uid-a', { app: 'none' })
  await until(() => state.sent.at(-1)?.state === 'withdrawn')
  streams.endPod('uid-a')
  assert.equal(state.ended, 1)
})

test('what is held back after the cluster went back is told once for each episode, however many pods and streams it has', async (t) => {
  const { streams, clock, lines } = await world(t, { aliveMilliseconds: 10 })
  const told = (level: string): string[] => lines.filter((line) => line.level === level).map(({ msg }) => msg)
  const beyond = { sessionPolicies: '9000000', clusterSessionPolicies: '9000000', namespaces: '9000000', pod: '9000000' }
  const names = ['a', 'b', 'c']
  const openAll = () => names.map((name) => ({ name, ...reader(name) })).map((each) => Object.assign(each, { opened: openOf(each) }))
  const openOf = ({ name, sink }: { name: string; sink: ReturnType<typeof reader>['sink'] }) =>
    streams.open(testPod(name), labels, 9_000_000n, sink, { version: 1n, positions: beyond })
  const looked = async (state: { lines: string[] }): Promise<void> => {
    const before = state.lines.length
    clock.now += 11
    await until(() => state.lines.length > before)
  }
  const steady = reader('s')
  streams.open(testPod('s'), labels, 0n, steady.sink)

  let opened = openAll()
  clock.now += 9_900
  await looked(steady.state)
  assert.deepEqual([told('warn'), streams.podsHeldBack], [[], 0])
  clock.now += 200
  await looked(steady.state)
  assert.equal(streams.podsHeldBack, 3)
  assert.match(told('warn').join(), /held back from 3 pods/)
  const { remedy, sidecarHas, controlHas, example } = lines.find(({ level }) => level === 'warn')!
  assert.match(String(remedy), /restored from a backup.*make these pods again.*docs\/operations\.md/)
  assert.equal(sidecarHas, '9000000,9000000,9000000,9000000')
  assert.match(String(controlHas), /^[0-9]{1,4},[0-9]{1,4},[0-9]{1,4},1$/)
  assert.equal(example, 'shop/a')
  // Their streams end and come again, as they do each hour.
  for (const each of opened) each.opened.closed()
  await looked(steady.state)
  opened = openAll()
  clock.now += 30_000
  await looked(steady.state)
  assert.deepEqual([told('warn').length, streams.podsHeldBack], [1, 3])
  assert.ok(opened.every(({ state }) => !state.lines.includes('policy')))

  for (const each of opened) each.opened.closed()
  clock.now += 60_100
  await looked(steady.state)
  assert.deepEqual([streams.podsHeldBack, told('info').length], [0, 1])
  openAll()
  clock.now += 10_100
  await looked(steady.state)
  assert.equal(told('warn').length, 2)
})
