/**
 * What does a relay cost that holds many tunnels, and how fast is one of them? Budget: 5,000 idle tunnels under 500 MB resident; one tunnel at
 * least 0.85 of a bare Node TLS tunnel (`socket.pipe`) in the same run. HAProxy, which ends the same TLS and asks nobody, is beside both.
 *
 * Each is a process of its own, to a database that only pours bytes and sends them back and runs here, with the clients.
 * `node bench/relay-tunnels.ts --idle N` or `--speed`. Needs 4 file descriptors for each tunnel.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { fileURLToPath } from 'node:url'
import { messageOf } from '../base/errors.ts'
import { createAuthority, issueLeaf } from '../tools/certificates.ts'
import { freePort } from '../tools/free-port.ts'
import { readCommandLine, wholeNumber } from './command-line.ts'
import { haproxyCommand } from './peers/haproxy.ts'
import { startProgram, waitUntilListening, type Program } from './processes.ts'
import type { Command } from './programs.ts'
import { drawSpread, pairedRatio, spread } from './statistics.ts'

const usage = `usage: node bench/relay-tunnels.ts --idle N | --speed
  --idle N    memory of a relay that holds N silent tunnels (the budget is of 5000); about 10 s for each thousand
  --speed     one tunnel beside a bare Node TLS tunnel and HAProxy: MB/s and exchanges/s, about a minute
  --help`
const host = '127.0.0.1'
const pieceBytes = 256 * 1024
const roundBytes = 512 * 1024 * 1024
/** One more is run before them and not counted: it warms the compiler. */
const rounds = 5
const exchanges = 20_000
const openedAtOnce = 50
/** A pod may have so many at a time. */
const tunnelsOfPod = 100
const idleMilliseconds = 10_000
const names = ['relay', 'bare', 'haproxy'] as const
type Name = (typeof names)[number]

/** Null for the speed of one tunnel, else how many idle ones. */
const idleTunnels = readCommandLine(usage, { texts: ['idle'], flags: ['speed'] }, (given) => {
  if ((given.text('idle') !== undefined) === given.has('speed')) throw new Error('say one of --idle and --speed')
  return given.has('speed') ? null : wholeNumber(given.text('idle'), { fallback: 0, name: '--idle' })
})
const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
const programs: Program[] = []
let exitStatus = 1
try {
  const databasePort = await startDatabase()
  if (idleTunnels === null) await speed(databasePort)
  else await idle(databasePort, idleTunnels)
  exitStatus = 0
} catch (error) {
  console.error(messageOf(error))
} finally {
  await Promise.all(programs.map((each) => each.stop()))
  await rm(folder, { recursive: true, force: true })
}
// The clients and the database of this process would go on.
process.exit(exitStatus)

/** Pours as many bytes as `p…` says; anything else it sends back. Gives its port. */
async function startDatabase(): Promise<number> {
  const database = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes) => {
      if (bytes[0] === 0x70) pour(socket, Number(bytes.subarray(1).toString()))
      else socket.write(bytes)
    })
  })
  database.listen(0, host)
  await once(database, 'listening')
  return (database.address() as AddressInfo).port
}

function pour(socket: net.Socket, bytes: number): void {
  const piece = Buffer.alloc(pieceBytes)
  let left = bytes
  const go = (): void => {
    while (left > 0) {
      left -= piece.length
      if (!socket.write(piece)) return void socket.once('drain', go)
    }
  }
  go()
}

/** Starts `name` in front of the database; returns when it listens. */
async function start(name: Name, databasePort: number): Promise<{ readonly pid: number; readonly port: number }> {
  const port = await freePort()
  const { command, environment } = await commandFor(name, port, databasePort)
  const program = await startProgram(command, { logFile: join(folder, `${name}.log`), environment })
  programs.push(program)
  await waitUntilListening(program, port)
  return { pid: program.pid, port }
}

async function commandFor(name: Name, port: number, databasePort: number): Promise<Command> {
  const leaf = await issueLeaf(await createAuthority('bench'), { kind: 'server', commonName: name, names: [host] })
  const [certificate = '', key = '', together = ''] = ['crt', 'key', 'pem'].map((suffix) => join(folder, `${name}.${suffix}`))
  if (name === 'haproxy') {
    await writeFile(together, `${leaf.certificatePem}\n${leaf.keyPem}\n`, { mode: 0o600 })
    const bind = `ssl crt ${together} ssl-min-ver TLSv1.3`
    return haproxyCommand(join(folder, 'haproxy.cfg'), { port, bind, server: `${host}:${databasePort}` })
  }
  await writeFile(certificate, leaf.certificatePem)
  await writeFile(key, leaf.keyPem, { mode: 0o600 })
  const program = fileURLToPath(new URL(name === 'relay' ? 'peers/relay.ts' : 'peers/node-tls-tunnel.ts', import.meta.url))
  return { command: [process.execPath, program, String(port), String(databasePort), certificate, key], environment: {} }
}

