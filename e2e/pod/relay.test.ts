// Goal: in a pod whose only way is the relay, a session is what it is elsewhere, and whether another way is open is found, told and acted
// upon. Method: the sidecar as a process in a network namespace of its own, the real relay and a real PostgreSQL outside it; the test opens and
// closes a second way as a network that is not enforced would.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test, type TestContext } from 'node:test'
import pg from 'pg'
import { NotIdentified } from '../../cluster/identity/not-identified.ts'
import { freePort } from '../../tools/free-port.ts'
import type { SidecarConfig } from '../../crds/sidecar-config.ts'
import { startTestRelay, testDatabase, type TestRelay } from '../../relay/test-relay.ts'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { assertVerified, readRecorded } from '../nothing-lost/recorded.ts'
import { connectRemembering, ConnectionEnded, firstColumn } from '../nothing-lost/remembering-client.ts'
import { encodeQuery, sendRawCancel, startRawSession } from '../support/raw-client.ts'
import { createPodNetwork, noPodNetwork, type PodNetwork } from './pod-network.ts'
import { listenerFor, startSidecar, untilLogged, type SidecarProcess } from './sidecar-process.ts'

const skip = noPodNetwork()
let database: EmbeddedPostgres
before(async () => {
  if (skip === false) database = await startPostgres({ tls: true })
})
after(() => database?.stop('immediate'))

type World = {
  readonly relay: TestRelay
  readonly network: PodNetwork
  readonly sidecar: SidecarProcess
  /** Leads to the sidecar's listener. */
  readonly port: number
}

