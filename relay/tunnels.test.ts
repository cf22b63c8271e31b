// Goal: a tunnel lives exactly as long as what allowed it, and no pod has more than its share. Method: the real server; the test changes what the
// cluster says and tells the relay, as the watches do.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { until } from '../cluster/test-support.ts'
import { nextChunk, startEcho, startTestRelay, take, testDatabase, type TestRelay } from './test-relay.ts'

const gone: Readonly<Record<string, (relay: TestRelay, port: number) => void>> = {
  'the pod is no longer fit': (relay) => relay.verdicts.set('agent', { kind: 'unfit', reason: 'the cluster has no such pod' }),
  'the policy names another host': (relay, port) =>
    relay.verdicts.set('agent', {
      kind: 'fit',
      podIPs: ['127.0.0.1'],
      databases: [testDatabase({ port, hosts: ['other.test'] })],
      ceilings: [],
    }),
  'the policy names no database': (relay) =>
    relay.verdicts.set('agent', { kind: 'fit', podIPs: ['127.0.0.1'], databases: [], ceilings: [] }),
  'the ceiling comes down': (relay, port) =>
    relay.verdicts.set('agent', {
      ...{ kind: 'fit', podIPs: ['127.0.0.1'], databases: [testDatabase({ port })] },
      ceilings: [{ hosts: ['*'], addressRanges: ['10.0.0.0/8'] }],
    }),
  'the address becomes a node’s': (relay) => relay.forbidden.set('127.0.0.1', 'a node'),
}
for (const [what, change] of Object.entries(gone))
  test(`a tunnel ends when ${what}`, async () => {
    await using echo = await startEcho()
    await using relay = await startTestRelay(echo.port)
    const { socket } = await relay.connect()
    change(relay, echo.port)
    relay.server.changed(null)
    assert.equal(await nextChunk(socket), null)
    await until(() => echo.sockets.size === 0)
    assert.equal(relay.lines.find(({ msg }) => msg === 'tunnel ended')?.['reason'], 'withdrawn')
  })

test('tunnels end by the regular look when no change was heard of', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { lookMilliseconds: 10 })
  const { socket } = await relay.connect()
  relay.verdicts.set('agent', { kind: 'unfit', reason: 'gone' })
  assert.equal(await nextChunk(socket), null)
})

test('the pod that a change concerns loses its tunnels, and others keep theirs', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const [one, other] = [await relay.connect({ pod: 'one' }), await relay.connect({ pod: 'other' })]
  relay.verdicts.set('one', { kind: 'unfit', reason: 'gone' })
  relay.server.changed('uid-one')
  assert.equal(await nextChunk(one.socket), null)
  other.socket.write('on')
  assert.equal((await take(other.socket, 2)).toString(), 'on')
})

test('an API server that does not answer ends no tunnel and opens none', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { lookMilliseconds: 5 })
  const { socket } = await relay.connect()
  relay.verdicts.set('agent', new NotIdentified('CLUSTER_UNAVAILABLE', 'no answer'))
  relay.server.changed(null)
  await until(() => relay.lines.some(({ msg }) => msg.includes('could not be judged again')))
  assert.equal((await relay.connect()).code, 'CLUSTER_UNAVAILABLE')
  socket.write('on')
  assert.equal((await take(socket, 2)).toString(), 'on')
})

test('what is withdrawn while a tunnel is being made opens none', async () => {
  await using echo = await startEcho()
  let isAsked = false
  await using relay = await startTestRelay(echo.port, {
    async resolveName() {
      const { addressFormsOf } = await import('./address-forms.ts')
      if (!isAsked) {
        isAsked = true
        relay.verdicts.set('agent', { kind: 'unfit', reason: 'gone' })
        relay.server.changed(null)
      }
      return [addressFormsOf('127.0.0.1')!]
    },
  })
  assert.equal((await relay.connect()).code, 'POD_UNFIT')
  await until(() => echo.sockets.size === 0)
  assert.equal(relay.server.tunnels, 0)
})

test('TOO_MANY_TUNNELS: a pod has its number and no more; one that ends makes room, and other pods are not concerned', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { limits: { tunnelsPerPodMax: 2 } })
  const [first] = [await relay.connect(), await relay.connect()]
  assert.equal((await relay.connect()).code, 'TOO_MANY_TUNNELS')
  assert.equal((await relay.connect({ pod: 'other' })).status, 200)
  first.socket.end()
  await until(() => relay.server.tunnels === 2)
  assert.equal((await relay.connect()).status, 200)
})

test('TOO_MANY_TUNNELS: a pod that opens them too fast', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { limits: { openRate: { perSecond: 0.001, burst: 3 } } })
  const codes = []
  for (let index = 0; index < 4; index++) codes.push((await relay.connect()).code)
  assert.deepEqual(codes, [null, null, null, 'TOO_MANY_TUNNELS'])
})

test('BUSY: the relay has as many tunnels as it may', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { limits: { tunnelsMax: 1 } })
  await relay.connect()
  const answer = await relay.connect({ pod: 'other' })
  assert.equal(answer.code, 'BUSY')
  assert.match(answer.head, /retry-after: 2/i)
})

test('an idle tunnel ends after its time, one in which something moves does not', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port, { limits: { idleMillisecondsMax: 3_000 }, lookMilliseconds: 20 })
  const [idle, busy] = [await relay.connect(), await relay.connect()]
  const talk = setInterval(() => busy.socket.write('x'), 10)
  assert.equal(await nextChunk(idle.socket), null)
  await until(() => relay.server.tunnels < 2)
  assert.equal(relay.server.tunnels, 1)
  clearInterval(talk)
  assert.equal(relay.lines.find(({ msg }) => msg === 'tunnel ended')?.['reason'], 'idle')
})

test('a pod that leaves while its tunnel is being made leaves nothing behind', async () => {
  await using echo = await startEcho()
  let go = (): void => undefined
  const gate = new Promise<void>((resolve) => (go = resolve))
  await using relay = await startTestRelay(echo.port, {
    async resolveName() {
      const { addressFormsOf } = await import('./address-forms.ts')
      await gate
      return [addressFormsOf('127.0.0.1')!]
    },
  })
  const socket = await relay.connection()
  const asked = relay.connect({ socket })
  await until(() => relay.registry !== undefined && socket.bytesWritten > 0)
  socket.destroy()
  assert.equal((await asked).status, 0)
  go()
  await until(() => echo.sockets.size === 0 && relay.server.tunnels === 0)
})

test('a hundred tunnels carry each their own', async () => {
  await using echo = await startEcho()
  await using relay = await startTestRelay(echo.port)
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, index) => relay.connect({ behind: `tunnel ${String(index).padStart(3, '0')}` })),
  )
  for (const [index, { socket, rest }] of answers.entries())
    assert.equal((await take(socket, 10, rest)).toString(), `tunnel ${String(index).padStart(3, '0')}`)
  assert.equal(relay.server.tunnels, 100)
})
