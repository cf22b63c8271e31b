/**
 * Joins the two ends of a tunnel: every byte of the one goes to the other, as do its end and its back-pressure, and both end together.
 *
 * Knows nothing of who speaks or what is said.
 */
import type net from 'node:net'
import { messageOf, systemCodeOf } from '../base/errors.ts'
import { openTunnelEnd, type TunnelEnd } from './tunnel-end.ts'

export type EndKind = (typeof endKinds)[number]
export const endKinds = ['pod_ended', 'database_ended', 'pod_failed', 'database_failed', 'withdrawn', 'idle', 'stopping'] as const

/** `detail` is for the log: an error's code, or why the tunnel is allowed no more. */
export type EndReason = { readonly kind: EndKind; readonly detail: string | null }

export type Splice = {
  readonly bytesToDatabase: number
  readonly bytesToPod: number
  /** Ends both sides at once; the first reason counts. */
  cut(reason: EndReason): void
}

export type SpliceOptions = {
  readonly pod: net.Socket
  readonly database: net.Socket
  /** What the pod sent right behind its request. */
  readonly head: Uint8Array
  /** Called once, when both sockets are closed. */
  readonly onEnd: (reason: EndReason) => void
}

/** What the one side has sent may still reach the other after the one has failed. */
const lingerMilliseconds = 5_000

export function splice({ pod: podSocket, database: databaseSocket, head, onEnd }: SpliceOptions): Splice {
  let bytesToDatabase = 0
  let bytesToPod = 0
  let reason: EndReason | null = null
  let open = 2
  const { end: pod, leftover: fromPod } = openTunnelEnd(podSocket, (bytes) => {
    bytesToDatabase += bytes.length
    if (!database.write(bytes)) pod.pause()
  })
  const { end: database, leftover: fromDatabase } = openTunnelEnd(databaseSocket, (bytes) => {
    bytesToPod += bytes.length
    if (!pod.write(bytes)) database.pause()
  })

  for (const [end, other, name] of [
    [pod, database, 'pod'],
    [database, pod, 'database'],
  ] as const) {
    const { socket } = end
    let hasEnded = false
    other.onDrain = () => end.resume()
    socket.setTimeout(0)
    socket.on('end', () => {
      hasEnded = true
      reason ??= { kind: `${name}_ended`, detail: null }
      other.end()
    })
    socket.on('error', (error) => {
      reason ??= { kind: `${name}_failed`, detail: systemCodeOf(error) ?? messageOf(error) }
    })
    socket.once('close', () => {
      reason ??= { kind: `${name}_failed`, detail: null }
      open--
      if (open === 0) onEnd(reason)
      else if (!hasEnded) finish(other)
    })
  }

  const early = [head, fromPod].filter((bytes) => bytes.length > 0)
  bytesToDatabase += early.reduce((sum, bytes) => sum + bytes.length, 0)
  bytesToPod += fromDatabase.length
  const databaseTakes = early.map((bytes) => database.write(bytes)).every(Boolean)
  const podTakes = fromDatabase.length === 0 || pod.write(fromDatabase)
  if (databaseTakes) pod.resume()
  if (podTakes) database.resume()
  // One that closed before anybody listened says nothing any more.
  if (podSocket.destroyed) finish(database)
  if (databaseSocket.destroyed) finish(pod)

  return {
    get bytesToDatabase() {
      return bytesToDatabase
    },
    get bytesToPod() {
      return bytesToPod
    },
    cut(why) {
      reason ??= why
      podSocket.destroy()
      databaseSocket.destroy()
    },
  }

  function finish(end: TunnelEnd): void {
    const { socket } = end
    if (socket.destroyed) return
    end.end()
    socket.once('finish', () => socket.destroy())
    if (socket.writableFinished) socket.destroy()
    setTimeout(() => socket.destroy(), lingerMilliseconds).unref()
  }
}
