// Goal: a measurement says what is, by real connections: Closed only where the relay reaches what this network does not, Open at once. Method:
// addresses of loopback where something listens or nothing does, and an asked relay of the test's own.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test, type TestContext } from 'node:test'
import type { ReachedAddress } from '../tunnel/probing.ts'
import { createDirectTries, outcomeOf, type DirectTry } from './direct-tries.ts'
import { createMeasure } from './measure.ts'

async function listening(t: TestContext, host = '127.0.0.1', port = 0) {
  const seen: net.Socket[] = []
  const server = net.createServer((socket) => {
    seen.push(socket.on('error', () => undefined).resume())
  })
  server.listen(port, host)
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  t.after(close)
  return { port: (server.address() as net.AddressInfo).port, seen, close }
}

const reachable = (...addresses: string[]): ReachedAddress[] => addresses.map((address) => ({ address, isReachable: true }))

function measuring(answers: Record<string, readonly ReachedAddress[] | Error>, tryDirectly: DirectTry = createDirectTries()) {
  const opened: string[] = []
  const measure = createMeasure({
    relay: {
      async probe({ host }) {
        const answer = answers[host]
        if (answer === undefined || answer instanceof Error) throw answer ?? new Error(`${host} is not known`)
        return answer
      },
    },
    tryDirectly,
  })
  return {
    answers,
    opened,
    measure: (port: number, ...hosts: string[]) =>
      measure({ database: 'orders', hosts: hosts.map((host) => ({ host, port })) }, { onOpen: (through) => opened.push(through) }),
  }
}

test('Closed: the relay reaches an address, and none takes a direct connection', async (t) => {
  const { port } = await listening(t)
  const { measure, opened } = measuring({ db: [...reachable('127.0.0.7'), { address: '127.0.0.8', isReachable: false }] })
  assert.deepEqual(await measure(port, 'db'), { state: 'Closed', addresses: ['127.0.0.7', '127.0.0.8'] })
  assert.deepEqual(opened, [])
})

test('Open: one address of many takes a direct connection, which is closed without a byte', async (t) => {
  const server = await listening(t)
  const { measure, opened } = measuring({ db: reachable('127.0.0.7', '127.0.0.1') })
  const measured = await measure(server.port, 'db')
  assert.deepEqual(measured, { state: 'Open', addresses: ['127.0.0.7', '127.0.0.1'], through: `127.0.0.1:${server.port}` })
  assert.deepEqual(opened, [`127.0.0.1:${server.port}`])
  const [socket] = server.seen
  if (!socket!.closed) await once(socket!, 'close')
  assert.equal(socket!.bytesRead, 0)
})

test('Open is told while the relay has not answered, and without its answer', async (t) => {
  const server = await listening(t)
  let fail: (error: Error) => void = () => undefined
  const told = Promise.withResolvers<string>()
  const measure = createMeasure({
    relay: { probe: () => new Promise((_, reject) => (fail = reject)) },
    tryDirectly: createDirectTries(),
  })
  const measured = measure({ database: 'orders', hosts: [{ host: '127.0.0.1', port: server.port }] }, { onOpen: told.resolve })
  assert.equal(await told.promise, `127.0.0.1:${server.port}`)
  fail(new Error('gone'))
  assert.equal((await measured).state, 'Open')
})

test('addresses that the relay gave last are tried when it answers no more', async (t) => {
  const server = await listening(t)
  await server.close()
  const world = measuring({ db: reachable('127.0.0.1') })
  assert.equal((await world.measure(server.port, 'db')).state, 'Closed')
  world.answers['db'] = new Error('RELAY_UNREACHABLE: no answer')
  assert.deepEqual(await world.measure(server.port, 'db'), {
    state: 'Unknown',
    addresses: ['127.0.0.1'],
    why: 'RELAY_UNREACHABLE: no answer',
  })
  await listening(t, '127.0.0.1', server.port)
  assert.equal((await world.measure(server.port, 'db')).state, 'Open')
})

