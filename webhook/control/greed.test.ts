// Goal: a pod with a token takes from nobody else, however it misuses control: memory, time, room for uploads, the store. Method: the real
// server, the greedy pod's requests by hand, and a second pod that does what a sidecar does meanwhile.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { recorderDocument } from '../../session/recorder-key.ts'
import { ledgerKey, manifestKey, recorderKey, statementIndexKey } from '../../session/object-keys.ts'
import { readManifest, sealManifest } from '../../session/manifest.ts'
import { signDocument } from '../../session/signed-document.ts'
import type { Store } from '../../session/stores/store.ts'
import { testKey } from '../../session/test-recording.ts'
import { until } from '../../cluster/test-support.ts'
import { createProbes } from './probes.ts'
import { readBody } from './request-body.ts'
import type { Route } from './routes.ts'
import { fitPod, startTestControl, testPod, type TestControl } from './test-control.ts'
import { madeRecording } from './test-recordings.ts'
import { requested, requestTo, type Answer } from './test-requests.ts'

const timeout = 120_000
const mebibyte = 1024 * 1024
const recording = await madeRecording(1)
const [document, segment] = recording.objects as [(typeof recording.objects)[0], (typeof recording.objects)[0]]
const pathOf = (key: string): string => `/v1/stores/default/objects/${key}`

async function putFirst(control: TestControl, pod: string, of = recording): Promise<Store> {
  const store = await control.client(pod)
  for (const { key, bytes } of of.objects.slice(0, 2)) assert.equal(await store.putIfAbsent(key, bytes), 'stored')
  return store
}

const put = (control: TestControl, key: string, body: Buffer, pod = 'a'): Promise<Answer> =>
  requested(control, { method: 'PUT', path: pathOf(key), body, pod, headers: { 'content-length': String(body.length) } })

test(
  'a document that would need gigabytes as objects is refused without building it, also when its recorder signed it',
  { timeout },
  async () => {
    await using control = await startTestControl()
    await putFirst(control, 'a')
    const key = testKey(1)
    const { session, recorder } = recording
    const deep = Buffer.from(`{"type":${'['.repeat(mebibyte)}${']'.repeat(mebibyte)}}`)
    const nested = Buffer.concat([deep, Buffer.from(`\n${key.sign(deep).toString('base64')}\n`)])
    const bomb = (type: string, bytes: number): Buffer =>
      signDocument({ type, version: 1, recorder, session, number: 1, events: Array.from({ length: bytes / 3 }, () => []) }, key).bytes
    const store = await control.client('a')
    const large = bomb('manifest', 24 * mebibyte)
    for (const [at, body, why] of [
      [manifestKey(session), large, /values/],
      [ledgerKey(recorder, 1), bomb('ledger-entry', 3 * mebibyte), /values/],
      [ledgerKey(recorder, 1), large, /may have/],
      [manifestKey(session), nested, /nests/],
      [ledgerKey(recorder, 1), nested, /nests/],
    ] as const)
      await assert.rejects(store.putIfAbsent(at, body), why)
  },
)

test('a manifest of many thousand segments is taken by its signature and whose it is', { timeout }, async () => {
  await using control = await startTestControl()
  const store = await putFirst(control, 'a')
  const { manifest } = readManifest(recording.objects.find(({ key }) => key.endsWith('manifest.json'))!.bytes)
  const segments = Array.from({ length: 12_000 }, (_, at) => ({ ...manifest.segments[0]!, number: at + 1 }))
  const sealed = (seed: number, fields: object): Buffer => sealManifest({ ...manifest, segments, ...fields }, testKey(seed)).bytes
  const key = manifestKey(recording.session)
  assert.ok(sealed(1, {}).length > 4 * mebibyte)
  assert.equal((await put(control, key, sealed(2, {}))).status, 422)
  assert.equal((await put(control, key, sealed(1, { session: '01a1fd55-7e72-7000-8000-0000000003ea' }))).status, 422)
  assert.equal(await store.putIfAbsent(key, sealed(1, {})), 'stored')
})

test('repeated puts of what is there read it a few at a time', { timeout }, async () => {
  let reading = 0
  let most = 0
  const over = (directory: Store): Store => ({
    ...directory,
    async range(key, start, end) {
      most = Math.max(most, ++reading)
      await pause(2)
      return directory.range(key, start, end).finally(() => reading--)
    },
  })
  await using control = await startTestControl({ over })
  await putFirst(control, 'a')
  const key = statementIndexKey(recording.session, 7)
  assert.equal((await put(control, key, Buffer.alloc(4 * mebibyte))).status, 201)
  const answers = await Promise.all(Array.from({ length: 60 }, () => put(control, key, Buffer.from('x'))))
  const statuses = new Set(answers.map(({ status }) => status))
  assert.ok(statuses.has(409) && [...statuses].every((status) => [409, 429, 503].includes(status)), [...statuses].join())
  assert.ok(most <= 8, `${most} at a time`)
})

