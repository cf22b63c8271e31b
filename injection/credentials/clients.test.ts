/**
 * Goal: what the agent gets is understood by the clients that people use, and brings them to the sidecar as whom and where it says.
 * Method: a listener that speaks just enough of the protocol to be connected to and keeps what each client asked for. Every client gets the
 * environment that a container would have, through the oracle of the kubelet, and is told nothing else.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { after, beforeEach, test } from 'node:test'
import { promisify } from 'node:util'
import type { V1EnvVar } from '@kubernetes/client-node'
import { program } from '../../tools/debian-programs.ts'
import { moveCredentials } from './move-credentials.ts'
import { processEnvironment } from './test-kubelet.ts'
import { testDatabase, testPolicy } from './test-policy.ts'

const [psql, python] = await Promise.all([program('psql'), program('python3-psycopg')])

type Asked = Readonly<Record<string, string>>
const asked: Asked[] = []
const sockets = new Set<Socket>()
const server = createServer((socket) => {
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  socket.on('error', () => socket.destroy())
  let held = Buffer.alloc(0)
  let isStarted = false
  socket.on('data', (chunk) => {
    held = Buffer.concat([held, chunk])
    for (;;) {
      const header = isStarted ? 1 : 0
      if (held.length < header + 4 || held.length < header + held.readInt32BE(header)) return
      const frame = held.subarray(0, header + held.readInt32BE(header))
      held = held.subarray(frame.length)
      if (isStarted) answer(socket, frame)
      else if (frame.readInt32BE(4) !== 0x0003_0000 && frame.readInt32BE(4) !== 0x0003_0002) socket.write('N')
      else {
        isStarted = true
        const words = frame.subarray(8).toString().split('\0')
        asked.push(Object.fromEntries(words.flatMap((word, index) => (index % 2 === 0 && word !== '' ? [[word, words[index + 1]!]] : []))))
        const status = (name: string, value: string) => message('S', `${name}\0${value}\0`)
        socket.write(
          Buffer.concat([
            message('R', '\0\0\0\0'),
            ...[status('server_version', '17.0'), status('client_encoding', 'UTF8'), status('standard_conforming_strings', 'on')],
            message('Z', 'I'),
          ]),
        )
      }
    }
  })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
after(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})
beforeEach(() => asked.splice(0))

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(4 + Buffer.byteLength(body))
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body)])
}

/** A query has no rows, whatever it is. */
function answer(socket: Socket, frame: Buffer): void {
  if (frame[0] === 'Q'.charCodeAt(0)) socket.write(Buffer.concat([message('C', 'SELECT 0\0'), message('Z', 'I')]))
  else if (frame[0] === 'X'.charCodeAt(0)) socket.end()
}

/** The environment of the agent's process after the review. */
function environmentOf(env: V1EnvVar[], variables = testDatabase().variables): Record<string, string> {
  const policy = testPolicy([testDatabase({ localPort: port, variables })])
  const moved = moveCredentials({ containers: [{ name: 'agent', env }], initContainers: [], volumes: [] }, policy, [])
  assert.ok(moved.kind === 'moved', JSON.stringify(moved))
  const environment = processEnvironment(moved.containers[0]!, {
    secrets: {},
    configMaps: {},
    services: {},
    fields: { 'metadata.name': 'pod-1' },
  })
  assert.ok(environment !== null)
  return Object.fromEntries(environment)
}

async function run(command: string, args: readonly string[], environment: Readonly<Record<string, string | undefined>>): Promise<void> {
  // No HOME and no USER: a container's user has neither name nor folder.
  await promisify(execFile)(command, [...args], {
    env: { PATH: process.env['PATH'], ...environment },
    timeout: 120_000,
  })
}

const nodeClients = {
  pg: `import pg from 'pg'; const url = process.env.DATABASE_URL; const c = new pg.Client(url ? { connectionString: url } : {}); await c.connect(); await c.end()`,
  postgres: `import postgres from 'postgres'; const o = { fetch_types: false, max: 1 }; const url = process.env.DATABASE_URL;
    const sql = url ? postgres(url, o) : postgres(o); await sql.unsafe('select 1').simple(); await sql.end()`,
}
const pythonClient = `import os, psycopg\nwith psycopg.connect(os.environ.get('DATABASE_URL', '')) as c: pass`

type Client = { readonly name: string; connect(environment: Record<string, string>): Promise<void> }
const clients: readonly Client[] = [
  ...Object.entries(nodeClients).map(([name, text]) => ({
    name,
    connect: (environment: Record<string, string>) => run(process.execPath, ['--input-type=module', '--eval', text], environment),
  })),
  {
    name: 'psql',
    connect: (environment) =>
      run(
        psql.command,
        ['--no-psqlrc', '--command=select', ...(environment['DATABASE_URL'] === undefined ? [] : [environment['DATABASE_URL']])],
        {
          ...psql.env,
          ...environment,
        },
      ),
  },
  { name: 'psycopg', connect: (environment) => run(python.command, ['-c', pythonClient], { ...python.env, ...environment }) },
]

const secret: V1EnvVar = { name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'db', key: 'url' } } }
const literal = (value: string): V1EnvVar[] => [
  { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
  { name: 'DATABASE_URL', value },
]

const forms: readonly {
  readonly says: string
  readonly env: V1EnvVar[]
  readonly asks: Asked
  readonly variables?: ReturnType<typeof testDatabase>['variables']
}[] = [
  { says: 'a URL in a Secret', env: [secret], asks: { user: 'agent', database: 'shop' } },
  {
    says: 'a URL in a Secret, with parameters of the policy',
    env: [secret],
    variables: [{ form: 'url', name: 'DATABASE_URL', scheme: 'postgres', parameters: { application_name: 'orders & more' } }],
    asks: { user: 'agent', database: 'shop', application_name: 'orders & more' },
  },
  {
    says: 'a literal URL with a user and a password of odd characters',
    env: literal('postgresql://sh%40p$$:c%2Fo%25rrect-horse@db.shop.svc/archive?application_name=$(POD)'),
    asks: { user: 'sh@p$', database: 'archive', application_name: 'pod-1' },
  },
  {
    says: 'PG variables',
    env: [
      ...[
        { name: 'PGHOST', value: 'db.shop.svc' },
        { name: 'PGUSER', value: 'shop' },
        { name: 'PGCHANNELBINDING', value: 'require' },
      ],
      ...[
        { name: 'PGPASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'password' } } },
        { name: 'PGSSLMODE', value: 'require' },
      ],
    ],
    variables: [{ form: 'libpq', prefix: 'PG' }],
    asks: { user: 'shop', database: 'shop' },
  },
]

for (const { says, env, asks, variables } of forms) {
  for (const { name, connect } of clients) {
    test(`${name} comes to the sidecar with ${says}`, async () => {
      await connect(environmentOf(env, variables))
      assert.equal(asked.length, 1)
      for (const [key, value] of Object.entries(asks)) assert.equal(asked[0]![key], value, key)
    })
  }
}

test('psql and psycopg come to the sidecar with a keyword string', async () => {
  const environment = environmentOf(literal("host=db.shop.svc dbname=shop user='sh op' password='correct horse' application_name=agent"))
  for (const { name, connect } of clients.filter((one) => one.name.startsWith('ps'))) {
    await connect(environment)
    assert.deepEqual([asked[0]?.['user'], asked[0]?.['application_name']], ['sh op', 'agent'], name)
    asked.splice(0)
  }
})