async function createWorld(
  t: TestContext,
  {
    onOpenPath = 'Block',
    whileStarting = async () => undefined,
  }: {
    onOpenPath?: SidecarConfig['enforcement']['onOpenPath']
    whileStarting?: (network: PodNetwork, relay: TestRelay) => Promise<void>
  } = {},
): Promise<World> {
  const relay = await startTestRelay(database.port)
  t.after(() => relay[Symbol.asyncDispose]())
  relay.verdicts.set('agent', {
    kind: 'fit',
    podIPs: ['127.0.0.1'],
    databases: [{ ...testDatabase({ port: database.port }), name: 'database-0', hosts: ['localhost'] }],
    ceilings: [],
  })
  relay.names.set('localhost', ['127.0.0.1'])
  const network = await createPodNetwork(t)
  await network.open(relay.server.port)
  await whileStarting(network, relay)
  const folder = await mkdtemp(join(tmpdir(), 'steno-token-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'relay-token'), 'token-of-agent')
  const localPort = await freePort()
  const sidecar = await startSidecar(t, {
    network,
    relay: { endpoint: `127.0.0.1:${relay.server.port}` },
    enforcement: { mode: 'Relay', onOpenPath },
    listeners: [
      listenerFor(0, { localPort, port: database.port, host: 'localhost', tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' } }),
    ],
    variables: {
      STENO_SOURCE_0_DATABASE_URL: `postgresql://${database.superuser}:${database.password}@localhost:${database.port}/postgres`,
      STENO_CA_0: readFileSync(database.certificates!.ca, 'utf8'),
      STENO_CONTROL_CA: relay.authority.certificatePem,
      STENO_RELAY_TOKEN_FILE: join(folder, 'relay-token'),
    },
  })
  return { relay, network, sidecar, port: await network.publish(localPort) }
}

async function untilStartz(sidecar: SidecarProcess, wanted: number): Promise<string> {
  for (;;) {
    const { status, text } = await sidecar.get('/startz')
    if (status === wanted) return text
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

test(
  'through the relay alone: signed in over verified TLS, cancelled, recorded, and the way past it measured as closed',
  { timeout: 300_000, skip },
  async (t) => {
    const { relay, sidecar, port } = await createWorld(t)
    await untilStartz(sidecar, 200)
    const client = await connectRemembering(port, 'agent')
    assert.deepEqual(firstColumn(await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')), ['t'])
    assert.equal((await client.query("select repeat('x', 100000) from generate_series(1, 100)")).length > 100, true)
    assert.equal(relay.server.tunnels, 1)
    await client.end()
    const sleeping = await startRawSession({ host: '127.0.0.1', port }, { user: 'agent', database: 'postgres', application_name: 'sleeps' })
    sleeping.client.send(encodeQuery('select pg_sleep(100)'))
    while ((await database.query("select 1 from pg_stat_activity where query = 'select pg_sleep(100)'")).length === 0);
    await sendRawCancel({ host: '127.0.0.1', port }, sleeping.processId, sleeping.key)
    assert.ok((await sleeping.client.until('Z')).some(({ type, body }) => type === 'E' && body.includes('57014')))
    sleeping.client.send(Buffer.from('X\0\0\0\x04', 'latin1'))
    await sleeping.client.until('(the end)')
    const { text } = await sidecar.get('/metrics')
    assert.match(text, /^steno_closed_way_state\{database="database-0",state="Closed"\} 1$/m)
    assert.match(text, /^steno_closed_way_state\{database="database-0",state="Open"\} 0$/m)
    const ofWay = /^steno_(closed_)?way_/
    const [, ofPod = ''] = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8').split('\n## In a pod\n')
    const documented = [...ofPod.matchAll(/^\| `([a-z_]+)(?:\{[a-z_,]+\})?` \| (\w+) \|/gm)].map(([, name, type]) => `${name} ${type}`)
    const served = [...text.matchAll(/^# TYPE (\w+ \w+)$/gm)].map(([, family = '']) => family)
    assert.deepEqual(served.filter((family) => ofWay.test(family)).toSorted(), documented.filter((family) => ofWay.test(family)).toSorted())
    assert.equal(await sidecar.stop(), 0)
    await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
    const recorded = await readRecorded(sidecar.storeFolder)
    assert.ok(recorded.get('agent')!.backend.equals(client.received()))
    assert.match(recorded.get('agent')!.identity.upstream.tls ?? '', /^TLSv1\.3/)
  },
)

test(
  'a way that opens ends what runs and refuses what comes, with what a human must do; closed again it is open to agents',
  { timeout: 300_000, skip },
  async (t) => {
    const { network, sidecar, port } = await createWorld(t)
    await untilStartz(sidecar, 200)
    const running = new pg.Client({ host: '127.0.0.1', port, user: 'agent', database: 'postgres', application_name: 'running' })
    await running.connect()
    const told = new Promise<pg.DatabaseError>((resolve) => running.on('error', (error) => resolve(error as pg.DatabaseError)))
    await running.query('begin')
    const opened = performance.now()
    const second = await network.open(database.port)
    const error = await told
    const took = performance.now() - opened
    // It is looked for every five seconds.
    assert.ok(took < 60_000, `found after ${took} ms`)
    t.diagnostic(`an open way was found after ${Math.round(took)} ms`)
    assert.equal(error.code, '57P01')
    assert.match(
      error.message,
      new RegExp(`^steno: database database-0 can be reached past the recording: .*127\\.0\\.0\\.1:${database.port} succeeded$`),
    )
    assert.match(error.hint ?? '', /A human must close that way: look at the NetworkPolicies/)
    await assert.rejects(connectRemembering(port, 'refused'), (refused: unknown) => {
      assert.ok(refused instanceof ConnectionEnded)
      assert.equal(refused.fields?.get('C'), '57P01')
      assert.match(refused.fields?.get('H') ?? '', /A human must close that way/)
      return true
    })
    assert.match((await sidecar.get('/readyz')).text, /the way is closed to agents: database database-0 can be reached past the recording/)
    assert.match((await sidecar.get('/metrics')).text, /^steno_closed_way_blocks 1$/m)
    await second.close()
    await untilLogged(sidecar, 'the way is open to agents')
    const client = await connectRemembering(port, 'afterwards')
    assert.deepEqual(firstColumn(await client.query("select 'again'")), ['again'])
    await client.end()
    assert.equal(await sidecar.stop(), 0)
    await assertVerified(sidecar.storeFolder, sidecar.spoolFolder)
    const recorded = await readRecorded(sidecar.storeFolder)
    assert.deepEqual(
      [...recorded.keys()].sort((one, other) => one.localeCompare(other)),
      ['afterwards', 'running'],
    )
    assert.equal(recorded.get('running')!.closeReason, 'way-closed')
    assert.match(recorded.get('running')!.backend.toString('latin1'), /can be reached past the recording/)
  },
)

test('a way that is open from the start keeps the agent from starting until it is closed', { timeout: 300_000, skip }, async (t) => {
  let close: () => Promise<void> = async () => undefined
  const { sidecar, port } = await createWorld(t, {
    async whileStarting(network) {
      ;({ close } = await network.open(database.port))
    },
  })
  assert.match(await untilStartz(sidecar, 503), /past the recording/)
  await untilLogged(sidecar, 'the way is closed to agents')
  assert.match((await sidecar.get('/startz')).text, /succeeded/)
  await assert.rejects(connectRemembering(port, 'refused'), /57P01/)
  await close()
  await untilStartz(sidecar, 200)
  const client = await connectRemembering(port, 'agent')
  await client.end()
  assert.equal(await sidecar.stop(), 0)
})

test('an open way under Report is said and stops nobody', { timeout: 300_000, skip }, async (t) => {
  const { sidecar, port } = await createWorld(t, {
    onOpenPath: 'Report',
    async whileStarting(network) {
      await network.open(database.port)
    },
  })
  await untilStartz(sidecar, 200)
  const client = await connectRemembering(port, 'agent')
  await client.end()
  assert.match(sidecar.stderr(), /can be reached past the recording: a direct connection/)
  assert.match((await sidecar.get('/metrics')).text, /^steno_closed_way_state\{database="database-0",state="Open"\} 1$/m)
  assert.match((await sidecar.get('/readyz')).text, /which is only reported/)
  assert.equal(await sidecar.stop(), 0)
})

test(
  'while the relay is away the pod starts after a while and no session is opened; with the relay the first connection is let in at once',
  { timeout: 300_000, skip },
  async (t) => {
    const { relay, sidecar, port } = await createWorld(t, {
      async whileStarting(_network, away) {
        away.verdicts.set('gone', away.verdicts.get('agent')!)
        away.verdicts.set('agent', new NotIdentified('CLUSTER_UNAVAILABLE', 'the API server does not answer'))
      },
    })
    assert.match(await untilStartz(sidecar, 503), /is not known yet: /)
    await untilLogged(sidecar, 'is not known: CLUSTER_UNAVAILABLE: ')
    await assert.rejects(connectRemembering(port, 'refused'), (refused: unknown) => {
      assert.ok(refused instanceof ConnectionEnded)
      assert.equal(refused.fields?.get('C'), '57P03')
      assert.match(
        refused.fields?.get('M') ?? '',
        /^steno: it is not shown yet that database database-0 cannot be reached past the recording/,
      )
      return true
    })
    const begun = performance.now()
    await untilStartz(sidecar, 200)
    // It waits ten seconds.
    assert.ok(performance.now() - begun < 60_000)
    assert.match((await sidecar.get('/metrics')).text, /^steno_closed_way_state\{database="database-0",state="Unknown"\} 1$/m)
    relay.verdicts.set('agent', relay.verdicts.get('gone')!)
    const client = await connectRemembering(port, 'agent')
    await client.end()
    assert.equal(await sidecar.stop(), 0)
  },
)
