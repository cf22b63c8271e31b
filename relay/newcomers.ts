/**
 * Keeps one address from using up what everybody shares before it has shown a token: its open connections and its handshakes a second.
 *
 * An agent shares its pod's address with the sidecar, so it can keep out its own sidecar alone.
 */
import type { Server, Socket } from 'node:net'
import { createTokenBuckets, type Rate } from '../base/token-bucket.ts'

export type NewcomerLimits = { readonly connectionsMax: number; readonly rate: Rate }

/** Cuts off what is too much, before TLS has cost anything; `onCut` counts it. */
export function limitNewcomers(server: Server, { connectionsMax, rate }: NewcomerLimits, onCut: () => void): void {
  const open = new Map<string, number>()
  const buckets = createTokenBuckets(rate)
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? ''
    const count = open.get(address) ?? 0
    if (count >= connectionsMax || !buckets.take(address)) {
      onCut()
      socket.destroy()
      return
    }
    open.set(address, count + 1)
    socket.once('close', () => {
      const left = open.get(address)! - 1
      if (left === 0) open.delete(address)
      else open.set(address, left)
    })
  })
}
