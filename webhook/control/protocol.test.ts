// Goal: the protocol between sidecar and control holds against liars and against clients that break it. Method: a control that lies behind a
// certificate that fits; requests by hand that no sidecar would make.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { sha256Of } from '../../session/digest.ts'
import { recorderKey } from '../../session/object-keys.ts'
import { ControlRefused, ControlTrustMissing, openControlStore } from '../../session/stores/control.ts'
import { openStore, StoreUrlUnknown } from '../../session/stores/open-store.ts'
import { ReceiptRefused } from '../../session/stores/receipt.ts'
import { StoreUnavailable } from '../../session/stores/store.ts'
import { issueLeaf } from '../../tools/certificates.ts'
import { controlKeyOf } from './control-key.ts'
import { startTestControl } from './test-control.ts'
import { madeRecording } from './test-recordings.ts'
import { gated, requested, requestTo, type Answer } from './test-requests.ts'

const recording = await madeRecording(1)
const first = recording.objects[0]!

test('an answer without a receipt, for other bytes, of another object or of another key never counts as stored', async () => {
  await using control = await startTestControl()
  const leaf = await issueLeaf(control.authority, { kind: 'server', commonName: 'liar', names: ['127.0.0.1'] })
  const other = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
  const facts = { version: 1, store: 'default', key: first.key, sha256: '0'.repeat(64), bytes: first.bytes.length, at: 1 } as const
  const right = { ...facts, sha256: sha256Of(first.bytes) }
  const lies: unknown[] = [
    '',
    'no JSON',
    {},
    control.key.receipt(facts),
    control.key.receipt({ ...right, bytes: 1 }),
    control.key.receipt({ ...right, key: `${first.key}x` }),
    control.key.receipt({ ...right, store: 'other' }),
    other.receipt(right),
    { ...control.key.receipt(right), at: 2 },
    { ...control.key.receipt(facts), sha256: right.sha256 },
    { ...control.key.receipt(right), signature: undefined },
  ]
  let lie: unknown
  let status = 201
  const server = https.createServer({ key: leaf.keyPem, cert: leaf.certificatePem }, (incoming, response) => {
    incoming.resume().on('end', () => response.writeHead(status).end(typeof lie === 'string' ? lie : JSON.stringify(lie)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const store = openControlStore({
    ...{
      url: `https://127.0.0.1:${(server.address() as { port: number }).port}`,
      store: 'default',
      tokenFile: await control.tokenFile('a'),
    },
    ...{ caPem: control.authority.certificatePem, publicKeyPem: control.key.publicKeyPem },
  })
  for (lie of lies) await assert.rejects(store.putIfAbsent(first.key, first.bytes), ReceiptRefused, JSON.stringify(lie))
  lie = control.key.receipt(right)
  assert.equal(await store.putIfAbsent(first.key, first.bytes), 'stored')
  // What was there already may be something else, and `putOnce` looks; but the receipt must hold.
  status = 409
  lie = control.key.receipt(facts)
  assert.equal(await store.putIfAbsent(first.key, first.bytes), 'exists')
  lie = other.receipt(right)
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), ReceiptRefused)
  store.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

test('an upload that is cut off, too long, without a length or for no store leaves nothing, and control goes on', async () => {
  await using control = await startTestControl()
  const path = `/v1/stores/default/objects/${recorderKey(recording.recorder)}`
  const outgoing = requestTo(control, { method: 'PUT', path, headers: { 'content-length': '1000' } })
  const cut = new Promise((resolve) => outgoing.on('error', resolve))
  outgoing.write('half')
  setImmediate(() => outgoing.destroy(new Error('cut')))
  await cut
  assert.equal((await requested(control, { method: 'PUT', path, headers: { 'content-length': String(65 * 1024 * 1024) } })).status, 413)
  assert.equal(
    (await requested(control, { method: 'PUT', path, body: Buffer.from('x'), headers: { 'transfer-encoding': 'chunked' } })).status,
    411,
  )
  assert.equal((await requested(control, { method: 'PUT', path: '/v1/stores/default/objects/../../x', body: first.bytes })).status, 404)
  assert.equal((await requested(control, { method: 'PUT', path: '/v1/stores/default/objects/a%2f..', body: first.bytes })).status, 400)
  assert.equal((await requested(control, { method: 'POST', path })).status, 405)
  assert.equal((await requested(control, { method: 'GET', path: '/v1/stores' })).status, 404)
  assert.equal((await requested(control, { method: 'GET', path, headers: { authorization: 'Basic x' } })).status, 401)
  assert.equal(
    (await requested(control, { method: 'PUT', path, body: first.bytes, headers: { 'steno-recorder': 'f'.repeat(32) } })).status,
    422,
  )
  assert.equal(await control.directory.head(first.key), null)
  assert.equal(await (await control.client('a')).putIfAbsent(first.key, first.bytes), 'stored')
})

test('what waits too long for its turn is told when to come again, and takes nothing from other pods', async () => {
  const gate = gated()
  let letGo: () => void = () => undefined
  const held = new Promise<void>((resolve) => (letGo = resolve))
  await using control = await startTestControl({
    over: gate.over,
    uploadLimits: { uploadsMax: 2, uploadsPerPodMax: 1, waitingPerPodMax: 1, waitMilliseconds: 2_000 },
  })
  await control.server.lookAtStores()
  gate.onPut.now = (key, put) => (key === first.key ? held.then(put) : put())
  const path = `/v1/stores/default/objects/${first.key}`
  const upload = (pod: string): Promise<Answer> => requested(control, { method: 'PUT', path, body: first.bytes, pod })
  const running = upload('a')
  while (!(await control.registry.metrics()).includes('steno_control_uploads_in_progress 1')) await new Promise(setImmediate)
  const [waiting, beyond] = [upload('a'), upload('a')]
  const statuses = [(await waiting).status, (await beyond).status].sort((one, other) => one - other)
  assert.deepEqual(statuses, [429, 503])
  const store = await control.client('b')
  const other = await madeRecording(2)
  assert.equal(await store.putIfAbsent(other.objects[0]!.key, other.objects[0]!.bytes), 'stored')
  letGo()
  assert.equal((await running).status, 201)
})

test('no token is in a log line, and each refused request is one', async () => {
  const lines: string[] = []
  await using control = await startTestControl({ log: pino({ level: 'debug' }, { write: (line) => void lines.push(line) }) })
  await control.server.lookAtStores()
  lines.length = 0
  control.refused.add('bad')
  const path = `/v1/stores/default/objects/${first.key}`
  await requested(control, { method: 'GET', path, pod: 'bad' })
  await requested(control, { method: 'DELETE', path })
  await requested(control, { method: 'GET', path }) // Not there, which is an answer.
  assert.equal(lines.length, 2, lines.join(''))
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { code: string }).code),
    ['TOKEN_UNFIT', 'NOT_YOURS'],
  )
  assert.ok(!lines.join('').includes('token-of-'))
  assert.match(await control.registry.metrics(), /steno_control_refusals_total\{code="TOKEN_UNFIT"\} 1/)
})

test('a URL of control is taken apart strictly, and trust comes from the environment', async () => {
  const environment = {
    STENO_CONTROL_CA: 'x',
    STENO_CONTROL_PUBLIC_KEY: controlKeyOf(generateKeyPairSync('ed25519').privateKey).publicKeyPem,
  }
  assert.equal(
    (await openStore('control+https://steno-control.steno-system.svc:443/default', environment)).url,
    'control+https://steno-control.steno-system.svc/default',
  )
  assert.equal((await openStore('control+http://127.0.0.1:8081/default', {})).url, 'control+http://127.0.0.1:8081/default')
  for (const url of [
    'control+https://h/',
    'control+https://h/a/b',
    'control+https://h/a?x=1',
    'control+https://u:hunter2@h/a',
    'control+http://10.0.0.1/a',
    'control+ftp://h/a',
    'control+https://h/A',
  ])
    await assert.rejects(openStore(url, environment), (error) => error instanceof StoreUrlUnknown && !/hunter2/.test(String(error)), url)
  for (const missing of ['STENO_CONTROL_CA', 'STENO_CONTROL_PUBLIC_KEY'])
    await assert.rejects(openStore('control+https://h/default', { ...environment, [missing]: '' }), ControlTrustMissing)
  await assert.rejects(openStore('control+https://h/default', { ...environment, STENO_CONTROL_PUBLIC_KEY: 'x' }), ControlTrustMissing)
  await assert.rejects(
    openControlStore({
      url: 'https://h',
      store: 'a',
      tokenFile: null,
      caPem: null,
      publicKeyPem: environment.STENO_CONTROL_PUBLIC_KEY,
    }).putIfAbsent('a', Buffer.alloc(65 * 1024 * 1024)),
    ControlRefused,
  )
})

test('whoever takes long over each entry of a list is not told that control fell silent, nor cut off as a silent sidecar', async () => {
  // More than waits in sockets.
  const listed = 40_000
  await using control = await startTestControl({
    over: (directory) => ({
      ...directory,
      async *list(prefix) {
        if (prefix !== 'probe/') return yield* directory.list(prefix)
        for (let at = 0; at < listed; at++) yield { key: `probe/${String(at).padStart(200, '0')}`, bytes: 1 }
      },
    }),
    seams: { silenceMillisecondsMax: 1_000 },
  })
  const silenceMilliseconds = 4_000
  const { readerPort } = control.server
  const reader = openControlStore({
    ...{ url: `http://127.0.0.1:${readerPort}`, store: 'default', tokenFile: null, caPem: null, publicKeyPem: null },
    timeouts: { answerMilliseconds: 120_000, silenceMilliseconds },
  })
  let entries = 0
  for await (const _ of reader.list('probe/'))
    if (++entries === 5) await new Promise((resolve) => setTimeout(resolve, 1.5 * silenceMilliseconds))
  assert.equal(entries, listed)
  reader.close()
})

test('what a port-forward loses is asked again on another connection, once', async () => {
  const connections = new Set<Socket>()
  let lost = 1
  const forward = http.createServer((request, response) => {
    connections.add(request.socket)
    if (connections.size > lost) response.end('bytes')
  })
  forward.listen(0, '127.0.0.1')
  await once(forward, 'listening')
  const { port } = forward.address() as AddressInfo
  const reader = openControlStore({
    ...{ url: `http://127.0.0.1:${port}`, store: 'default', tokenFile: null, caPem: null, publicKeyPem: null },
    timeouts: { answerMilliseconds: 500, silenceMilliseconds: 20_000 },
  })
  try {
    assert.equal(String(await reader.get('probe/a')), 'bytes')
    lost = Infinity
    await assert.rejects(reader.get('probe/a'), StoreUnavailable)
    assert.equal(connections.size, 4, 'two for each request')
  } finally {
    reader.close()
    forward.closeAllConnections()
    forward.close()
  }
})

test('a short list that is whole before its first entry is taken up is read to its end', async () => {
  await using control = await startTestControl()
  await Promise.all(['a', 'b', 'c'].map((name) => control.directory.putIfAbsent(`probe/${name}`, Buffer.alloc(1))))
  const { readerPort } = control.server
  const reader = openControlStore({
    ...{ url: `http://127.0.0.1:${readerPort}`, store: 'default', tokenFile: null, caPem: null, publicKeyPem: null },
  })
  const names: string[] = []
  for await (const { key } of reader.list('probe/')) {
    names.push(key)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual(
    names.filter((key) => /^probe\/[abc]$/.test(key)),
    ['probe/a', 'probe/b', 'probe/c'],
  )
  reader.close()
})
