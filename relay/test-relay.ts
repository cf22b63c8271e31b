/**
 * A relay for tests: the real server with verdicts, names and forbidden addresses of the test's own, and a client that speaks its protocol.
 *
 * A token is `token-of-NAME`; NAME is the pod, and its UID is `uid-NAME`. Databases of tests listen on loopback addresses, which no tunnel leads
 * to: here alone they are allowed, unless a test forbids one.
 */
import net from 'node:net'
import tls from 'node:tls'
import { once } from 'node:events'
import { Registry } from 'prom-client'
import type { PodIdentity, TokenVerdict } from '../cluster/identity/pod.ts'
import { testLog } from '../cluster/test-support.ts'
import type { MergedDatabase } from '../crds/merge.ts'
import { createAuthority, issueLeaf, type Issued } from '../tools/certificates.ts'
import { addressFormsOf, type AddressForms } from './address-forms.ts'
import { whatForbids } from './forbidden-addresses.ts'
import type { PodVerdict } from './pod-verdict.ts'
import { Refusal } from './refusal.ts'
import { startRelayServer, type RelayServer, type RelayServerOptions } from './relay-server.ts'

export function testDatabase(changes: Partial<MergedDatabase>): MergedDatabase {
  return {
    ...{ name: 'orders', engine: 'postgresql', hosts: ['db.test'], port: 5432, databaseNames: ['orders'], tls: { mode: 'verify-full' } },
    ...{ variables: [], localPort: 15_432, policy: 'shop/orders' },
    ...changes,
  }
}

export type TestRelay = AsyncDisposable & {
  readonly server: RelayServer
  readonly registry: Registry
  readonly authority: Issued
  readonly lines: ReturnType<typeof testLog>['lines']
  /** By pod name; a pod that is not here is fit and may reach `db.test` at the test's port. */
  readonly verdicts: Map<string, PodVerdict | Error>
  /** Addresses of names. */
  readonly names: Map<string, string[]>
  /** Of the cluster, by canonical text. */
  readonly forbidden: Map<string, string>
  useCertificate(leaf: Issued): void
  /** A TLS connection without a word said. */
  connection(options?: tls.ConnectionOptions): Promise<tls.TLSSocket>
  connect(ask?: Ask): Promise<Answer>
  probe(body: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
  metric(line: string): Promise<number>
}

export type Ask = {
  readonly pod?: string
  readonly target?: string
  readonly database?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Sent in the same write as the request. */
  readonly behind?: Buffer | string
  readonly socket?: tls.TLSSocket
}

/** `rest` is what came behind the head of the answer. */
export type Answer = {
  readonly socket: tls.TLSSocket
  readonly status: number
  readonly head: string
  readonly rest: Buffer
  readonly code: string | null
}

export function testPod(name: string): PodIdentity {
  return { podUid: `uid-${name}`, podName: name, podNamespace: 'shop', serviceAccount: 'agent', nodeName: 'node-1' }
}

export async function startTestRelay(port: number, options: Partial<RelayServerOptions> = {}): Promise<TestRelay> {
  const authority = await createAuthority('steno')
  let leaf = await issueLeaf(authority, { kind: 'server', commonName: 'steno-relay', names: ['127.0.0.1'] })
  const listeners = new Set<() => void>()
  const { log, lines } = testLog()
  const registry = new Registry()
  const verdicts: TestRelay['verdicts'] = new Map()
  const names: TestRelay['names'] = new Map([['db.test', ['127.0.0.1']]])
  const forbidden: TestRelay['forbidden'] = new Map()
  const sockets = new Set<tls.TLSSocket>()
  const fit: PodVerdict = { kind: 'fit', podIPs: ['127.0.0.1'], databases: [testDatabase({ port })], ceilings: [] }
  const server = await startRelayServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates: {
      current: () => ({ key: leaf.keyPem, cert: leaf.certificatePem }),
      onChange(listener) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
    },
    reviewToken(token) {
      const name = /^token-of-(.+)$/.exec(token)?.[1]
      const verdict: TokenVerdict = name === undefined ? { kind: 'refused', reason: 'it is foreign' } : { kind: 'pod', pod: testPod(name) }
      return Promise.resolve(verdict)
    },
    judgePod({ podName }) {
      const verdict = verdicts.get(podName) ?? fit
      return verdict instanceof Error ? Promise.reject(verdict) : Promise.resolve(verdict)
    },
    resolveName(host) {
      const found = (names.get(host) ?? [host]).flatMap((text) => addressFormsOf(text) ?? [])
      return found.length > 0 ? Promise.resolve(found) : Promise.reject(new Refusal('NAME_UNRESOLVED', 'there is no address'))
    },
    whatForbids: (forms) =>
      forbidden.get(forms.text) ?? (isLoopback(forms) ? null : whatForbids(forms, { what: (text) => forbidden.get(text) ?? null })),
    checkSourceAddress: true,
    drainMilliseconds: 0,
    registry,
    log,
    ...options,
  })
  const relay: TestRelay = {
    ...{ server, registry, authority, lines, verdicts, names, forbidden },
    useCertificate(next) {
      leaf = next
      for (const listener of listeners) listener()
    },
    async connection(more = {}) {
      const socket = tls.connect({
        host: '127.0.0.1',
        port: server.port,
        ca: authority.certificatePem,
        allowHalfOpen: true,
        ...more,
      } as tls.ConnectionOptions)
      sockets.add(socket)
      socket.on('error', () => undefined)
      await once(socket, 'secureConnect')
      return socket
    },
    async connect({ pod = 'agent', target = `db.test:${port}`, database = 'orders', headers = {}, behind = '', socket } = {}) {
      const connected = socket ?? (await relay.connection())
      const all = { host: target, 'proxy-authorization': `Bearer token-of-${pod}`, 'steno-database': database, ...headers }
      const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
      connected.write(Buffer.concat([Buffer.from(`CONNECT ${target} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`), Buffer.from(behind)]))
      return await answerOn(connected)
    },
    async probe(body, headers = {}) {
      const connected = await relay.connection()
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const all = {
        host: 'relay',
        'proxy-authorization': 'Bearer token-of-agent',
        'content-length': String(Buffer.byteLength(text)),
        ...headers,
      }
      const fields = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
      connected.write(`POST /v1/probe HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n${text}`)
      return await answerOn(connected)
    },
    async metric(line) {
      const text = await registry.metrics()
      return Number(
        text
          .split('\n')
          .find((each) => each.startsWith(`${line} `))
          ?.slice(line.length + 1),
      )
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await server.stop()
    },
  }
  return relay
}

