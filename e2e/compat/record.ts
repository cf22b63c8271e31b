/**
 * `node e2e/compat/record.ts RELEASE [FOLDER]`: writes exchanges/RELEASE.json, with what the sidecar of FOLDER (this source unless told) says to this
 * source's servers. Done once before a release; the file then stays as it is for as long as sidecars of the release may live.
 *
 * The sidecar is the program, with a real PostgreSQL behind it. A tunnel and what is measured of the closed way need a pod's network, so these are
 * asked by the sidecar's modules; a source that has none of them is asked for none.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createLog } from '../../base/log.ts'
import type * as controlPost from '../../sidecar/pod/marks/control-post.ts'
import type * as sendFacts from '../../sidecar/pod/marks/send-facts.ts'
import type * as relayClient from '../../sidecar/tunnel/relay-client.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { freePort } from '../../tools/free-port.ts'
import { connectRemembering } from '../nothing-lost/remembering-client.ts'
import type * as sidecarProcess from '../pod/sidecar-process.ts'
import type { Exchanges } from './exchange.ts'
import { startRecordingProxy } from './recording-proxy.ts'
import { startServers, type Servers } from './servers.ts'

const own = fileURLToPath(new URL('../../', import.meta.url))
const [release, folder = own] = process.argv.slice(2)
if (release === undefined) throw new Error('usage: node e2e/compat/record.ts RELEASE [FOLDER]')

const ends: (() => unknown)[] = []
const t = { after: (end: () => unknown) => void ends.push(end) } as TestContext
try {
  const recorded: Exchanges = { release, exchanges: await record() }
  writeFileSync(new URL(`exchanges/${release}.json`, import.meta.url), `${JSON.stringify(recorded, null, 1)}\n`)
  for (const { to, request, answer } of recorded.exchanges) console.log(to, request.method, request.path, answer.status)
} finally {
  for (const end of ends.toReversed()) await end()
}

async function record(): Promise<Exchanges['exchanges']> {
  const database = await startPostgres()
  t.after(() => database.stop())
  const servers = await startServers(t, { port: database.port })
  const { control, relay } = servers
  const toControl = await startRecordingProxy('control', { port: control.server.port, authority: control.authority })
  t.after(() => toControl[Symbol.asyncDispose]())
  const toRelay = await startRecordingProxy('relay', { port: relay.server.port, authority: relay.authority })
  t.after(() => toRelay[Symbol.asyncDispose]())
  const url = `https://127.0.0.1:${toControl.port}`
  const tokenFile = await control.tokenFile('agent-0')

  const { listenerFor, startSidecar } = (await from('e2e/pod/sidecar-process.ts')) as typeof sidecarProcess
  const localPort = await freePort()
  const sidecar = await startSidecar(t, {
    ...{ listeners: [listenerFor(0, { localPort, port: database.port })], control: { url, store: 'default' }, storeUrl: null },
    variables: {
      STENO_SOURCE_0_DATABASE_URL: database.url,
      STENO_CONTROL_CA: control.authority.certificatePem,
      STENO_CONTROL_PUBLIC_KEY: control.key.publicKeyPem,
      STENO_CONTROL_TOKEN_FILE: tokenFile,
    },
  })
  const client = await connectRemembering(localPort, 'agent')
  await client.query("select 'recorded'")
  await client.query('select count(*) from pg_class')
  await client.end()
  while ((await sidecar.get('/ship')).status !== 200) await new Promise((resolve) => setTimeout(resolve, 50))
  if ((await sidecar.stop()) !== 0) throw new Error(sidecar.stderr())
  await sayFacts(url, tokenFile, servers)
  await useRelay(toRelay.port, servers)
  return [...toControl.exchanges(), ...toRelay.exchanges()]
}

/** A module of the source that is recorded; null where it has none. */
async function from(file: string): Promise<unknown> {
  const place = path.join(folder, file)
  return existsSync(place) ? await import(pathToFileURL(place).href) : null
}

async function sayFacts(url: string, tokenFile: string, { control }: Servers): Promise<void> {
  const post = (await from('sidecar/pod/marks/control-post.ts')) as typeof controlPost | null
  const facts = (await from('sidecar/pod/marks/send-facts.ts')) as typeof sendFacts | null
  const environment = { STENO_CONTROL_TOKEN_FILE: tokenFile, STENO_CONTROL_CA: control.authority.certificatePem }
  const to = post?.openControlPost(`control+${url}/default`, environment) ?? null
  if (facts === null || to === null) return
  const at = Date.now()
  const databases = [{ name: 'database-0', state: 'Closed', addresses: ['127.0.0.1'] }] as const
  const current = () => ({ state: 'Closed', reason: 'Closed', since: at, measured: at, databases }) as const
  await facts.createFactSender({ current, control: to, log: createLog({ level: 'silent' }) }).tick()
  to.close()
}

async function useRelay(port: number, { relay, echoPort }: Servers): Promise<void> {
  const module = (await from('sidecar/tunnel/relay-client.ts')) as typeof relayClient | null
  if (module === null) return
  const tokens = await mkdtemp(path.join(tmpdir(), 'steno-token-'))
  t.after(() => rm(tokens, { recursive: true }))
  const tokenFile = path.join(tokens, 'relay-token')
  await writeFile(tokenFile, 'token-of-agent')
  const client = module.createRelayClient({ endpoint: `127.0.0.1:${port}`, caPem: relay.authority.certificatePem, tokenFile })
  const signal = AbortSignal.timeout(10_000)
  const target = { database: 'orders', host: 'db.test', port: echoPort }
  await client.probe(target, { signal })
  const { socket, address } = await client.connect(target, null, { signal })
  socket.destroy()
  ;(await client.connect(target, address, { signal })).socket.destroy()
  // What is refused is read, too.
  await client.connect({ ...target, host: 'elsewhere.test' }, null, { signal }).catch(() => undefined)
}