test('uploads that trickle in leave room for another pod, and are given up', { timeout }, async () => {
  await using control = await startTestControl()
  await putFirst(control, 'b', await madeRecording(2))
  const slow = Array.from({ length: 4 }, () => {
    const request = requestTo(control, { method: 'PUT', path: pathOf(segment.key), headers: { 'content-length': String(64 * mebibyte) } })
    request.on('error', () => undefined).write('x')
    return request
  })
  const metric = async (name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await control.registry.metrics())?.[1])
  while ((await metric('steno_control_uploads_in_progress')) + (await metric('steno_control_uploads_waiting')) < 4) await pause(5)
  assert.equal(await metric('steno_control_upload_bytes_held'), 64 * mebibyte)
  const other = await madeRecording(3)
  await putFirst(control, 'c', other)
  for (const request of slow) request.destroy()
})

test('a body that comes too slowly is given up', { timeout }, async (context) => {
  const [from, to] = [new net.Socket(), new net.Socket()]
  context.after(() => [from, to].forEach((socket) => socket.destroy()))
  const body = Object.assign(to, { headers: {} }) as unknown as Parameters<typeof readBody>[0]
  await assert.rejects(readBody(body, 256, 5), { code: 'BAD_REQUEST' })
})

test('a pod leaves no more than some probes in the store, and again so many after ten minutes', () => {
  let now = 0
  const probes = createProbes({ now: () => now })
  const claim = (pod: string): string => {
    const key = `probe/${crypto.randomUUID()}`
    probes.claim(key, testPod(pod))
    return key
  }
  for (let at = 0; at < 100; at++) probes.forget(claim('a'))
  for (let at = 0; at < 16; at++) claim('a')
  assert.throws(() => claim('a'), { code: 'TOO_MANY_UPLOADS' })
  probes.forget(claim('b'))
  now += 600_000
  claim('a')
})

test('a pod without a sidecar leaves nothing at all in the store', { timeout }, async () => {
  await using control = await startTestControl({ describePod: () => Promise.resolve({ kind: 'unfit', reason: 'it has no steno sidecar' }) })
  const key = `probe/${crypto.randomUUID()}`
  assert.equal((await put(control, key, Buffer.from('x'))).status, 403)
  assert.equal(await control.directory.head(key), null)
})

test('a pod that may not record is told so before its upload is given room, and is looked at once in a while', { timeout }, async () => {
  let looks = 0
  await using control = await startTestControl({
    describePod({ podName }) {
      if (podName !== 'x') return Promise.resolve(fitPod)
      looks++
      return Promise.resolve({ kind: 'unfit', reason: 'it has no steno sidecar' })
    },
  })
  for (let at = 0; at < 3; at++) {
    const headers = { 'content-length': String(64 * mebibyte) }
    const outgoing = requestTo(control, { method: 'PUT', path: pathOf(segment.key), pod: 'x', headers })
    outgoing.flushHeaders()
    const [answer] = (await once(outgoing, 'response', { signal: AbortSignal.timeout(60_000) })) as [IncomingMessage]
    assert.equal(answer.statusCode, 403)
    outgoing.on('error', () => undefined).destroy()
  }
  assert.equal(looks, 1)
  await putFirst(control, 'a')
})

test('a pod’s probes that were removed do not count', { timeout }, async () => {
  await using control = await startTestControl()
  for (let at = 0; at < 40; at++) {
    const path = pathOf(`probe/${crypto.randomUUID()}`)
    const body = Buffer.from('x')
    assert.equal((await requested(control, { method: 'PUT', path, body, headers: { 'content-length': '1' } })).status, 201)
    assert.equal((await requested(control, { method: 'DELETE', path })).status, 204)
  }
})

test('a pod brings no more than some recorders', { timeout }, async () => {
  await using control = await startTestControl()
  const statuses: number[] = []
  for (let seed = 100; seed < 118; seed++) {
    const { bytes } = recorderDocument(testKey(seed))
    statuses.push((await put(control, recorderKey(testKey(seed).id), bytes)).status)
  }
  assert.deepEqual(statuses, [...Array.from({ length: 16 }, () => 201), 429, 429])
  const other = await control.client('b')
  assert.equal(await other.putIfAbsent(document.key, document.bytes), 'stored')
})

