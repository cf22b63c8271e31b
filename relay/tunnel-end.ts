/**
 * One end of a tunnel: bytes come in, bytes go out, and whoever does not take them is felt.
 *
 * Two implementations keep one contract: `handle-end.ts`, which every tunnel gets under a Node that has what it needs, and `stream-end.ts`. A tunnel may
 * have one of each.
 */
import type net from 'node:net'
import { handleOf } from '../base/stream-handle.ts'
import { HandleEnd } from './handle-end.ts'
import { StreamEnd } from './stream-end.ts'

/** `bytes` is valid during the call only. */
export type OnBytes = (bytes: Uint8Array) => void

export type TunnelEnd = {
  readonly socket: net.Socket
  /** Called when more may be written, after `write` said no. */
  onDrain: () => void
  /** Takes all of `bytes`, which may change once the call returns; false when nothing more may be written until `onDrain`. */
  write(bytes: Uint8Array): boolean
  /** No bytes follow: what was written goes out first, then the peer sees the end. */
  end(): void
  pause(): void
  resume(): void
}

/** `leftover` is what the socket had read before. */
export type OpenedEnd = { readonly end: TunnelEnd; readonly leftover: Buffer }

/** Nothing is read before the first `resume`. */
export function openTunnelEnd(socket: net.Socket, onBytes: OnBytes): OpenedEnd {
  const handle = handleOf(socket)
  return handle === null ? StreamEnd.open(socket, onBytes) : HandleEnd.open(socket, handle, onBytes)
}
