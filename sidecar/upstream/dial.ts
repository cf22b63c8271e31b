/**
 * How a host of the connection string is reached, before anything of PostgreSQL or of the database's TLS is said: directly, by names that
 * are resolved here, or through something that resolves them itself (`sidecar/tunnel/`).
 */
import { once } from 'node:events'
import net from 'node:net'
import type tls from 'node:tls'
import { messageOf } from '../../base/errors.ts'
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { AttemptFailed } from './errors.ts'
import { placesOf } from './addresses.ts'

/** A host, and where it is known which of its name's addresses is meant, that one. */
export type PinnedHost = UpstreamHost & { readonly pinnedAddress?: string }

/** What is connected to: an address, a Unix socket's path, or what somebody else connects to for us. */
export type Place =
  | { readonly address: string; readonly port: number }
  | { readonly path: string }
  /** `address` null: whichever of the name's addresses answers. */
  | { readonly name: string; readonly port: number; readonly pinned: string | null }

export type Dialed = {
  /** Connected and paused, its listeners gone but one that lets errors pass in silence: `close` follows each. */
  readonly socket: net.Socket | tls.TLSSocket
  /** The host at the very server that was reached: where a cancel request has to go. */
  readonly pin: (host: UpstreamHost) => PinnedHost
  /** The address that was reached; null for a Unix socket. */
  readonly address: string | null
}

export type Dial = {
  /** Where to look, in the order to try. @throws AttemptFailed when the name does not resolve, or `signal` ends the wait */
  placesOf(host: PinnedHost, options: { readonly signal: AbortSignal; readonly shuffled: boolean }): Promise<readonly Place[]>
  /** More of them, once none of the first gave a session: other addresses than those that were reached. Never throws for a name. */
  placesBeside(host: PinnedHost, reached: readonly string[], options: { readonly signal: AbortSignal }): Promise<readonly Place[]>
  /** @throws AttemptFailed */
  connect(place: Place, keepalive: ConnectionSettings['keepalive'], options: { readonly signal: AbortSignal }): Promise<Dialed>
}

export const directDial: Dial = {
  placesOf,
  placesBeside: async () => [],
  async connect(place, keepalive, { signal }) {
    if ('name' in place) throw new AttemptFailed('network', 'the name of a host is no address')
    const socket = net.connect({
      ...('path' in place ? { path: place.path } : { host: place.address, port: place.port, autoSelectFamily: false }),
      noDelay: true,
    })
    socket.pause()
    try {
      await opened(socket, 'connect', signal)
    } catch (error) {
      throw new AttemptFailed('network', messageOf(error), error)
    }
    if ('path' in place) return { socket, pin: (host) => host, address: null }
    socket.setKeepAlive(keepalive.enabled, keepalive.idleMilliseconds, keepalive.intervalMilliseconds, keepalive.count)
    return { socket, pin: (host) => ({ ...host, address: place.address }), address: place.address }
  },
}

/** Waits for `event`; an error, the end of the connection or the signal come as an exception, and then the socket is gone. */
export async function opened(
  socket: net.Socket,
  event: 'connect' | 'secureConnect',
  signal: AbortSignal,
  { peer = 'the server' }: { readonly peer?: string } = {},
): Promise<void> {
  // An error after this wait is followed by 'close', which every user of a wire looks at.
  socket.on('error', ignored)
  const waiting = new AbortController()
  const closed = once(socket, 'close', { signal: waiting.signal }).then(() => {
    throw socket.errored ?? new Error(`${peer} closed the connection`)
  })
  try {
    await Promise.race([once(socket, event, { signal: AbortSignal.any([signal, waiting.signal]) }), closed])
  } catch (error) {
    socket.destroy()
    throw signal.aborted ? asError(signal.reason) : error
  } finally {
    waiting.abort()
    closed.catch(ignored)
  }
  if (socket.destroyed) throw socket.errored ?? new Error(`${peer} closed the connection`)
}

export const asError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(messageOf(reason)))
const ignored = (): void => undefined
