/**
 * One end of a connection as the data phase sees it: bytes come in, bytes go out, reading can be held back for several reasons at once.
 *
 * `openPeer` takes over a socket that has done its start-up. Two implementations keep one contract: `handle-peer.ts`, which every
 * connection gets under a Node that has what it needs, and `stream-peer.ts`, slower and made of public API alone.
 */
import type net from 'node:net'
import { handleOf } from '../base/stream-handle.ts'
import { HandlePeer } from './handle-peer.ts'
import { StreamPeer } from './stream-peer.ts'

export type PauseReason = 'backlog' | 'spool'

/** Receives what was read. `bytes` is only valid during the call: copy what is kept. */
export type OnBytes = (bytes: Buffer) => void

export type Peer = {
  /** For its events `end`, `close`, `error` and `finish`, and to destroy it. Whoever holds the peer neither reads nor writes it. */
  readonly socket: net.Socket
  readonly closed: boolean
  /** Called when everything that was handed over has gone, after a `forward` that gave false. */
  onDrain: () => void
  /** Hands bytes over, which must not change until let go of; false when more is held than is good, until `onDrain` is called. */
  forward(bytes: Uint8Array): boolean
  /** As `forward`, for what is in no recording: where recorded bytes are withheld, it goes on behind them and waits for nothing else. */
  pass(bytes: Uint8Array): boolean
  /** Null when nothing that was handed over is still needed; else a mark to give to `hasLetGo` later. */
  mark(): number | null
  hasLetGo(mark: number): boolean
  /** Reading begins with `start`, unless it is held back. */
  start(): void
  pause(reason: PauseReason): void
  resume(reason: PauseReason): void
  /** Ends the writing side once everything that was handed over has gone. */
  end(): void
}

/**
 * Takes over a socket, not yet started. `leftover` is what the socket had already read: it comes before whatever `onBytes` is given.
 * The socket's listeners for data must be gone.
 */
export function openPeer(socket: net.Socket, onBytes: OnBytes): { readonly peer: Peer; readonly leftover: Buffer } {
  socket.allowHalfOpen = true
  const handle = handleOf(socket)
  return handle === null ? StreamPeer.open(socket, onBytes) : HandlePeer.open(socket, handle, onBytes)
}
