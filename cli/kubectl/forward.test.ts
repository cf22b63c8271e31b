// Goal: commands reach control through a port that stays, and people are told why when they do not. Method: a kubectl that forwards to a
// server of the test, is killed, refuses, or says nothing.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError } from '../../base/errors.ts'
import { openForward } from './forward.ts'
import { createTestKubectl, ran, type KubectlAnswers } from './test-kubectl.ts'

let control: http.Server
let port = 0
before(async () => {
  control = http.createServer((request, response) => {
    const known = {
      stores: [
        { name: 'default', isReachable: true },
        { name: 'archive', isReachable: true },
      ],
    }
    response.setHeader('connection', 'close')
    if (request.url === '/v1/stores') response.end(JSON.stringify(known))
    else response.writeHead(503).end(JSON.stringify({ code: 'STORE_UNAVAILABLE', message: 'the store is down', remedy: 'Wait.' }))
  })
  control.listen(0, '127.0.0.1')
  await once(control, 'listening')
  port = (control.address() as AddressInfo).port
})
after(() => control.close())

async function withKubectl<Result>(
  answers: KubectlAnswers,
  work: (kubectl: ReturnType<typeof createTestKubectl>) => Promise<Result>,
): Promise<Result> {
  using kubectl = createTestKubectl(answers, { forwardTo: port })
  return await as(kubectl.program, () => work(kubectl))
}

async function as<Result>(program: string, work: () => Promise<Result>): Promise<Result> {
  const usual = process.env['KUBECTL']
  process.env['KUBECTL'] = program
  try {
    return await work()
  } finally {
    if (usual === undefined) delete process.env['KUBECTL']
    else process.env['KUBECTL'] = usual
  }
}

const options = { stenoNamespace: 'steno-system' }
const storesAt = async (origin: string): Promise<number> => (await fetch(`${origin}/v1/stores`)).status

/** The processes that run the kubectl of the test, without the shell that guards it. */
async function running(program: string): Promise<number[]> {
  const { stdout } = await ran('ps', ['-eo', 'pid,args'], {})
  return stdout
    .split('\n')
    .filter((line) => line.includes(program) && !line.includes('read -r _'))
    .map((line) => Number(line.trim().split(' ')[0]))
}

test('a port is forwarded to control’s pod, and nothing is left when it is closed', () =>
  withKubectl({}, async (kubectl) => {
    const forward = await openForward({ ...options, context: 'far' })
    assert.equal(await storesAt(forward.origin), 200)
    assert.equal((await running(kubectl.program)).length, 1)
    await forward[Symbol.asyncDispose]()
    assert.deepEqual(await running(kubectl.program), [])
    assert.deepEqual(kubectl.asked(), [
      '--context far -n steno-system port-forward --pod-running-timeout=10s deployment/steno-control :8081',
    ])
    await assert.rejects(storesAt(forward.origin))
  }))

test('when kubectl ended, the next request starts another, and the port stays', () =>
  withKubectl({}, async (kubectl) => {
    await using forward = await openForward(options)
    for (let times = 1; times <= 2; times++) {
      const [own] = await running(kubectl.program)
      process.kill(own!, 'SIGKILL')
      // A request that falls into the moment of its end is lost with it; there is no telling when its last thread lets go of its port.
      const isAnswered = (): Promise<boolean> =>
        storesAt(forward.origin).then(
          (status) => status === 200,
          () => false,
        )
      while (!(await isAnswered()) || kubectl.asked().length === times);
      assert.equal(kubectl.asked().length, times + 1)
    }
  }))

for (const how of ['ends', 'resets'] as const)
  test(`a kubectl that takes a connection and ${how} it without an answer is replaced, and the port stays`, async () => {
    let isStuck = true
    const stuck = net.createServer((socket) => {
      socket.on('error', () => socket.destroy())
      socket.once('data', () =>
        isStuck && how === 'resets'
          ? socket.resetAndDestroy()
          : socket.end(isStuck ? '' : 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'),
      )
    })
    stuck.listen(0, '127.0.0.1')
    await once(stuck, 'listening')
    try {
      using kubectl = createTestKubectl({}, { forwardTo: (stuck.address() as AddressInfo).port })
      await as(kubectl.program, async () => {
        await using forward = await openForward(options)
        await assert.rejects(storesAt(forward.origin))
        isStuck = false
        assert.equal(await storesAt(forward.origin), 200)
        assert.equal(kubectl.asked().length, 2)
      })
    } finally {
      stuck.close()
    }
  })

test('a kubectl that keeps whoever asks waiting is replaced once he has left, and not when he leaves at once', async () => {
  let isStuck = false
  const stuck = net.createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', () => void (isStuck || socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')))
  })
  stuck.listen(0, '127.0.0.1')
  await once(stuck, 'listening')
  using kubectl = createTestKubectl({}, { forwardTo: (stuck.address() as AddressInfo).port })
  try {
    await as(kubectl.program, async () => {
      await using forward = await openForward({ ...options, unheardMilliseconds: 300 })
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      const ask = async (patience: number): Promise<number | undefined> => {
        const request = http.get(forward.origin, { agent, signal: AbortSignal.timeout(patience) })
        const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
        answer.resume()
        return answer.statusCode
      }
      assert.equal(await ask(20_000), 200)
      isStuck = true
      await assert.rejects(ask(50)) // On the connection that was answered before.
      isStuck = false
      assert.equal(await ask(20_000), 200)
      assert.equal(kubectl.asked().length, 1, 'it was not given the time to answer')
      isStuck = true
      await assert.rejects(ask(600))
      isStuck = false
      await sleep(250) // As the client of stores does.
      assert.equal(await ask(20_000), 200)
      assert.equal(kubectl.asked().length, 2)
      agent.destroy()
    })
  } finally {
    stuck.close()
  }
})