for (const [what, answer, why] of [
  ['the relay reaches nothing', [{ address: '127.0.0.7', isReachable: false }], /the relay reaches no address of db/],
  ['the name has no address', [], /the relay reaches no address of db/],
  ['the relay does not answer', new Error('away'), /^away$/],
] as const) {
  test(`Unknown, never Closed, when ${what}`, async () => {
    const measured = await measuring({ db: answer }).measure(1, 'db')
    assert.equal(measured.state, 'Unknown')
    assert.match(measured.state === 'Unknown' ? measured.why : '', why)
  })
}

test('Unknown, never Closed, when this process itself cannot connect', async () => {
  const measured = await measuring({ db: reachable('127.0.0.7') }, async () => 'undecided').measure(1, 'db')
  assert.equal(measured.state, 'Unknown')
})

test('an address that the relay reaches and that was not tried closes nothing; at most 64 are tried, each once at a time', async () => {
  const tried: string[] = []
  const answersOf = (subnet: number): ReachedAddress[] =>
    Array.from({ length: 16 }, (_, index) => ({ address: `127.0.${subnet}.${index}`, isReachable: false }))
  const answers = { a: answersOf(1), b: answersOf(2), c: answersOf(3), d: answersOf(4), same: answersOf(4), more: reachable('127.0.5.1') }
  const world = measuring(answers, async (address) => {
    tried.push(address)
    return 'failed'
  })
  assert.equal((await world.measure(1, 'a', 'b', 'c', 'd', 'same', 'more')).state, 'Unknown')
  assert.deepEqual(
    tried,
    [1, 2, 3, 4].flatMap((subnet) => answersOf(subnet).map(({ address }) => address)),
  )
})

test('every address that the relay gives is tried, of several hosts too; of many hosts each has its turn', async () => {
  const names = Array.from({ length: 15 }, (_, host) => `db-${host}`)
  const answers = Object.fromEntries(
    names.map((name, host) => [name, reachable(...Array.from({ length: 6 }, (_, at) => `127.0.${host}.${at + 1}`))]),
  )
  const open = '127.0.1.6'
  const two = measuring(answers, async (address) => (address === open ? 'connected' : 'failed'))
  assert.equal((await two.measure(1, 'db-0', 'db-1')).state, 'Open')
  const tried = new Set<string>()
  const many = measuring(answers, async (address) => (tried.add(address), 'failed'))
  for (let turn = 0; turn < 3; turn++) assert.equal((await many.measure(1, ...names)).state, 'Closed')
  assert.equal(tried.size, 15 * 6)
  const late = measuring(answers, async (address) => (address === '127.0.12.6' ? 'connected' : 'failed'))
  const states: string[] = []
  for (let turn = 0; turn < 5; turn++) states.push((await late.measure(1, ...names)).state)
  assert.deepEqual(states, ['Closed', 'Closed', 'Open', 'Open', 'Open'], 'what was found open keeps its turn')
})

test('a way that is open is found although this process was held up for longer than a try may take', async (t) => {
  const { port } = await listening(t)
  const outcome = createDirectTries({ millisecondsMax: 20 })('127.0.0.1', port)
  // Behind the connection's beginning.
  process.nextTick(() =>
    process.nextTick(() => {
      const until = performance.now() + 60
      while (performance.now() < until);
    }),
  )
  assert.equal(await outcome, 'connected')
})

test('who asks for an address that is being tried shares the try, and an address that is silent is given up', async () => {
  const tries = createDirectTries({ millisecondsMax: 50 })
  // Of a documentation range (RFC 5737): nothing answers, or there is no way at all.
  assert.equal(tries('192.0.2.1', 5432), tries('192.0.2.1', 5432))
  assert.equal(await tries('192.0.2.1', 5432), 'failed')
})

test('a kernel without IPv6 leaves an IPv6 address closed; what a pod can bring about itself decides nothing', () => {
  assert.equal(outcomeOf('EAFNOSUPPORT'), 'failed')
  for (const code of ['EADDRNOTAVAIL', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRINUSE', undefined])
    assert.equal(outcomeOf(code), 'undecided', code)
})
