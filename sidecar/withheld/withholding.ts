/**
 * Recording level `stored`: keeps from agents what the store does not have yet, and has the sealing thread store it at once.
 *
 * One round of the store takes what all sessions wait for, and the next begins when it has ended (group commit). Idle costs nothing: the
 * sealing thread is asked when something begins to wait, and says by a message how far the store has come. What waits longer than
 * `waitMilliseconds` fails, or, with `continue`, goes on and is stated in the recording.
 */
import type { Peer } from '../peer.ts'
import { WithheldPeer, type Withheld } from './withheld-peer.ts'
import type { WithheldBecause } from './withheld-error.ts'

/** Of all connections of a recorder; beyond it each one waits for what it has itself, so that memory is bounded by a read for each. */
const withheldBytesMaxAltogether = 8 * 1024 * 1024
export const storeWaitMillisecondsStandard = 30_000

/** From when to when results went on that the store did not have; `to` is null while they do. In milliseconds since the epoch. */
export type DeliveredUnstored = { readonly from: number; readonly to: number | null; readonly bytes: number }

/** What a session does about it. Neither is called while bytes are handed over. */
export type WithheldSession = {
  /** What waits will not be delivered: end the session. `refuse` gives up what waits and sends the error where one can stand. */
  readonly onRefused: (because: WithheldBecause, what: { readonly bytes: number; readonly refuse: (error: Buffer) => void }) => void
  /** Called when a stretch begins and when it ends. */
  readonly onDeliveredUnstored: (what: DeliveredUnstored) => void
}

export type WithholdingState = { readonly kind: 'storing' } | { readonly kind: 'overdue'; readonly waitedMilliseconds: number }

export type Withholding = ReturnType<typeof createWithholding>

export function createWithholding(options: {
  readonly waitMilliseconds: number
  readonly onFailure: 'block' | 'continue'
  /** The spool's own figure: behind the last record that it has. */
  readonly writtenBytes: () => number
  /** Has what is in the spool now stored; answered by `storedTo`. */
  readonly store: () => void
  /** Tells that the store does not keep up, or does again, once for each change. */
  readonly onStateChange: (state: WithholdingState) => void
}) {
  type Known = { readonly number: number; readonly session: WithheldSession; stretch: { readonly from: number; bytes: number } | null }
  const known = new Map<WithheldPeer, Known>()
  const waiting = new Set<WithheldPeer>()
  /** Sessions whose records the store will never take, with `continue`. */
  const unstorable = new Set<WithheldPeer>()
  let timer: NodeJS.Timeout | null = null
  let isOverdue = false

  const shared: Withheld = {
    bytes: 0,
    bytesMax: withheldBytesMaxAltogether,
    isPassing: false,
    writtenBytes: options.writtenBytes,
    waits(peer) {
      if (unstorable.has(peer)) {
        // Behind the call that hands the bytes over.
        queueMicrotask(() => peer.letGo())
        return
      }
      waiting.add(peer)
      options.store()
      timer ??= setTimeout(look, options.waitMilliseconds)
    },
    passed(peer, bytes) {
      const one = known.get(peer)
      if (one === undefined) return
      if (one.stretch !== null) {
        one.stretch.bytes += bytes
        return
      }
      const stretch = (one.stretch = { from: Date.now(), bytes })
      // A record of it cannot be gathered amid the commit that hands these bytes over.
      queueMicrotask(() => {
        if (one.stretch === stretch) one.session.onDeliveredUnstored({ from: stretch.from, to: null, bytes: stretch.bytes })
      })
    },
    gone(peer) {
      const one = known.get(peer)
      waiting.delete(peer)
      unstorable.delete(peer)
      if (one !== undefined) endStretch(one)
      known.delete(peer)
    },
  }

  function endStretch(one: Known): void {
    if (one.stretch === null) return
    const { from, bytes } = one.stretch
    one.stretch = null
    one.session.onDeliveredUnstored({ from, to: Date.now(), bytes })
  }

  function look(): void {
    timer = null
    const now = performance.now()
    let oldest = Infinity
    for (const peer of waiting) {
      const since = peer.waitsSince
      if (since === null) continue
      if (now - since < options.waitMilliseconds) oldest = Math.min(oldest, since)
      else overdue(peer)
    }
    if (oldest < Infinity) timer = setTimeout(look, Math.max(1, oldest + options.waitMilliseconds - now))
  }

  function overdue(peer: WithheldPeer): void {
    const because = { kind: 'overdue', waitedMilliseconds: options.waitMilliseconds } as const
    if (!isOverdue) {
      isOverdue = true
      options.onStateChange(because)
    }
    if (options.onFailure === 'block') {
      refuse(peer, because)
      return
    }
    shared.isPassing = true
    for (const each of waiting) each.letGo()
    waiting.clear() // The sealing thread is asked all the while; its answer ends the stretch.
  }

  function refuse(peer: WithheldPeer, because: WithheldBecause): void {
    waiting.delete(peer)
    known.get(peer)?.session.onRefused(because, { bytes: peer.unstoredBytes, refuse: (error) => peer.refuse(error) })
  }

  function cannotBeStored(peer: WithheldPeer): void {
    if (options.onFailure === 'block') {
      refuse(peer, { kind: 'unstorable' })
      return
    }
    waiting.delete(peer)
    peer.letGo()
  }

  return {
    /** Stands before the agent's side of a session. */
    gate(number: number, inner: Peer, session: WithheldSession): Peer {
      const peer = new WithheldPeer(inner, shared)
      known.set(peer, { number, session, stretch: null })
      return peer
    },
    /** The store has everything before this position of the spool. */
    storedTo(position: number): void {
      if (isOverdue) {
        isOverdue = false
        options.onStateChange({ kind: 'storing' })
      }
      if (shared.isPassing) {
        shared.isPassing = false
        for (const [peer, one] of known) if (!unstorable.has(peer)) endStretch(one)
      }
      for (const peer of waiting) {
        peer.storedTo(position)
        if (peer.waitsSince === null) waiting.delete(peer)
      }
      if (waiting.size > 0) options.store()
    },
    /** The store will never have the records of this session; null: some of the spool's are lost, and nobody knows whose. */
    neverStored(session: number | null): void {
      for (const [peer, { number }] of known) {
        if (session === null ? peer.waitsSince === null : number !== session) continue
        if (session !== null && options.onFailure === 'continue') unstorable.add(peer)
        cannotBeStored(peer)
      }
    },
  }
}