for (const [what, said, code, remedy] of [
  [
    'who may not',
    'Error from server (Forbidden): deployments.apps "steno-control" is forbidden: User "nobody" cannot get resource "deployments"\n',
    'CLUSTER_FORBIDS',
    /steno-auditor/,
  ],
  [
    'a cluster without control',
    'Error from server (NotFound): deployments.apps "steno-control" not found\n',
    'CONTROL_NOT_REACHED',
    /--steno-namespace/,
  ],
  ['a control that is down', 'error: timed out waiting for the condition\n', 'CONTROL_NOT_REACHED', /kubectl steno status/],
  ['an API server that is away', 'Unable to connect to the server: dial tcp: i/o timeout\n', 'KUBECTL_FAILED', /API server/],
] as const) {
  test(`${what}: it is told`, () =>
    withKubectl({ 'port-forward': { stderr: said } }, async () => {
      const error = await openForward(options).then(
        () => assert.fail('it was forwarded'),
        (failure: unknown) => failure,
      )
      assert.ok(error instanceof KnownError)
      assert.equal(error.code, code)
      assert.match(error.remedy, remedy)
    }))
}

const forbidden = {
  'port-forward': { stderr: 'Error from server (Forbidden): pods is forbidden: User "nobody" cannot create resource "pods/portforward"\n' },
}

// `verify` and `search` say something of the recordings by 1.
for (const [args, code] of [
  [['sessions'], 1],
  [['show', 'last'], 1],
  [['export'], 1],
  [['verify', '--all'], 3],
  [['search', '--text', 'x'], 3],
] as const) {
  test(`${args[0]} ends with ${code} when no recording can be read`, async () => {
    using kubectl = createTestKubectl(forbidden)
    const { code: ended, stderr } = await kubectl.steno(args)
    assert.equal(ended, code, stderr)
    assert.match(stderr, /CLUSTER_FORBIDS/)
  })
}

test('what is typed wrongly is told before anything is asked of the cluster', async () => {
  using kubectl = createTestKubectl(forbidden)
  for (const args of [
    ['sessions', '--limit', 'x'],
    ['show'],
    ['sessions', '--nonsense'],
    ['tail', '--store', 'file:///x'],
    ['sessions', '-A', '-n', 'shop'],
  ])
    assert.equal((await kubectl.steno(args)).code, 2, args.join(' '))
  assert.deepEqual(kubectl.asked(), [])
})

test('a RecordingStore that control does not know is told with those that it knows', async () => {
  using kubectl = createTestKubectl({}, { forwardTo: port })
  const { code, stderr } = await kubectl.steno(['sessions', '--recording-store', 'other'])
  assert.equal(code, 1)
  assert.match(stderr, /no RecordingStore "other"; control knows default, archive[\s\S]*\(RECORDING_STORE_UNKNOWN\)/)
})

test('a store that control does not reach is told by the command itself, with its own exit code', async () => {
  using kubectl = createTestKubectl({}, { forwardTo: port })
  const sessions = await kubectl.steno(['sessions', '--recording-store=archive'])
  assert.equal(sessions.code, 1)
  assert.match(sessions.stderr, /the store is down/)
  const asked = kubectl.asked().length
  const keys = { 'get admissionparameters.steno.dev steno': { spec: { controlPublicKeys: ['no key'] } } }
  using withKeys = createTestKubectl(keys, { forwardTo: port })
  const verify = await withKeys.steno(['verify', '--all'])
  assert.equal(verify.code, 3)
  assert.equal(withKeys.asked().length, asked + 1, 'verify asks for control’s key as well')
})

test('help of a command that steno has too speaks of kubectl steno, and of the cluster', async () => {
  using kubectl = createTestKubectl({})
  const { code, stdout } = await kubectl.steno(['sessions', '--help'])
  assert.equal(code, 0)
  assert.match(stdout, /^Usage: kubectl steno sessions/)
  assert.match(stdout, /kubectl steno sessions --since 1d/)
  assert.match(stdout, /Options of the cluster:[\s\S]*--recording-store/)
  assert.doesNotMatch(stdout, /--store <url>|kubectl kubectl/)
  assert.equal((await kubectl.steno(['help', 'verify'])).stdout.includes('--trust-control'), true)
})
