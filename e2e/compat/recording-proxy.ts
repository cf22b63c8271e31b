/**
 * Stands before control or relay with a certificate of its own, passes on what it is asked, and remembers each exchange in the order in which they
 * began. Of an answer that goes on without an end, as the stream's, and of a tunnel, it remembers the beginning.
 */
import { once } from 'node:events'
import https from 'node:https'
import tls from 'node:tls'
import type http from 'node:http'
import type { AddressInfo } from 'node:net'
import { issueLeaf, type Issued } from '../../tools/certificates.ts'
import { hasDocument, shapeOfBody, shapeOfHeaders, type Exchange } from './exchange.ts'

/** For CONNECT, whose Host is the target's. */
export const isAtAddress: typeof tls.checkServerIdentity = (_, certificate) => tls.checkServerIdentity('127.0.0.1', certificate)

export type RecordingProxy = AsyncDisposable & { readonly port: number; readonly exchanges: () => readonly Exchange[] }

export async function startRecordingProxy(
  to: Exchange['to'],
  target: { readonly port: number; readonly authority: Issued },
): Promise<RecordingProxy> {
  const leaf = await issueLeaf(target.authority, { kind: 'server', commonName: 'proxy', names: ['127.0.0.1'] })
  const server = https.createServer({ key: leaf.keyPem, cert: leaf.certificatePem, ALPNProtocols: ['http/1.1'] })
  const kept: (Exchange | null)[] = []
  const address = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`
  const forward = (request: http.IncomingMessage): http.ClientRequest =>
    https.request({
      ...{ host: '127.0.0.1', port: target.port, path: request.url, method: request.method, headers: request.headers },
      ...{ ca: target.authority.certificatePem, agent: false, checkServerIdentity: isAtAddress },
    })

  function keep(place: number, request: http.IncomingMessage, body: Buffer, answer: http.IncomingMessage, begun: Buffer): void {
    kept[place] = {
      to,
      request: {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.rawHeaders.map((text) => text.replaceAll(address(), '{address}')),
        body: body.toString('base64'),
      },
      answer: {
        status: answer.statusCode ?? 0,
        headers: shapeOfHeaders(answer.headers, request.method === 'GET' || request.method === 'HEAD'),
        body: shapeOfBody(answer.headers['content-type'], begun),
      },
    }
  }

  server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
    void (async () => {
      const place = kept.push(null) - 1
      const body = Buffer.concat((await Array.fromAsync(request)) as Buffer[])
      const outgoing = forward(request)
      outgoing.on('error', () => response.destroy())
      response.on('close', () => outgoing.destroy())
      outgoing.end(body)
      const [answer] = (await once(outgoing, 'response')) as [http.IncomingMessage]
      answer.on('error', () => response.destroy())
      response.writeHead(answer.statusCode ?? 0, answer.headers)
      response.flushHeaders()
      const pieces: Buffer[] = []
      keep(place, request, body, answer, Buffer.alloc(0))
      answer.on('data', (piece: Buffer) => {
        pieces.push(piece)
        if (hasDocument(Buffer.concat(pieces))) keep(place, request, body, answer, Buffer.concat(pieces))
        response.write(piece)
      })
      answer.on('end', () => {
        if (request.url !== '/v1/stream') keep(place, request, body, answer, Buffer.concat(pieces))
        response.end()
      })
    })().catch(() => response.destroy())
  })
  server.on('connect', (request: http.IncomingMessage, socket, head: Buffer) => {
    const place = kept.push(null) - 1
    const outgoing = forward(request)
    outgoing.on('error', () => socket.destroy())
    outgoing.on('connect', (answer, tunnel, behind: Buffer) => {
      const isOpen = answer.statusCode === 200
      const pieces = isOpen ? [] : [behind]
      const remember = (): void => keep(place, request, Buffer.alloc(0), answer, Buffer.concat(pieces))
      remember()
      if (!isOpen)
        tunnel.on('data', (piece: Buffer) => {
          pieces.push(piece)
          remember()
        })
      const lines = answer.rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${answer.rawHeaders[at + 1]}`] : []))
      socket.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${lines.join('\r\n')}\r\n\r\n`)
      socket.write(behind)
      for (const end of [tunnel, socket]) end.on('error', () => undefined)
      tunnel.write(head)
      tunnel.pipe(socket).pipe(tunnel)
    })
    outgoing.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    exchanges: () => kept.filter((exchange) => exchange !== null),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