test(
  'a pod has few small messages under way at a time, asks no more often than it may, and takes nothing from others',
  { timeout },
  async () => {
    let underWay = 0
    let most = 0
    const end = Promise.withResolvers<void>()
    const route: Route = {
      ...{ method: 'POST', path: '/v1/slow' },
      async handle({ response, pod }) {
        if (pod.podName === 'a') {
          most = Math.max(most, ++underWay)
          await end.promise
          underWay--
        }
        response.writeHead(204).end()
      },
    }
    const long: Route = {
      ...{ method: 'GET', path: '/v1/long', isLong: true },
      handle: ({ response }) => Promise.resolve(void response.writeHead(204).end()),
    }
    await using control = await startTestControl({ newcomerLimits: null, routes: () => [route, long] })
    const ask = async (pod: string): Promise<number> =>
      (await requested(control, { method: 'POST', path: '/v1/slow', pod, headers: { 'content-length': '0' } })).status
    const greedy = Promise.all(Array.from({ length: 140 }, () => ask('a')))
    await until(() => most === 4)
    assert.equal(await ask('b'), 204)
    end.resolve()
    const statuses = await greedy
    assert.equal(most, 4)
    assert.ok(statuses.includes(429) && statuses.every((status) => [204, 429].includes(status)), statuses.join())
    // Those that may last are bounded by the rate alone.
    const opened = await Promise.all(
      Array.from({ length: 250 }, async () => (await requested(control, { method: 'GET', path: '/v1/long', pod: 'c' })).status),
    )
    assert.ok(opened.filter((status) => status === 204).length >= 100)
    assert.ok(opened.includes(429))
  },
)

test('a path that has to be mended before it can be read is refused', { timeout }, async () => {
  await using control = await startTestControl()
  await putFirst(control, 'a')
  const get = async (path: string): Promise<number> => (await requested(control, { method: 'GET', path })).status
  assert.equal(await get(pathOf(document.key)), 200)
  for (const path of [
    pathOf(`sessions/%2e%2e/${document.key}`),
    pathOf(`sessions/../${document.key}`),
    `//other${pathOf(document.key)}`,
    `/.${pathOf(document.key)}`,
    pathOf(`/${document.key}`),
    pathOf(document.key.replace('recorders', 'recorder%73')),
    `${pathOf(document.key)}#x`,
    pathOf(document.key.replace('/', '\\')),
  ])
    assert.ok([400, 404].includes(await get(path)), path)
})

test('thousands of silent connections keep no sidecar out', { timeout }, async (context) => {
  // As on a network that gives all pods one address.
  await using control = await startTestControl({ newcomerLimits: null })
  const { port } = control.server
  const silent: net.Socket[] = []
  context.after(() => silent.forEach((socket) => socket.destroy()))
  // No more at a time than the kernel keeps for a server that has yet to take them.
  while (silent.length < 4_400) {
    const some = Array.from({ length: 200 }, () =>
      net
        .connect({ port, host: '127.0.0.1' })
        .on('error', () => undefined)
        .resume(),
    )
    silent.push(...some)
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    await pause(10)
  }
  await until(() => silent.filter((socket) => socket.destroyed).length >= 4_400 - 4_096)
  await putFirst(control, 'a')
})

test('a peer that says nothing does not hold up the end', { timeout }, async (context) => {
  await using control = await startTestControl()
  const silent = net.connect({ port: control.server.port, host: '127.0.0.1' }).on('error', () => undefined)
  context.after(() => silent.destroy())
  await once(silent, 'connect')
  await putFirst(control, 'a')
  const begun = performance.now()
  await control.server.stop()
  // A stop that waits for somebody in vain takes 20 s.
  assert.ok(performance.now() - begun < 18_000)
})

test('an address has so many connections and handshakes and no more, while another takes part', { timeout }, async () => {
  const newcomerLimits = { connectionsMax: 4, rate: { perSecond: 0, burst: 6 } }
  await using control = await startTestControl({ newcomerLimits })
  const { port } = control.server
  const cut = async (): Promise<number> =>
    Number(/^steno_control_connections_cut_total (\d+)$/m.exec(await control.registry.metrics())?.[1])
  const open = (localAddress: string): Promise<net.Socket> =>
    new Promise((resolve) => {
      const socket = net.connect({ host: '127.0.0.1', port, localAddress }, () => resolve(socket)).on('error', () => undefined)
    })
  const greedy = await Promise.all(Array.from({ length: 10 }, () => open('127.0.0.2')))
  while ((await cut()) < 6) await pause(5)
  assert.equal(greedy.length - (await cut()), newcomerLimits.connectionsMax)
  for (const socket of greedy) socket.destroy()
  // What was cut cost a turn of its rate, too, unless it was beyond the count of connections; the rest is the rate's.
  const later = await Promise.all(Array.from({ length: 10 }, () => open('127.0.0.2')))
  while ((await cut()) < 6 + 8) await pause(5)
  assert.equal((await requested(control, { method: 'GET', path: pathOf(document.key) })).status, 404)
  for (const socket of later) socket.destroy()
})

test(
  'connections that have shown a token leave their address room, so that pods behind one address do not keep each other out',
  { timeout },
  async (context) => {
    await using control = await startTestControl({ newcomerLimits: { connectionsMax: 2, rate: { perSecond: 0, burst: 100 } } })
    const kept = Array.from({ length: 6 }, () => new https.Agent({ keepAlive: true, maxSockets: 1 }))
    context.after(() => kept.forEach((agent) => agent.destroy()))
    for (const agent of kept) assert.equal((await requested(control, { method: 'GET', path: pathOf(document.key), agent })).status, 404)
    assert.equal(kept.filter((agent) => Object.keys(agent.freeSockets).length === 1).length, kept.length)
  },
)
