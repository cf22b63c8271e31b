/**
 * The three ways that are compared, each ready to use: where its client connects, and the one or two processes that stand between.
 *
 * `steno`: agent, sidecar, relay, database. `haproxy-twice`: agent, HAProxy, HAProxy that ends TLS, database. `haproxy-once`: agent, HAProxy,
 * database. In the first two what passes between the proxies is in TLS 1.3, and what is in it is in TLS 1.3 once more, up to the database: steno's sidecar makes that
 * one, and beside HAProxy, which knows no PostgreSQL, the agent has to. The third has no TLS at all. All listen on free ports of 127.0.0.1.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import { writeSidecarConfig, type SidecarConfig } from '../../crds/sidecar-config.ts'
import { createAuthority, issueLeaf } from '../../tools/certificates.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import type { ClientTarget } from '../loads.ts'
import { listenerUnder } from '../proc.ts'
import { startProgram, waitUntilListening, type Program } from '../processes.ts'
import { haproxyCommand, type HaproxyWay } from '../peers/haproxy.ts'

export const wayNames = ['steno', 'haproxy-twice', 'haproxy-once'] as const
export type WayName = (typeof wayNames)[number]

export type Way = {
  readonly target: ClientTarget
  /** The agent's neighbour first. */
  readonly pids: readonly number[]
  /** The one that goes on working after a load, on what it recorded. */
  readonly recorder: number | null
}

export type Ways = AsyncDisposable & { readonly [name in WayName]: Way }

type World = {
  readonly database: EmbeddedPostgres
  readonly folder: string
  readonly files: Files
  readonly start: (command: readonly string[], environment: NodeJS.ProcessEnv, name: string, port: number) => Promise<number>
}

type Files = {
  readonly authorityPem: string
  readonly certificate: string
  readonly key: string
  /** Both in one file, as HAProxy wants them. */
  readonly together: string
}

