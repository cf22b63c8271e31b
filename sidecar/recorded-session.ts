/**
 * The data phase of one connection: what the recording says of the session besides its traffic (its opening, its gaps, the policy it is
 * judged by, its end), and what becomes of both sides when one of them, the recording or steno itself ends it.
 *
 * Knows nothing of start-up, of the spool's files or of other connections; the bytes that cross are `recorded-traffic.ts`.
 */
import type net from 'node:net'
import { BadFrame } from '../postgres/frame-header.ts'
import { encodeErrorResponse } from '../postgres/startup-messages.ts'
import type { Gap, PolicyChange, SessionClose, SessionIdentity } from '../session/identity.ts'
import { encodeRecord, recordHeaderBytes, recordType, type SessionRecord } from '../session/records.ts'
import type { HeldStatements } from './held-statements.ts'
import type { Meter } from './meter.ts'
import { openPeer, type Peer } from './peer.ts'
import { createRecordedTraffic } from './recorded-traffic.ts'
import { refuseUnrecorded } from './refuse-unrecorded.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'
import type { Channel, Turns } from './turn.ts'
import { reasonOf, withheldError } from './withheld/withheld-error.ts'
import type { Withholding, WithheldSession } from './withheld/withholding.ts'

export type RecordedSession = {
  readonly identity: SessionIdentity
  /** The record that opens the session; a spool file that is begun while the session lives repeats it. */
  readonly openRecord: Buffer
  hold(held: boolean): void
  /** Notes in the recording that statements are judged by another policy from here on; says nothing when it is the one before. */
  judgeBy(change: Pick<PolicyChange, 'policy' | 'generation'>): void
  /** Ends the session from steno's side with an error that the agent sees when the protocol is between two messages. */
  end(reason: SessionClose['reason'], error: { readonly code: string; readonly message: string; readonly hint: string }): void
  /** Cuts off what `end` left open because a peer does not take what it was sent. */
  cut(): void
  /** True when no statement is under way and no transaction is open. */
  readonly isIdle: boolean
  /** How many statements the agent has begun; see `FrontendScanner.statements`. */
  readonly statements: number
}

export type RecordedSessionOptions = {
  readonly identity: SessionIdentity
  /** The session's number in the spool, from 1. */
  readonly number: number
  readonly turns: Turns
  readonly heldStatements: HeldStatements
  /** Null where results go on as soon as the spool has them. */
  readonly withholding: Withholding | null
  readonly meter: Meter
  readonly agent: { readonly socket: net.Socket; readonly leftover: Buffer }
  readonly upstream: { readonly socket: net.Socket; readonly leftover: Buffer }
  /** What the agent is sent once the session's opening is in the spool: the end of its start-up, never recorded. */
  readonly greeting: Buffer
  /** Told before anything is gathered, so that a spool which begins a file meanwhile knows the session. */
  readonly onOpen: (session: RecordedSession) => void
  readonly onClosed: (close: SessionClose) => void
}

