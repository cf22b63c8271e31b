/**
 * Bounds of the admission server that Node has no option for: bytes of all bodies together, and connections of one address.
 *
 * Whoever is on the cluster's network can reach the server, so one peer alone must neither fill its memory nor take all its connections.
 */
import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:net'

export type Body = { readonly kind: 'read'; readonly text: string } | { readonly kind: 'too-long' } | { readonly kind: 'no-room' }

/** Reads bodies; what is beyond a bound is not kept. */
export function createBodies({
  bodyBytesMax,
  bodiesBytesMax,
}: {
  readonly bodyBytesMax: number
  readonly bodiesBytesMax: number
}): (request: IncomingMessage) => Promise<Body> {
  let bytesHeld = 0
  return async (request) => {
    if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) return { kind: 'too-long' }
    const chunks: Buffer[] = []
    let bytes = 0
    try {
      // Not destroyed when left early: the peer is to read why.
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        bytes += chunk.length
        bytesHeld += chunk.length
        if (bytes > bodyBytesMax) return { kind: 'too-long' }
        if (bytesHeld > bodiesBytesMax) return { kind: 'no-room' }
        chunks.push(chunk)
      }
      return { kind: 'read', text: Buffer.concat(chunks, bytes).toString('utf8') }
    } finally {
      bytesHeld -= bytes
    }
  }
}

/** Connections beyond are ended at once, before TLS. */
export function limitPerAddress(server: Server, connectionsMax: number): void {
  const counts = new Map<string, number>()
  server.on('connection', (socket) => {
    const address = socket.remoteAddress ?? ''
    const count = 1 + (counts.get(address) ?? 0)
    if (count > connectionsMax) {
      socket.destroy()
      return
    }
    counts.set(address, count)
    socket.once('close', () => {
      const left = (counts.get(address) ?? 1) - 1
      if (left === 0) counts.delete(address)
      else counts.set(address, left)
    })
  })
}
