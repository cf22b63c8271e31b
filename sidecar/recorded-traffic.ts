/**
 * What both sides of one session say once it is open: bytes are walked frame by frame, redacted or left out of the record where they must be,
 * gathered into the turn, and go on from there. While a gap is open they are counted and passed on instead.
 *
 * Holds at most one unfinished frame of each side, up to `statementBytesHeldMax` and what all connections may hold together, and knows where in the protocol the sides are.
 * Knows nothing of how the session opens, is refused or ends, nor of what is written about a gap once it is over.
 */
import { BackendScanner, type BackendSink } from '../postgres/backend-scanner.ts'
import { FrontendScanner, type FrontendSink } from '../postgres/frontend-scanner.ts'
import { ResultContentSplitter } from '../postgres/result-content.ts'
import { createRedactor } from '../postgres/redaction/redactor.ts'
import type { SessionIdentity } from '../session/identity.ts'
import { recordFlag, recordType } from '../session/records.ts'
import type { HeldStatements } from './held-statements.ts'
import type { Meter } from './meter.ts'
import type { Peer } from './peer.ts'
import type { SpoolRefusal } from './spool/spool-writer.ts'
import type { Channel, Turns } from './turn.ts'

/** A statement is held whole up to this size so that it can be judged; a longer one is judged as it streams by. */
const statementBytesHeldMax = 1024 * 1024

/** A stretch that passes unrecorded: `from` in milliseconds since 1970, and the bytes of each side so far. */
export type OpenGap = { readonly from: number; frontendBytes: number; backendBytes: number; readonly reason: string }

export type RecordedTrafficOptions = {
  readonly identity: SessionIdentity
  /** The session's number in the spool, from 1. */
  readonly number: number
  readonly turns: Turns
  readonly heldStatements: HeldStatements
  readonly meter: Meter
  readonly agent: Peer
  readonly upstream: Peer
  /** Called for what was neither recorded nor forwarded: with the agent's bytes, or null where they are the database's. */
  readonly refuse: (frontendBytes: Buffer | null, refusal: SpoolRefusal) => void
}

export type RecordedTraffic = {
  /** The way to the agent, for what the session itself says to it. */
  readonly backend: Channel
  /** @throws {BadFrame} for what cannot be a message; what came before it is gathered */
  fromAgent(bytes: Buffer): void
  /** @throws {BadFrame} as `fromAgent` */
  fromUpstream(bytes: Buffer): void
  /** The stretch that passes unrecorded now. */
  readonly gap: OpenGap | null
  openGap(refusal: SpoolRefusal): OpenGap
  /** From here on bytes are recorded again; both sides must be at a boundary, so that a reader can cut the bytes behind the gap. */
  closeGap(): void
  /** A message of steno's own for the agent: recorded, or in a gap only sent. */
  sayToAgent(frame: Buffer): void
  /** True where both sides are between two frames. */
  readonly atBoundary: boolean
  /** True where the database is between two frames: the only places where a message of steno's own may stand. */
  readonly upstreamAtBoundary: boolean
  /** True when the last ReadyForQuery said that no transaction is open. */
  readonly isOutsideTransaction: boolean
  /** True when no statement is under way and no transaction is open. */
  readonly isIdle: boolean
  /** True once the agent has said goodbye. */
  readonly terminated: boolean
  /** How many statements the agent has begun; see `FrontendScanner.statements`. */
  readonly statements: number
  /** ReadyForQuery messages that the agent waits for. */
  readonly answersOwed: number
  /** Frames that the agent sent since a read before which nothing was under way. */
  readonly framesOpen: number
  /** Says that so many ReadyForQuery messages came from steno instead of the database. */
  forgive(answers: number): void
  /** Both sides are gone: what was held of a frame is let go of. */
  ended(): void
}

export function createRecordedTraffic(options: RecordedTrafficOptions): RecordedTraffic {
  const { identity, number, turns, heldStatements, meter, agent, upstream, refuse } = options
  const frontendScanner = new FrontendScanner({
    heldBytesMax: statementBytesHeldMax,
    allowance: heldStatements.allowance(upstream, turns.afterGathered),
  })
  const redactor = createRedactor({ heldBytesMax: statementBytesHeldMax, mayBeSkipped: () => frontendScanner.mayBeSkipped })
  const backendScanner = new BackendScanner({ heldBytesMax: statementBytesHeldMax })
  const judgesBind = (): boolean => redactor.isActive()
  let gap: OpenGap | null = null
  /** Frames of the agent up to the last read before which nothing was under way. */
  let framesAtRest = 0
  /** A side's first record behind a gap says that it starts on a frame boundary. */
  const resynchronise = { frontend: false, backend: false }

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
      passAltered(frame, redactor.frontend(frame))
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
    pass: identity.level === 'statements' ? withoutContent() : passBackend,
    message(frame) {
      const recorded = redactor.backend(frame)
      if (recorded === frame || gap !== null) passBackend(frame)
      else turns.gatherAltered(backend, flagsOf('backend') | recordFlag.redacted, recorded, frame)
    },
  }

  /** Passes everything on, and has of the content of results only the size recorded. */
  function withoutContent(): (bytes: Buffer) => void {
    const splitter = new ResultContentSplitter()
    const sink = {
      pass: passBackend,
      leaveOut(type: number, messages: number, bytes: Buffer): void {
        if (gap !== null) passInGap(backend, bytes)
        else turns.gatherLeftOut(backend, type, messages, bytes)
      },
    }
    return (bytes) => splitter.push(bytes, sink)
  }

  return {
    backend,
    fromAgent(bytes) {
      if (frontendScanner.endsBatch && frontendScanner.expectedReady <= backendScanner.readyCount) framesAtRest = frontendScanner.frames
      frontendScanner.push(bytes, frontendSink, judgesBind)
    },
    fromUpstream(bytes) {
      backendScanner.push(bytes, backendSink, redactor.isActive())
    },
    get gap() {
      return gap
    },
    openGap,
    closeGap() {
      gap = null
      resynchronise.frontend = true
      resynchronise.backend = true
    },
    sayToAgent(frame) {
      if (gap === null) turns.gather(backend, flagsOf('backend'), frame)
      else agent.pass(frame)
    },
    get atBoundary() {
      return frontendScanner.atBoundary && backendScanner.atBoundary
    },
    get upstreamAtBoundary() {
      return backendScanner.atBoundary
    },
    get isOutsideTransaction() {
      return backendScanner.transactionStatus === idle
    },
    get isIdle() {
      return (
        frontendScanner.expectedReady <= backendScanner.readyCount &&
        backendScanner.transactionStatus === idle &&
        frontendScanner.atBoundary
      )
    },
    get terminated() {
      return frontendScanner.terminated
    },
    get statements() {
      return frontendScanner.statements
    },
    get answersOwed() {
      return frontendScanner.expectedReady - backendScanner.readyCount
    },
    get framesOpen() {
      return frontendScanner.frames - framesAtRest
    },
    forgive(answers) {
      frontendScanner.forgive(answers)
    },
    ended() {
      frontendScanner.abandon()
    },
  }
}

const idle = 'I'.charCodeAt(0)