const isLoopback = (forms: AddressForms): boolean => forms.text.startsWith('127.') || forms.text === '0:0:0:0:0:0:0:1'

/** Reads the head of an answer, and the body of a refusal; a connection that ends before gives status 0. */
export async function answerOn(socket: tls.TLSSocket): Promise<Answer> {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const at = bytes.indexOf('\r\n\r\n')
    const head = at < 0 ? '' : bytes.subarray(0, at).toString('latin1')
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0)
    const wanted = status === 200 && !/content-length/i.test(head) ? 0 : Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
    if (at >= 0 && bytes.length >= at + 4 + wanted) {
      const rest = bytes.subarray(at + 4)
      const code = status === 200 ? null : ((JSON.parse(rest.toString()) as { code: string }).code ?? null)
      return { socket, status, head, rest, code }
    }
    const chunk = await nextChunk(socket)
    if (chunk === null) return { socket, status: 0, head: '', rest: bytes, code: null }
    bytes = Buffer.concat([bytes, chunk])
  }
}

/** Null at the end of the stream. */
export async function nextChunk(socket: net.Socket): Promise<Buffer | null> {
  for (;;) {
    const chunk = socket.read() as Buffer | null
    if (chunk !== null) return chunk
    if (socket.readableEnded || socket.destroyed) return null
    await new Promise<void>((resolve) => {
      const done = (): void => {
        for (const event of ['readable', 'end', 'close']) socket.off(event, done)
        resolve()
      }
      for (const event of ['readable', 'end', 'close']) socket.on(event, done)
    })
  }
}

/** Reads until `bytes` bytes are there, or the end. */
export async function take(socket: net.Socket, bytes: number, first: Buffer = Buffer.alloc(0)): Promise<Buffer> {
  const chunks = [first]
  let length = first.length
  while (length < bytes) {
    const chunk = await nextChunk(socket)
    if (chunk === null) break
    chunks.push(chunk)
    length += chunk.length
  }
  return Buffer.concat(chunks)
}

/** A TCP server on a free port of 127.0.0.1. */
export async function startTcp(
  onConnection: (socket: net.Socket) => void,
): Promise<{ readonly port: number; readonly sockets: Set<net.Socket> } & AsyncDisposable> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
    onConnection(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as net.AddressInfo).port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Gives back what it is given, and its end. */
export function startEcho() {
  return startTcp((socket) => void socket.pipe(socket))
}
