/**
 * The data phase of one connection: bytes from each side are walked frame by frame, gathered into the turn, and go on from there.
 *
 * Keeps what the recording of this one session needs: its number in the spool, whether a gap is open, how it ends.
 * Knows nothing of start-up, of the spool's files or of other connections.
 */
import type net from 'node:net'
import { BadFrame } from '../postgres/frame-header.ts'
import { BackendScanner, type BackendSink } from '../postgres/backend-scanner.ts'
import { FrontendScanner, type FrontendSink } from '../postgres/frontend-scanner.ts'
import { createRedactor } from '../postgres/redaction/redactor.ts'
import { encodeErrorResponse } from '../postgres/startup-messages.ts'
import type { Gap, PolicyChange, SessionClose, SessionIdentity } from '../session/identity.ts'
import { encodeRecord, recordFlag, recordHeaderBytes, recordType, type SessionRecord } from '../session/records.ts'
import type { Meter } from './meter.ts'
import { openPeer, type Peer } from './peer.ts'
import { refuseUnrecorded } from './refuse-unrecorded.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'
import type { Channel, Turns } from './turn.ts'
import { reasonOf, withheldError } from './withheld/withheld-error.ts'
import type { Withholding, WithheldSession } from './withheld/withholding.ts'

/** A statement is held whole up to this size so that it can be judged; a longer one is judged as it streams by. */
const statementBytesHeldMax = 1024 * 1024

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

type OpenGap = { from: number; frontendBytes: number; backendBytes: number; reason: string }

