/**
 * Bounds a server's connections without letting those who came first keep everybody else out.
 *
 * Anybody in the cluster reaches the ports, and a server that merely stops accepting at its limit is closed by whoever opens that many
 * connections and says nothing. Here the newest is let in and the oldest that nobody vouched for is cut off.
 */
import type { Server, Socket } from 'node:net'

export type Connections = {
  /** The peer has shown who it is: from now on its connection is cut off only when there is no other. */
  vouch(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): void
  /** For a server that ends: who has not shown who it is has nothing under way. */
  cutStrangers(): void
  readonly size: number
}

/** `vouchedMax` of `max` may be vouched for, so that there is always room to come in by; the oldest of these goes first then. */
export function boundConnections(server: Server, { max, vouchedMax }: { readonly max: number; readonly vouchedMax: number }): Connections {
  /** By peer, since a TLS server tells of a socket and its requests of another one around it. In the order of coming. */
  const strangers = new Map<string, Socket>()
  const vouched = new Map<string, Socket>()

  function cutOldest(of: Map<string, Socket>): void {
    const [peer, socket] = of.entries().next().value!
    of.delete(peer)
    socket.destroy()
  }

  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket)
    strangers.set(peer, socket)
    socket.once('close', () => {
      for (const known of [strangers, vouched]) if (known.get(peer) === socket) known.delete(peer)
    })
    if (strangers.size + vouched.size > max) cutOldest(strangers)
  })
  return {
    vouch(socket) {
      const peer = peerOf(socket)
      const known = strangers.get(peer)
      if (known === undefined) return
      strangers.delete(peer)
      vouched.set(peer, known)
      if (vouched.size > vouchedMax) cutOldest(vouched)
    },
    cutStrangers() {
      while (strangers.size > 0) cutOldest(strangers)
    },
    get size() {
      return strangers.size + vouched.size
    },
  }
}

function peerOf({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`
}
