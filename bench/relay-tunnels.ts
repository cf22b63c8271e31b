/**
 * What does a relay cost that holds many tunnels, and how fast is one of them? Budget: 5,000 idle tunnels under 500 MB resident; one tunnel at
 * least 0.85 of a bare Node TLS tunnel (`socket.pipe`) in the same run.
 *
 * The relay runs in a process of its own with verdicts that are always yes; clients and database run here. `node bench/relay-tunnels.ts` with
 * `--idle N` or `--speed`. Needs 4 file descriptors for each tunnel.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import tls from 'node:tls'
import { Registry } from 'prom-client'
import { createLog } from '../base/log.ts'
import type { MergedDatabase } from '../crds/merge.ts'
import { addressFormsOf } from '../relay/address-forms.ts'
import { startRelayServer } from '../relay/relay-server.ts'
import { createAuthority, issueLeaf } from '../tools/certificates.ts'

const [mode, count = '5000'] = process.argv.slice(2)
const pieceBytes = 256 * 1024
const roundBytes = 512 * 1024 * 1024
const rounds = 6
const exchanges = 20_000

if (process.send === undefined) await measure()
else await serve(Number(mode))

/** The child: a relay, and a bare TLS tunnel beside it, both to the database's port. */
async function serve(port: number): Promise<void> {
  const leaf = await issueLeaf(await createAuthority('bench'), { kind: 'server', commonName: 'relay', names: ['127.0.0.1'] })
  const certificate = { key: leaf.keyPem, cert: leaf.certificatePem }
  const database = { name: 'orders', hosts: ['127.0.0.1'], port } as unknown as MergedDatabase
  const relay = await startRelayServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates: { current: () => certificate, onChange: () => () => undefined },
    reviewToken: (token) =>
      Promise.resolve({
        kind: 'pod',
        pod: { podUid: token, podName: token, podNamespace: 'shop', serviceAccount: 'agent', nodeName: null },
      }),
    judgePod: () => Promise.resolve({ kind: 'fit', podIPs: ['127.0.0.1'], databases: [database], ceilings: [] }),
    resolveName: (host) => Promise.resolve([addressFormsOf(host)!]),
    whatForbids: () => null,
    checkSourceAddress: false, // All clients of the bench share one address.
    drainMilliseconds: 0,
    registry: new Registry(),
    log: createLog({ level: 'silent' }),
  })
  const bare = tls.createServer({ ...certificate, minVersion: 'TLSv1.3', noDelay: true }, (client) => {
    const upstream = net.connect({ host: '127.0.0.1', port, noDelay: true })
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) socket.on('error', () => [client, upstream].forEach((each) => each.destroy()))
  })
  bare.listen(0, '127.0.0.1')
  await once(bare, 'listening')
  process.send!({ relay: relay.port, bare: (bare.address() as AddressInfo).port })
}

async function measure(): Promise<void> {
  const database = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes) => {
      // `p…`: pour so many bytes; anything else comes back.
      if (bytes[0] === 0x70) pour(socket, Number(bytes.subarray(1).toString()))
      else socket.write(bytes)
    })
  })
  database.listen(0, '127.0.0.1')
  await once(database, 'listening')
  const child = fork(new URL(import.meta.url), [String((database.address() as AddressInfo).port)])
  const [ports] = (await once(child, 'message')) as [{ relay: number; bare: number }]
  const port = (database.address() as AddressInfo).port
  try {
    if (mode === '--idle') await idle(child.pid!, ports.relay, port, Number(count))
    else await speed(ports, port)
  } finally {
    child.kill()
    process.exit(0)
  }
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

async function tunnel(relayPort: number, databasePort: number, pod: string): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host: '127.0.0.1', port: relayPort, rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const target = `127.0.0.1:${databasePort}`
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\nproxy-authorization: Bearer ${pod}\r\nsteno-database: orders\r\n\r\n`)
  const [answer] = (await once(socket, 'data')) as [Buffer]
  if (!answer.toString().startsWith('HTTP/1.1 200')) throw new Error(answer.toString())
  socket.setNoDelay(true)
  return socket
}

function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string): string => `${(Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0)} MB`
  return `VmRSS ${of('VmRSS')}, RssAnon ${of('RssAnon')}, peak ${of('VmHWM')}`
}

async function idle(pid: number, relayPort: number, databasePort: number, tunnels: number): Promise<void> {
  console.log(`no tunnel: ${memoryOf(pid)}`)
  const together = 50
  for (let begun = 0; begun < tunnels; begun += together) {
    const batch = Array.from({ length: together }, (_, index) =>
      tunnel(relayPort, databasePort, `pod-${Math.floor((begun + index) / 100)}`),
    )
    for (const socket of await Promise.all(batch)) socket.write('x')
    if ((begun + together) % 1000 === 0) console.log(`${begun + together} tunnels: ${memoryOf(pid)}`)
  }
  await new Promise((resolve) => setTimeout(resolve, 10_000))
  console.log(`${tunnels} tunnels, idle for 10 s: ${memoryOf(pid)}`)
}

async function speed(ports: { relay: number; bare: number }, databasePort: number): Promise<void> {
  const bareSocket = async (): Promise<tls.TLSSocket> => {
    const socket = tls.connect({ host: '127.0.0.1', port: ports.bare, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    socket.setNoDelay(true)
    return socket
  }
  const contestants = { bare: await bareSocket(), relay: await tunnel(ports.relay, databasePort, 'pod-speed') }
  for (let round = 0; round < rounds; round++) {
    // Round 0 warms the compiler.
    const down: Record<string, number> = {}
    const turns: Record<string, number> = {}
    for (const [name, socket] of Object.entries(contestants)) {
      let started = performance.now()
      socket.write(`p${roundBytes}`)
      await received(socket, roundBytes)
      down[name] = roundBytes / 1e6 / ((performance.now() - started) / 1000)
      started = performance.now()
      for (let exchange = 0; exchange < exchanges; exchange++) {
        socket.write('echo')
        await received(socket, 4)
      }
      turns[name] = exchanges / ((performance.now() - started) / 1000)
    }
    const line = (unit: string, of: Record<string, number>): string =>
      `${of['bare']!.toFixed(0)} bare, ${of['relay']!.toFixed(0)} relay ${unit}, ratio ${(of['relay']! / of['bare']!).toFixed(2)}`
    console.log(`round ${round}: ${line('MB/s down', down)}; ${line('exchanges/s', turns)}`)
  }
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