export function startRecordedSession(options: RecordedSessionOptions): void {
  // Nothing that outlives this call may hold `options`: its greeting and leftovers would stay for as long as the session.
  const { identity, number, turns, heldStatements, withholding, meter, onClosed } = options
  /** False while the record that opens the session could not be written. */
  let opened = true
  /** True until that record is in the spool, or was given up. */
  let isOpening = true
  let judgedBy = identity.policy
  /** A change that has no record yet: behind the opening, or the gap, that it came in. */
  let unsaid: PolicyChange | null = null
  let reason: SessionClose['reason'] | null = null
  let detail: string | undefined
  /** True once steno itself ended the session: what either side still sends is neither recorded nor forwarded. */
  let stopped = false
  let closed = false

  const { peer: agentSide, leftover: agentLeftover } = openPeer(options.agent.socket, fromAgent)
  const agent = withholding === null ? agentSide : withholding.gate(number, agentSide, withheldSession())
  const { peer: upstream, leftover: upstreamLeftover } = openPeer(options.upstream.socket, fromUpstream)

  const traffic = createRecordedTraffic({ identity, number, turns, heldStatements, meter, agent, upstream, refuse })

  function fromAgent(bytes: Buffer): void {
    if (stopped) return
    if (traffic.gap !== null) endGap()
    try {
      traffic.fromAgent(bytes)
    } catch (error) {
      endForBadFrame(error, null)
    }
    turns.readEnded()
  }
  function fromUpstream(bytes: Buffer): void {
    if (stopped) return
    if (traffic.gap !== null) endGap()
    try {
      traffic.fromUpstream(bytes)
    } catch (error) {
      endForBadFrame(error, 'The server does not speak the PostgreSQL protocol as steno knows it.')
    }
    turns.readEnded()
  }
  /** `hint`: null where the error's own remedy is for whom it is told. */
  function endForBadFrame(error: unknown, hint: string | null): void {
    if (!(error instanceof BadFrame)) throw error
    detail = error.message
    end('protocol-error', { code: '08P01', message: `steno: ${error.message}`, hint: hint ?? error.remedy })
  }

  const openRecord = encodeRecord({
    type: recordType.sessionOpen,
    flags: 0,
    session: number,
    time: identity.opened,
    payload: Buffer.from(JSON.stringify(identity)),
  })
  const openPayload = openRecord.subarray(recordHeaderBytes)

  /** Recording goes on only where both sides are between two frames, so that a reader can cut the bytes behind the gap. */
  function endGap(): void {
    if (traffic.gap === null || !traffic.atBoundary) return
    const ended: Gap = { ...traffic.gap, to: Date.now() }
    const gapRecord = encodeRecord({
      type: recordType.gap,
      flags: 0,
      session: number,
      time: ended.to,
      payload: Buffer.from(JSON.stringify(ended)),
    })
    const change = unsaid === null ? nothing : encodeRecord(policyRecord(unsaid))
    if (!turns.recordNow(Buffer.concat([opened ? nothing : openRecord, gapRecord, change]))) return
    opened = true
    unsaid = null
    traffic.closeGap()
  }

  function policyRecord(change: PolicyChange): SessionRecord {
    const { policyChange: type } = recordType
    return { type, flags: 0, session: number, time: change.changed, payload: Buffer.from(JSON.stringify(change)) }
  }

  function judgeBy({ policy, generation }: Pick<PolicyChange, 'policy' | 'generation'>): void {
    if (closed || (policy.hash === judgedBy?.hash && policy.name === judgedBy.name)) return
    unsaid = { changed: Date.now(), before: unsaid === null ? judgedBy : unsaid.before, policy, generation }
    judgedBy = policy
    sayPolicy()
  }

  function sayPolicy(): void {
    if (unsaid === null || isOpening || traffic.gap !== null || closed) return
    const { payload } = policyRecord(unsaid)
    unsaid = null
    turns.gatherNote(number, recordType.policyChange, payload, null)
    turns.readEnded()
  }

  function refuse(frontendBytes: Buffer | null, refusal: SpoolRefusal): void {
    if (stopped) return
    meter.refused(identity.session, refusal)
    const { answersOwed, framesOpen } = traffic
    const isBetween = traffic.atBoundary && traffic.isOutsideTransaction
    const answer = refuseUnrecorded({ batch: isBetween ? frontendBytes : null, answersOwed, framesOpen, refusal })
    if (answer.kind === 'answered') {
      traffic.forgive(answer.answers)
      agent.pass(answer.bytes)
      return
    }
    detail = refusal.message
    reason = 'recording-failed'
    stopped = true
    // Behind a result that was cut off no message can stand; the closed connection has to say it.
    if (frontendBytes !== null && traffic.upstreamAtBoundary) agent.pass(answer.bytes)
    finishBoth()
  }

  /** What recording level `stored` asks of a session. */
  function withheldSession(): WithheldSession {
    return {
      onRefused(because, { bytes, refuse: refuseWithheld }) {
        detail = `${bytes} bytes of the database were recorded and withheld from the agent: ${reasonOf(because)}`
        reason = 'recording-failed'
        stopped = true
        refuseWithheld(encodeErrorResponse(withheldError(because)))
        turns.afterGathered(finishBoth)
      },
      onDeliveredUnstored(what) {
        if (closed) return
        turns.gatherNote(number, recordType.deliveredUnstored, Buffer.from(JSON.stringify(what)), null)
        turns.readEnded()
      },
    }
  }

  function end(why: SessionClose['reason'], error: { readonly code: string; readonly message: string; readonly hint: string }): void {
    turns.commit()
    if (stopped) return // The commit itself may have ended the session.
    reason ??= traffic.terminated ? 'terminated' : why
    if (reason === 'way-closed') detail ??= error.message
    stopped = true
    // An agent that has said goodbye waits for no message.
    if (!traffic.terminated && traffic.upstreamAtBoundary && !agent.closed) {
      traffic.sayToAgent(encodeErrorResponse({ severity: 'FATAL', ...error }))
      turns.commit()
    }
    turns.afterGathered(finishBoth) // While the spool refuses, what was gathered has still to go out.
  }

  function finishBoth(): void {
    finish(agent)
    finish(upstream)
  }

  function onEnd(to: Peer, gone: SessionClose['reason']): void {
    turns.commit()
    reason ??= traffic.terminated ? 'terminated' : gone
    turns.afterGathered(() => {
      if (to === agent) finish(to)
      else to.end() // The database may still be answering; it closes when it is through.
    })
  }
  function onPeerClosed(to: Peer, gone: SessionClose['reason']): void {
    reason ??= traffic.terminated ? 'terminated' : gone
    turns.commit()
    if (!to.closed) {
      turns.afterGathered(() => finish(to))
      // With nobody left to answer, the database is not waited for longer, whatever state the connection is in.
      if (to === upstream) setTimeout(() => upstream.socket.destroy(), closeMilliseconds).unref()
    } else if (agent.closed && upstream.closed) onBothClosed()
  }
  function onBothClosed(): void {
    if (closed) return
    closed = true
    traffic.ended()
    const close: SessionClose = {
      closed: Date.now(),
      reason: reason ?? 'client-gone',
      recovered: false,
      ...(detail === undefined ? {} : { detail }),
    }
    if (traffic.gap !== null) {
      if (!opened) turns.gatherNote(number, recordType.sessionOpen, openPayload, null)
      turns.gatherNote(number, recordType.gap, Buffer.from(JSON.stringify({ ...traffic.gap, to: Date.now() } satisfies Gap)), null)
    }
    // Until then a spool file that is begun repeats the opening: what was gathered last may be the first record in it.
    turns.gatherNote(number, recordType.sessionClose, Buffer.from(JSON.stringify(close)), null, () => onClosed(close))
    turns.readEnded()
  }

  for (const [from, to, gone] of [
    [agent, upstream, 'client-gone'],
    [upstream, agent, 'upstream-gone'],
  ] as const) {
    from.onDrain = () => to.resume('backlog')
    from.socket.on('end', () => onEnd(to, gone))
    from.socket.on('close', () => onPeerClosed(to, gone))
    from.socket.on('error', (error) => {
      detail ??= error.message
    })
  }

  options.onOpen({
    identity,
    openRecord,
    hold(held) {
      for (const peer of [agent, upstream]) {
        if (held) peer.pause('spool')
        else peer.resume('spool')
      }
    },
    judgeBy,
    end,
    cut() {
      agent.socket.destroy()
      upstream.socket.destroy()
    },
    get isIdle() {
      return traffic.isIdle
    },
    get statements() {
      return traffic.statements
    },
  })
  const opening: Channel = {
    ...traffic.backend,
    refuse: (_bytes, refusal) => refuse(nothing, refusal),
    passedUnrecorded: (_bytes, refusal) => {
      traffic.openGap(refusal)
      opened = false
    },
  }
  turns.gatherNote(number, recordType.sessionOpen, openPayload, { channel: opening, bytes: options.greeting }, () => {
    isOpening = false
    sayPolicy()
  })
  turns.commit()
  for (const peer of [agent, upstream]) {
    if (turns.isHeld()) peer.pause('spool')
    peer.start()
  }
  const upstreamFirst = Buffer.concat([options.upstream.leftover, upstreamLeftover])
  if (upstreamFirst.length > 0) fromUpstream(upstreamFirst)
  const agentFirst = Buffer.concat([options.agent.leftover, agentLeftover])
  if (agentFirst.length > 0) fromAgent(agentFirst)
}

const nothing = Buffer.alloc(0)
const closeMilliseconds = 5_000

/** Ends the connection to a peer once it has taken what was handed over; one that then does not close its side is cut off. */
function finish(peer: Peer): void {
  const { socket } = peer
  const cutOffLater = (): void => void setTimeout(() => socket.destroy(), closeMilliseconds).unref()
  if (socket.writableFinished) cutOffLater()
  else socket.once('finish', cutOffLater)
  peer.end()
  peer.resume('backlog') // Not what is held for the spool: nothing bounds what would be gathered then.
}
