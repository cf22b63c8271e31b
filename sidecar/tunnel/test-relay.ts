/**
 * A relay for tests of this side of its protocol: real TLS, CONNECT and probes over real sockets, and none of the real one's checks.
 *
 * Names are a table, so that a name can have several addresses and none of them is ever resolved by the system.
 */
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createAuthority, issueLeaf, type Issued } from '../../tools/certificates.ts'

export type Asked = {
  readonly what: string
  readonly target: string
  readonly database: string | undefined
  readonly address: string | undefined
  readonly token: string | undefined
}
export type TestRefusal = { readonly status: number; readonly code: string; readonly message: string; readonly remedy: string }

export type TestRelay = AsyncDisposable & {
  readonly endpoint: string
  readonly caPem: string
  readonly tokenFile: string
  readonly folder: string
  readonly authority: Issued
  readonly asked: Asked[]
  /** Addresses by name, and at them another port than the one asked for; changed by tests. */
  readonly names: Map<string, readonly string[]>
  /** The next requests are refused so, one each. */
  readonly refusals: TestRefusal[]
  /** What a probe says of an address; reached unless told. */
  readonly unreachable: Set<string>
  /** Ends every connection. */
  cut(): void
  /** Listens no more. */
  stop(): Promise<void>
  /** Listens again at the same port. */
  restart(): Promise<void>
}

export async function startTestRelay({ token = 'token-1' }: { readonly token?: string } = {}): Promise<TestRelay> {
  const folder = await mkdtemp(join(tmpdir(), 'steno-relay-'))
  const tokenFile = join(folder, 'relay-token')
  await writeFile(tokenFile, `${token}\n`)
  const authority = await createAuthority('steno test authority')
  const leaf = await issueLeaf(authority, { kind: 'server', commonName: 'relay', names: ['localhost', '127.0.0.1'] })
  const asked: Asked[] = []
  const names = new Map<string, readonly string[]>()
  const refusals: TestRefusal[] = []
  const unreachable = new Set<string>()
  const sockets = new Set<net.Socket>()
  const addressesOf = (host: string): readonly string[] => (net.isIP(host) === 0 ? (names.get(host) ?? []) : [host])
  const note = (what: string, target: string, { headers }: http.IncomingMessage): void => {
    const one = (name: string): string | undefined => headers[name]?.toString()
    asked.push({ what, target, database: one('steno-database'), address: one('steno-address'), token: one('proxy-authorization') })
  }
  const refusalText = ({ code, message, remedy }: TestRefusal): string => JSON.stringify({ code, message, remedy })

  function createServer(): https.Server {
    const server = https.createServer({ key: leaf.keyPem, cert: leaf.certificatePem, minVersion: 'TLSv1.3' }, (request, response) => {
      const pieces: Buffer[] = []
      request.on('data', (piece: Buffer) => pieces.push(piece))
      request.on('end', () => {
        const body = JSON.parse(Buffer.concat(pieces).toString()) as { host: string; port: number }
        note('probe', `${body.host}:${body.port}`, request)
        const refusal = refusals.shift()
        if (refusal !== undefined) {
          response.writeHead(refusal.status, { connection: 'close' }).end(refusalText(refusal))
          return
        }
        const addresses = addressesOf(body.host).map((address) => ({ address, isReachable: !unreachable.has(address) }))
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ addresses }))
      })
    })
    server.on('secureConnection', (socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      socket.on('error', () => undefined)
    })
    server.on('connect', (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
      const target = request.url ?? ''
      note('connect', target, request)
      const refuse = (refusal: TestRefusal): void => {
        const body = refusalText(refusal)
        socket.end(
          `HTTP/1.1 ${refusal.status} ${http.STATUS_CODES[refusal.status]}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
            `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
        )
      }
      const refusal = refusals.shift()
      if (refusal !== undefined) return refuse(refusal)
      const [, host = '', port = ''] = /^\[?(.+?)\]?:(\d+)$/.exec(target) ?? []
      const address = request.headers['steno-address']?.toString() ?? addressesOf(host)[0]
      if (address === undefined)
        return refuse({ status: 502, code: 'NAME_UNRESOLVED', message: `${host} does not resolve`, remedy: 'Check the name.' })
      const upstream = net.connect({ host: address, port: Number(port), allowHalfOpen: true, noDelay: true })
      socket.once('close', () => upstream.destroy())
      upstream.once('error', (error) => {
        if (upstream.connecting)
          refuse({ status: 502, code: 'TARGET_UNREACHABLE', message: error.message, remedy: 'Look whether it runs.' })
        else socket.destroy()
      })
      upstream.once('connect', () => {
        socket.write(`HTTP/1.1 200 Connection established\r\nSteno-Address: ${address}\r\n\r\n`)
        upstream.write(head)
        socket.allowHalfOpen = true
        socket.pipe(upstream)
        upstream.pipe(socket)
      })
    })
    return server
  }
  let server = createServer()
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  await listen(0)
  const { port } = server.address() as net.AddressInfo
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    cut()
    await closed
  }
  return {
    ...{
      endpoint: `127.0.0.1:${port}`,
      caPem: authority.certificatePem,
      tokenFile,
      folder,
      authority,
      asked,
      names,
      refusals,
      unreachable,
    },
    ...{ cut, stop },
    async restart() {
      await stop()
      server = createServer()
      await listen(port)
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
