/**
 * Keeps one address from using up what everybody shares before it has shown a token: its open connections and its handshakes a second.
 *
 * An agent shares its pod's address with the sidecar, so it can keep out its own sidecar alone.
 */
import type { Server, Socket } from 'node:net'
import { createTokenBuckets, type Rate } from '../base/token-bucket.ts'

export type Newcomers = {
  /** The peer has shown who it is: its connection is none of its address's newcomers any more. */
  vouch(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): void
}

export type NewcomerLimits = { readonly connectionsMax: number; readonly rate: Rate }

/** Cuts off what is too much, before TLS has cost anything; `onCut` counts it. */
export function limitNewcomers(server: Server, { connectionsMax, rate }: NewcomerLimits, onCut: () => void): Newcomers {
  /** By address, the ports of its newcomers. */
  const open = new Map<string, Set<number>>()
  const buckets = createTokenBuckets(rate)
  function leave(address: string, port: number): void {
    const ports = open.get(address)
    if (ports?.delete(port) === true && ports.size === 0) open.delete(address)
  }
  server.on('connection', (socket: Socket) => {
    const { remoteAddress: address = '', remotePort: port = 0 } = socket
    const ports = open.get(address) ?? new Set()
    if (ports.size >= connectionsMax || !buckets.take(address)) {
      onCut()
      socket.destroy()
      return
    }
    open.set(address, ports.add(port))
    socket.once('close', () => leave(address, port))
  })
  return { vouch: ({ remoteAddress = '', remotePort = 0 }) => leave(remoteAddress, remotePort) }
}
