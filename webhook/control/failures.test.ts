// Goal: whatever fails between a sidecar and its store, an object counts as stored only when it is, and then once. Method: each fault
// comes before and after it took effect; then the client does again what a sidecar does, and the store is looked at.
import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import { test } from 'node:test'
import { openControlStore } from '../../session/stores/control.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { probeStore } from '../../session/stores/probe.ts'
import { StoreUnavailable } from '../../session/stores/store.ts'
import { createAuthority, issueLeaf } from '../../tools/certificates.ts'
import { startTestControl, testToken, type TestControl } from './test-control.ts'
import { madeRecording } from './test-recordings.ts'
import { gated, requested } from './test-requests.ts'

const recording = await madeRecording(1)
const first = recording.objects[0]!

const isUnavailable = (error: unknown): boolean => error instanceof StoreUnavailable && error.remedy.length > 10

/** Between a client and control: cuts the connection at a put's answer when told. */
async function startCutter(control: TestControl): Promise<AsyncDisposable & { url: string; ca: string; cutNext(): void }> {
  const leaf = await issueLeaf(control.authority, { kind: 'server', commonName: 'cutter', names: ['127.0.0.1'] })
  let isCut = false
  const agent = new https.Agent({ ca: control.authority.certificatePem, keepAlive: true })
  const server = https.createServer({ key: leaf.keyPem, cert: leaf.certificatePem }, (request, response) => {
    const { method, headers, url } = request
    const onward = https.request(new URL(url!, control.origin), { method, headers, agent }, (answer) => {
      if (isCut && method === 'PUT') {
        isCut = false
        answer.resume().on('end', () => request.socket.destroy())
        return
      }
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://127.0.0.1:${(server.address() as { port: number }).port}`,
    ca: control.authority.certificatePem,
    cutNext: () => (isCut = true),
    async [Symbol.asyncDispose]() {
      agent.destroy()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test('a reply that is lost after the object was stored: the next try says that it is there, and it is there once', async () => {
  await using control = await startTestControl()
  await using cutter = await startCutter(control)
  const options = { url: cutter.url, store: 'default', tokenFile: await control.tokenFile('a'), caPem: cutter.ca }
  const store = openControlStore({ ...options, publicKeyPem: control.key.publicKeyPem })
  cutter.cutNext()
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  assert.deepEqual(await control.directory.get(first.key), first.bytes)
  assert.equal(await store.putIfAbsent(first.key, first.bytes), 'exists')
  // On a connection that was kept the client cannot tell it from one that went stale, and repeats by itself: what is its own is stored.
  const segment = recording.objects[1]!
  cutter.cutNext()
  assert.equal(await store.putIfAbsent(segment.key, segment.bytes), 'stored')
  assert.deepEqual(await control.directory.get(segment.key), segment.bytes)
  cutter.cutNext()
  await probeStore(store)
  store.close()
})

test('a control that ends while an upload is under way stores it whole or not at all, and the next control takes it', async () => {
  for (const moment of ['before the store has it', 'after the store has it'] as const) {
    const gate = gated()
    await using control = await startTestControl({ over: gate.over })
    const store = await control.client('a', { timeouts: { answerMilliseconds: 10_000, silenceMilliseconds: 10_000 } })
    let reached: () => void = () => undefined
    const atGate = new Promise<void>((resolve) => (reached = resolve))
    gate.onPut.now = async (key, put) => {
      if (key !== first.key) return put()
      gate.onPut.now = null
      if (moment === 'after the store has it') await put()
      reached()
      return Promise.reject(new StoreUnavailable('killed on cue', 'Start it again.'))
    }
    const outcome = store.putIfAbsent(first.key, first.bytes).then(
      () => 'stored',
      (error: unknown) => (isUnavailable(error) ? 'unavailable' : String(error)),
    )
    await atGate
    await control.restart()
    assert.equal(await outcome, 'unavailable', moment)
    assert.equal(await store.putIfAbsent(first.key, first.bytes), moment === 'after the store has it' ? 'exists' : 'stored')
    assert.deepEqual(await control.directory.get(first.key), first.bytes)
  }
})

test('no control at all, and none yet: unavailable with a remedy, and then it works', async () => {
  await using control = await startTestControl()
  const nobody = openControlStore({
    url: 'https://127.0.0.1:1',
    store: 'default',
    tokenFile: await control.tokenFile('a'),
    caPem: null,
    publicKeyPem: null,
  })
  await assert.rejects(nobody.get(first.key), isUnavailable)
  const store = await control.client('a')
  await store.putIfAbsent(first.key, first.bytes)
  await control.restart() // The kept connection is of the one before.
  assert.deepEqual(await store.get(first.key), first.bytes)
})

test('a token that expired is read anew; one that stays refused makes the store unavailable, not the recording lost', async () => {
  await using control = await startTestControl()
  const file = await control.tokenFile('a')
  const store = await control.client('a')
  await writeFile(file, testToken('expired'))
  control.refused.add('expired')
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  await writeFile(file, testToken('a'))
  assert.equal(await store.putIfAbsent(first.key, first.bytes), 'stored')
  for (const broken of ['', 'with space', 'x'.repeat(20_000)]) {
    await writeFile(file, broken)
    await assert.rejects(store.get(first.key), isUnavailable)
  }
  await rm(file)
  await assert.rejects(store.get(first.key), isUnavailable)
})

test('a token that the kubelet replaces between reading and sending is found at the second look', async () => {
  await using control = await startTestControl({
    reviewToken: async (token) => {
      if (token !== testToken('old'))
        return { kind: 'pod', pod: { podUid: 'uid-a', podName: 'a', podNamespace: 'shop', serviceAccount: 'agent', nodeName: null } }
      await control.tokenFile('a')
      return { kind: 'refused', reason: 'expired' }
    },
  })
  const store = await control.client('a')
  await writeFile(await control.tokenFile('a'), testToken('old'))
  assert.equal(await store.get(first.key), null)
})

test('the authority rotates: clients with both take the next certificate, also on kept connections; one with the old alone waits', async () => {
  await using control = await startTestControl()
  const next = await createAuthority('the next authority')
  const both = await control.client('a', { caPem: control.authority.certificatePem + next.certificatePem })
  const oldOnly = await control.client('a')
  await both.putIfAbsent(first.key, first.bytes)
  control.useCertificate(await issueLeaf(next, { kind: 'server', commonName: 'control', names: ['127.0.0.1'] }))
  assert.deepEqual(await both.get(first.key), first.bytes)
  const fresh = await control.client('a', { caPem: control.authority.certificatePem + next.certificatePem })
  assert.deepEqual(await fresh.get(first.key), first.bytes)
  await assert.rejects(oldOnly.get(first.key), (error) => isUnavailable(error) && /not who this pod expects/.test(String(error)))
})

// What control answers when its store fails, as a sidecar meets it.
for (const [what, fail, status, pattern] of [
  ['down', () => Promise.reject(new StoreUnavailable('the disk is away', 'Mount it again.')), 503, /disk is away/],
  ['full', () => Promise.reject(new StoreUnavailable('no room', 'Free space on it.', undefined, { isFull: true })), 507, /no room/],
  ['slow', () => new Promise<never>(() => {}), 504, /did not answer within/],
] as const) {
  test(`a store that is ${what} makes the client wait with a remedy, the status says so, and afterwards it works`, async () => {
    const gate = gated()
    await using control = await startTestControl({ over: gate.over, seams: what === 'slow' ? { callMilliseconds: 1_000 } : {} })
    await control.server.lookAtStores()
    const store = await control.client('a')
    gate.onPut.now = fail
    await assert.rejects(store.putIfAbsent(first.key, first.bytes), (error) => isUnavailable(error) && pattern.test(String(error)))
    const answer = await requested(control, { method: 'PUT', path: `/v1/stores/default/objects/${first.key}`, body: first.bytes })
    assert.equal(answer.status, status)
    assert.ok(Number(answer.headers['retry-after']) > 0)
    assert.equal(control.server.statuses()[0]?.isReachable, false)
    assert.match(await control.registry.metrics(), /steno_control_store_reachable\{store="default",reason="(?:Unavailable|Full|Slow)"\} 0/)
    gate.onPut.now = null
    assert.equal(await store.putIfAbsent(first.key, first.bytes), 'stored')
    assert.equal(control.server.statuses()[0]?.isReachable, true)
  })
}

test('a store that overwrites takes nothing, and its status says why', async () => {
  await using control = await startTestControl({
    over: (directory) => ({
      ...directory,
      async putIfAbsent(key, bytes) {
        await directory.delete(key)
        return directory.putIfAbsent(key, bytes)
      },
    }),
  })
  const store = await control.client('a')
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  assert.equal(await control.directory.head(first.key), null)
  assert.deepEqual(
    control.server.statuses().map(({ reason }) => reason),
    ['Overwrites'],
  )
})

test('a RecordingStore that is not there, or cannot be opened by this release, is told from one that fails', async () => {
  await using control = await startTestControl({ seams: { open: () => openStore('ftp://host/x') } })
  await assert.rejects((await control.client('a', { store: 'other' })).get(first.key), /no RecordingStore/)
  await assert.rejects((await control.client('a')).putIfAbsent(first.key, first.bytes), /ftp:/)
  assert.equal(control.server.statuses()[0]?.reason, 'NotSupported')
})

test('a store that takes nothing is not told as working because it can be read', async () => {
  const gate = gated()
  await using control = await startTestControl({ over: gate.over })
  await control.server.lookAtStores()
  const store = await control.client('a')
  gate.onPut.now = () => Promise.reject(new StoreUnavailable('no room', 'Free space on it.', undefined, { isFull: true }))
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  assert.equal(await store.get(first.key), null)
  assert.deepEqual(
    control.server.statuses().map(({ isReachable, reason }) => ({ isReachable, reason })),
    [{ isReachable: false, reason: 'Full' }],
  )
})

test('a store that fails in another way than before is told anew, with what to do about it', async () => {
  const gate = gated()
  await using control = await startTestControl({ over: gate.over })
  await control.server.lookAtStores()
  const store = await control.client('a')
  for (const remedy of ['Mount it again.', 'Give another key.']) {
    gate.onPut.now = () => Promise.reject(new StoreUnavailable('it refuses', remedy))
    await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
    assert.match(control.server.statuses()[0]?.message ?? '', new RegExp(`it refuses.*STORE_UNAVAILABLE.*${remedy}`))
  }
})

test('a store that comes back overwriting is refused, though an earlier one was proven', async () => {
  let overwrites = false
  let isDown = false
  await using control = await startTestControl({
    over: (directory) => ({
      ...directory,
      async putIfAbsent(key, bytes) {
        if (isDown) throw new StoreUnavailable('it is away', 'Bring it back.')
        if (overwrites) await directory.delete(key)
        return directory.putIfAbsent(key, bytes)
      },
    }),
  })
  await control.server.lookAtStores()
  const store = await control.client('a')
  isDown = true
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  isDown = false
  overwrites = true
  await control.server.lookAtStores()
  await assert.rejects(store.putIfAbsent(first.key, first.bytes), isUnavailable)
  assert.equal(await control.directory.head(first.key), null)
  assert.equal(control.server.statuses()[0]?.reason, 'Overwrites')
})