export function startRecordedSession(options: RecordedSessionOptions): void {
  // Nothing that outlives this call may hold `options`: its greeting and leftovers would stay for as long as the session.
  const { identity, number, turns, withholding, meter, onClosed } = options
  const redactor = createRedactor({ heldBytesMax: statementBytesHeldMax })
  const frontendScanner = new FrontendScanner({ heldBytesMax: statementBytesHeldMax })
  const backendScanner = new BackendScanner({ heldBytesMax: statementBytesHeldMax })
  const judgesBind = (): boolean => redactor.isActive()
  let gap: OpenGap | null = null
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
  /** Frames of the agent up to the last read before which nothing was under way. */
  let framesAtRest = 0
  /** A side's first record behind a gap says that it starts on a frame boundary. */
  const resynchronise = { frontend: false, backend: false }

  const { peer: agentSide, leftover: agentLeftover } = openPeer(options.agent.socket, fromAgent)
  const agent = withholding === null ? agentSide : withholding.gate(number, agentSide, withheldSession())
  const { peer: upstream, leftover: upstreamLeftover } = openPeer(options.upstream.socket, fromUpstream)

  const frontend: Channel = {
    session: number,
    type: recordType.frontend,
    from: agent,
    to: upstream,
    refuse,
    passedUnrecorded: (bytes, refusal) => {
      openGap(refusal).frontendBytes += bytes
    },
  }
  const backend: Channel = {
    session: number,
    type: recordType.backend,
    from: upstream,
    to: agent,
    refuse: (_bytes, refusal) => refuse(null, refusal),
    passedUnrecorded: (bytes, refusal) => {
      openGap(refusal).backendBytes += bytes
    },
  }

  function openGap(refusal: SpoolRefusal): OpenGap {
    gap ??= { from: Date.now(), frontendBytes: 0, backendBytes: 0, reason: refusal.message }
    meter.gapped(gap, identity.session, refusal)
    return gap
  }

  /** Records and passes on, or, while a gap is open, passes on and counts. */
  function passFrontend(bytes: Buffer): void {
    if (gap !== null) passInGap(frontend, bytes)
    else turns.gather(frontend, flagsOf('frontend'), bytes)
  }
  function passBackend(bytes: Buffer): void {
    if (gap !== null) passInGap(backend, bytes)
    else turns.gather(backend, flagsOf('backend'), bytes)
  }
  function passInGap(channel: Channel, bytes: Buffer): void {
    turns.commit() // When the gap began amid a long frame, the rest of it is still gathered and goes first.
    if (channel === frontend) gap!.frontendBytes += bytes.length
    else gap!.backendBytes += bytes.length
    if (!channel.to.pass(Buffer.from(bytes))) channel.from.pause('backlog')
  }
  function flagsOf(side: 'frontend' | 'backend'): number {
    if (!resynchronise[side]) return 0
    resynchronise[side] = false
    return recordFlag.resynchronised
  }

  const frontendSink: FrontendSink = {
    pass: passFrontend,
    judged(frame) {
      const recorded = redactor.frontend(frame)
      if (recorded === frame || gap !== null) passFrontend(frame)
      else turns.gatherAltered(frontend, flagsOf('frontend') | recordFlag.redacted, recorded, Buffer.from(frame))
    },
    oversizedHead(head) {
      passAltered(head, redactor.startOversized(head))
    },
    oversizedPiece(piece) {
      passAltered(piece, redactor.continueOversized(piece))
    },
  }
  function passAltered(original: Buffer, recorded: Buffer): void {
    if (recorded === original || gap !== null) passFrontend(original)
    else turns.gatherAltered(frontend, flagsOf('frontend') | recordFlag.redacted, recorded, Buffer.from(original))
  }
  const backendSink: BackendSink = {
    pass: passBackend,
    message(frame) {
      const recorded = redactor.backend(frame)
      if (recorded === frame || gap !== null) passBackend(frame)
      else turns.gatherAltered(backend, flagsOf('backend') | recordFlag.redacted, recorded, frame)
    },
  }

  function fromAgent(bytes: Buffer): void {
    if (stopped) return
    if (gap !== null) endGap()
    if (frontendScanner.endsBatch && frontendScanner.expectedReady <= backendScanner.readyCount) framesAtRest = frontendScanner.frames
    try {
      frontendScanner.push(bytes, frontendSink, judgesBind)
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error
      detail = error.message
      end('protocol-error', { code: '08P01', message: `steno: ${error.message}`, hint: error.remedy })
    }
    turns.readEnded()
  }
  function fromUpstream(bytes: Buffer): void {
    if (stopped) return
    if (gap !== null) endGap()
    try {
      backendScanner.push(bytes, backendSink, redactor.isActive())
    } catch (error) {
      if (!(error instanceof BadFrame)) throw error
      detail = error.message
      end('protocol-error', {
        code: '08P01',
        message: `steno: ${error.message}`,
        hint: 'The server does not speak the PostgreSQL protocol as steno knows it.',
      })
    }
    turns.readEnded()
  }

  /** Recording goes on only where both sides are between two frames, so that a reader can cut the bytes behind the gap. */
  const openRecord = encodeRecord({
    type: recordType.sessionOpen,
    flags: 0,
    session: number,
    time: identity.opened,
    payload: Buffer.from(JSON.stringify(identity)),
  })
  const openPayload = openRecord.subarray(recordHeaderBytes)

  function endGap(): void {
    if (gap === null || !frontendScanner.atBoundary || !backendScanner.atBoundary) return
    const ended: Gap = { ...gap, to: Date.now() }
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
    gap = null
    unsaid = null
    resynchronise.frontend = true
    resynchronise.backend = true
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
    if (unsaid === null || isOpening || gap !== null || closed) return
    const { payload } = policyRecord(unsaid)
    unsaid = null
    turns.gatherNote(number, recordType.policyChange, payload, null)
    turns.readEnded()
  }

  function refuse(frontendBytes: Buffer | null, refusal: SpoolRefusal): void {
    if (stopped) return
    meter.refused(identity.session, refusal)
    const isIdle = frontendScanner.atBoundary && backendScanner.atBoundary && backendScanner.transactionStatus === idle
    const answersOwed = frontendScanner.expectedReady - backendScanner.readyCount
    const answer = refuseUnrecorded({
      batch: isIdle ? frontendBytes : null,
      answersOwed,
      framesOpen: frontendScanner.frames - framesAtRest,
      refusal,
    })
    if (answer.kind === 'answered') {
      frontendScanner.forgive(answer.answers)
      agent.pass(answer.bytes)
      return
    }
    detail = refusal.message
    reason = 'recording-failed'
    stopped = true
    // Behind a result that was cut off no message can stand; the closed connection has to say it.
    if (frontendBytes !== null && backendScanner.atBoundary) agent.pass(answer.bytes)
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
    reason ??= frontendScanner.terminated ? 'terminated' : why
    if (reason === 'way-closed') detail ??= error.message
    stopped = true
    // An agent that has said goodbye waits for no message.
    if (!frontendScanner.terminated && backendScanner.atBoundary && !agent.closed) {
      const frame = encodeErrorResponse({ severity: 'FATAL', ...error })
      if (gap === null) turns.gather(backend, flagsOf('backend'), frame)
      else agent.pass(frame)
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
    reason ??= frontendScanner.terminated ? 'terminated' : gone
    turns.afterGathered(() => {
      if (to === agent) finish(to)
      else to.end() // The database may still be answering; it closes when it is through.
    })
  }
  function onPeerClosed(to: Peer, gone: SessionClose['reason']): void {
    reason ??= frontendScanner.terminated ? 'terminated' : gone
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
    const close: SessionClose = {
      closed: Date.now(),
      reason: reason ?? 'client-gone',
      recovered: false,
      ...(detail === undefined ? {} : { detail }),
    }
    if (gap !== null) {
      if (!opened) turns.gatherNote(number, recordType.sessionOpen, openPayload, null)
      turns.gatherNote(number, recordType.gap, Buffer.from(JSON.stringify({ ...gap, to: Date.now() } satisfies Gap)), null)
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
      return (
        frontendScanner.expectedReady <= backendScanner.readyCount &&
        backendScanner.transactionStatus === idle &&
        frontendScanner.atBoundary
      )
    },
    get statements() {
      return frontendScanner.statements
    },
  })
  const opening: Channel = {
    ...backend,
    refuse: (_bytes, refusal) => refuse(nothing, refusal),
    passedUnrecorded: (_bytes, refusal) => {
      openGap(refusal)
      opened = false
    },
  }
  turns.gatherNote(number, recordType.sessionOpen, openPayload, { channel: opening, bytes: options.greeting }, () => {
    isOpening = false
    sayPolicy()
  })
  turns.commit()
  for (const peer of [agent, upstream]) {
    if (turns.isHeld) peer.pause('spool')
    peer.start()
  }
  const upstreamFirst = Buffer.concat([options.upstream.leftover, upstreamLeftover])
  if (upstreamFirst.length > 0) fromUpstream(upstreamFirst)
  const agentFirst = Buffer.concat([options.agent.leftover, agentLeftover])
  if (agentFirst.length > 0) fromAgent(agentFirst)
}

const idle = 'I'.charCodeAt(0)
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