const host = '127.0.0.1'
const startMillisecondsMax = 20_000
const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const relayProgram = fileURLToPath(new URL('../peers/relay.ts', import.meta.url))
/** As in the image; see the Dockerfile. */
const asInTheImage = { parameters: ['--max-semi-space-size=2'], environment: { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' } }

/** Starts all of them and returns when each accepts connections. Throws with the end of a program's log when it does not come up. */
export async function startWays(database: EmbeddedPostgres, folder: string): Promise<Ways> {
  const programs: Program[] = []
  const stop = async (): Promise<void> => void (await Promise.all(programs.map((each) => each.stop())))
  try {
    const files = await writeFiles(folder)
    const start: World['start'] = async (command, environment, name, port) => {
      const started = await startProgram(command, { logFile: join(folder, `${name}.log`), environment, directory: folder })
      programs.push(started)
      await waitUntilListening(started, port)
      return listenerUnder(started.pid, port)
    }
    const world: World = { database, folder, files, start }
    const ways = {
      steno: await startSteno(world),
      'haproxy-twice': await startHaproxyTwice(world),
      'haproxy-once': await startHaproxyOnce(world),
    }
    for (const name of wayNames) {
      const isEncrypted = await hasTlsAtDatabase(ways[name].target)
      if (isEncrypted !== (name !== 'haproxy-once')) throw new Error(`${name}: the database says that TLS is ${isEncrypted ? 'on' : 'off'}`)
    }
    return { ...ways, [Symbol.asyncDispose]: stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** As the database sees the session, at the far end of the way. */
async function hasTlsAtDatabase({ port, tls, user, password }: ClientTarget): Promise<boolean> {
  const ssl = tls ? { rejectUnauthorized: false } : false
  const client = new pg.Client({ host, port, user, password, database: 'postgres', ssl })
  await client.connect()
  try {
    const { rows } = await client.query<{ ssl: boolean }>('select ssl from pg_stat_ssl where pid = pg_backend_pid()')
    return rows[0]?.ssl === true
  } finally {
    await client.end()
  }
}

async function writeFiles(folder: string): Promise<Files> {
  const authority = await createAuthority('bench')
  const leaf = await issueLeaf(authority, { kind: 'server', commonName: 'relay', names: [host] })
  const [certificate = '', key = '', together = ''] = ['relay.crt', 'relay.key', 'relay.pem'].map((name) => join(folder, name))
  const mode = 0o600
  await writeFile(certificate, leaf.certificatePem)
  await writeFile(key, leaf.keyPem, { mode })
  await writeFile(together, `${leaf.certificatePem}\n${leaf.keyPem}\n`, { mode })
  return { authorityPem: authority.certificatePem, certificate, key, together }
}

/** The sidecar with the defaults of a policy, but for `onOpenPath`: on one machine the database is always reachable past it. */
async function startSteno({ database, folder, files, start }: World): Promise<Way> {
  const [relayPort, localPort, healthPort] = [await freePort(), await freePort(), await freePort()]
  const relayParameters = [relayProgram, String(relayPort), String(database.port), files.certificate, files.key]
  const relayCommand = [process.execPath, ...asInTheImage.parameters, ...relayParameters]
  const relay = await start(relayCommand, asInTheImage.environment, 'relay', relayPort)

  const [store, spool, token] = [join(folder, 'store'), join(folder, 'spool'), join(folder, 'relay-token')]
  await mkdir(store)
  await writeFile(token, 'token', { mode: 0o600 })
  const config: SidecarConfig = {
    version: 1,
    control: { url: 'https://steno-control.invalid', store: 'default' }, // A folder is the store instead.
    relay: { endpoint: `${host}:${relayPort}` },
    enforcement: { mode: 'Relay', onOpenPath: 'Report' },
    policy: { names: ['bench/bench'], hash: '0123456789abcdef0123456789abcdef' },
    recording: { level: 'results', onFailure: 'block', spoolBytesMax: 512 * 1024 * 1024, spoolAgeMillisecondsMax: 3_600_000 },
    terminationGraceSeconds: 30,
    listeners: [
      {
        database: 'bench',
        localPort,
        allowed: { hosts: ['localhost'], port: database.port, databaseNames: ['postgres'] },
        tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' },
        source: { kind: 'url', variable: 'STENO_SOURCE_0_DATABASE_URL' },
      },
    ],
  }
  const environment = {
    STENO_SIDECAR_CONFIG: writeSidecarConfig(config),
    STENO_CONTROL_CA: files.authorityPem,
    STENO_RELAY_TOKEN_FILE: token,
    STENO_SOURCE_0_DATABASE_URL: `postgresql://${database.superuser}:${database.password}@localhost:${database.port}/postgres`,
    STENO_CA_0: await readFile(database.certificates!.ca, 'utf8'),
    ...{ STENO_POD_NAME: 'bench', STENO_POD_NAMESPACE: 'bench', STENO_POD_UID: 'uid-bench' },
    ...{ STENO_SERVICE_ACCOUNT: 'bench', STENO_NODE_NAME: 'bench' },
  }
  const parameters = ['--store', pathToFileURL(store).href, '--spool', spool, '--termination-log', join(folder, 'termination-log')]
  const command = [program, 'sidecar', '--health-listen', `${host}:${healthPort}`, ...parameters]
  const sidecar = await start(command, environment, 'sidecar', healthPort)
  await untilStarted(healthPort)
  return { target: { port: localPort, tls: false, user: 'agent', password: '' }, pids: [sidecar, relay], recorder: sidecar }
}

/** What Kubernetes asks before it starts the agent. */
async function untilStarted(healthPort: number): Promise<void> {
  const giveUpAt = performance.now() + startMillisecondsMax
  for (;;) {
    const answer = await fetch(`http://${host}:${healthPort}/startz`)
    const text = await answer.text()
    if (answer.ok) return
    if (performance.now() > giveUpAt) throw new Error(`the sidecar would not let an agent start: ${text}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function startHaproxyTwice(world: World): Promise<Way> {
  const { database, files } = world
  const [first, second] = [await freePort(), await freePort()]
  const relay = await startHaproxy(world, 'haproxy-relay', {
    port: second,
    bind: `ssl crt ${files.together} ssl-min-ver TLSv1.3`,
    server: `${host}:${database.port}`,
  })
  const near = await startHaproxy(world, 'haproxy-near', { port: first, server: `${host}:${second} ssl verify none ssl-min-ver TLSv1.3` })
  return { target: { port: first, tls: true, ...accountOf(database) }, pids: [near, relay], recorder: null }
}

async function startHaproxyOnce(world: World): Promise<Way> {
  const { database } = world
  const port = await freePort()
  const only = await startHaproxy(world, 'haproxy-once', { port, server: `${host}:${database.port}` })
  return { target: { port, tls: false, ...accountOf(database) }, pids: [only], recorder: null }
}

function accountOf({ superuser, password }: EmbeddedPostgres): Pick<ClientTarget, 'user' | 'password'> {
  return { user: superuser, password }
}

async function startHaproxy({ folder, start }: World, name: string, way: HaproxyWay): Promise<number> {
  const { command, environment } = await haproxyCommand(join(folder, `${name}.cfg`), way)
  return start(command, environment, name, way.port)
}