async function connect(port: number): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host, port, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  socket.setNoDelay(true)
  return socket
}

async function tunnel(relayPort: number, databasePort: number, pod: string): Promise<tls.TLSSocket> {
  const socket = await connect(relayPort)
  const target = `localhost:${databasePort}`
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\nproxy-authorization: Bearer ${pod}\r\nsteno-database: bench\r\n\r\n`)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if (!answer.toString().startsWith('HTTP/1.1 200')) throw new Error(answer.toString())
  return socket
}

async function idle(databasePort: number, tunnels: number): Promise<void> {
  const relay = await start('relay', databasePort)
  console.log(`no tunnel: ${memoryOf(relay.pid)}`)
  for (let begun = 0; begun < tunnels; begun += openedAtOnce) {
    const batch = Array.from({ length: Math.min(openedAtOnce, tunnels - begun) }, (_, index) =>
      tunnel(relay.port, databasePort, `pod-${Math.floor((begun + index) / tunnelsOfPod)}`),
    )
    for (const socket of await Promise.all(batch)) socket.write('x')
    if ((begun + openedAtOnce) % 1000 === 0) console.log(`${begun + openedAtOnce} tunnels: ${memoryOf(relay.pid)}`)
  }
  await new Promise((resolve) => setTimeout(resolve, idleMilliseconds))
  console.log(`${tunnels} tunnels, idle for ${idleMilliseconds / 1000} s: ${memoryOf(relay.pid)}`)
}

function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string): string => `${(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0)} MB`
  return `VmRSS ${of('VmRSS')}, RssAnon ${of('RssAnon')}, peak ${of('VmHWM')}`
}

async function speed(databasePort: number): Promise<void> {
  const sockets = new Map<Name, tls.TLSSocket>()
  for (const name of names) {
    const { port } = await start(name, databasePort)
    sockets.set(name, name === 'relay' ? await tunnel(port, databasePort, 'pod-speed') : await connect(port))
  }
  const down = new Map(names.map((name) => [name, new Map<number, number>()]))
  const turns = new Map(names.map((name) => [name, new Map<number, number>()]))
  for (let round = 0; round <= rounds; round++) {
    // In turn each begins, so that none is always measured after the same other.
    for (let place = 0; place < names.length; place++) {
      const name = names[(round + place) % names.length]!
      const poured = await megabytesPerSecond(sockets.get(name)!)
      const exchanged = await exchangesPerSecond(sockets.get(name)!)
      if (round === 0) continue
      down.get(name)!.set(round, poured)
      turns.get(name)!.set(round, exchanged)
    }
  }
  console.log(
    `${rounds} rounds of ${roundBytes / 1024 / 1024} MiB and ${exchanges} exchanges after one to warm up; median (lowest..highest)`,
  )
  print('MB/s down', down)
  print('exchanges/s', turns)
}

function print(unit: string, seen: ReadonlyMap<Name, ReadonlyMap<number, number>>): void {
  const of = (name: Name): ReadonlyMap<number, number> => seen.get(name)!
  for (const name of names) console.log(`${unit}, ${name}: ${drawSpread(spread([...of(name).values()]), 0)}`)
  for (const other of ['bare', 'haproxy'] as const) {
    console.log(`${unit}, relay of ${other}: ${drawSpread(pairedRatio(of('relay'), of(other))!, 2)}`)
  }
}

async function megabytesPerSecond(socket: tls.TLSSocket): Promise<number> {
  const started = performance.now()
  socket.write(`p${roundBytes}`)
  await received(socket, roundBytes)
  return roundBytes / 1e6 / ((performance.now() - started) / 1000)
}

async function exchangesPerSecond(socket: tls.TLSSocket): Promise<number> {
  const started = performance.now()
  for (let exchange = 0; exchange < exchanges; exchange++) {
    socket.write('echo')
    await received(socket, 4)
  }
  return exchanges / ((performance.now() - started) / 1000)
}

function received(socket: tls.TLSSocket, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let left = bytes
    const onData = (chunk: Buffer): void => {
      left -= chunk.length
      if (left > 0) return
      socket.off('data', onData)
      resolve()
    }
    socket.on('data', onData)
  })
}
