/**
 * One turn of the event loop: what was read from all connections is gathered, written to the spool once, and only then sent on.
 *
 * This is where "nothing unrecorded" is kept: `forward` of a peer is called in one place, behind a write that succeeded
 * (or behind the operator's own `continue`). Bounded: a full buffer is committed at once; while the spool refuses, every
 * connection is paused and only what was already on its way can still arrive.
 */
import { performance } from 'node:perf_hooks' // The global of that name is looked up anew each time.
import { leftOutBytes, writeLeftOut } from '../session/left-out.ts'
import { recordFlag, recordHeaderBytes, recordType, writeRecordHeader, type RecordType } from '../session/records.ts'
import type { Peer } from './peer.ts'
import type { SpoolRefusal, SpoolWriter } from './spool/spool-writer.ts'
import { createTurnBuffers, turnBufferBytes, viewOf, type TurnBuffer } from './turn-buffers.ts'

/** Pieces that make up a record's payload are cut at this size, so that several fit one turn. */
const pieceBytesMax = 64 * 1024

/** One direction of one connection. */
export type Channel = {
  readonly session: number
  readonly type: RecordType
  readonly from: Peer
  readonly to: Peer
  /** Called when the spool stayed unwritable: these bytes were neither recorded nor forwarded. */
  readonly refuse: (bytes: Buffer, refusal: SpoolRefusal) => void
  /** Called when the bytes passed unrecorded because the operator chose `continue`. */
  readonly passedUnrecorded: (bytes: number, refusal: SpoolRefusal) => void
}

/** What a commit does with bytes once they are in the spool. */
type Span = { readonly channel: Channel; readonly start: number; end: number; readonly original: Uint8Array | null }

type Turn = {
  readonly buffer: TurnBuffer
  length: number
  /** What goes on and is in no record; null while there is none. It never reaches the spool. */
  aside: TurnBuffer | null
  asideLength: number
  spans: Span[]
  /** Records that must reach the spool even when nothing else does: they end sessions or state gaps. */
  vital: Buffer[]
  /** Who waits to hear that a note is in the spool, or that it could not be brought there. */
  told: (() => void)[]
}

export type Turns = ReturnType<typeof createTurns>

export type RecordingState = { readonly kind: 'recording' } | { readonly kind: 'waiting' | 'failing'; readonly refusal: SpoolRefusal }

export type TurnOptions = {
  readonly spool: SpoolWriter
  readonly onRecordFailure: 'block' | 'continue'
  /** How long traffic waits for a spool that refuses before it fails (or, with `continue`, passes unrecorded). */
  readonly recordWaitMilliseconds: number
  /** Pauses or resumes the reading of every connection. */
  readonly holdAll: (held: boolean) => void
  /** True when one connection is open: then a turn cannot gather anything and is committed at once. */
  readonly isAlone: () => boolean
  /** Tells that recording stopped or works again, once for each change. A wait that is over within a second is back-pressure and not told. */
  readonly onStateChange: (state: RecordingState) => void
}

const retryMilliseconds = 50
const promptBytesMax = 8 * 1024
const announcedAfterMilliseconds = 1_000

export function createTurns(options: TurnOptions) {
  const { spool, isAlone } = options
  const buffers = createTurnBuffers()
  const emptyTurn = (aside: TurnBuffer | null = null): Turn => ({
    buffer: buffers.take(),
    length: 0,
    aside,
    asideLength: 0,
    spans: [],
    vital: [],
    told: [],
  })
  let turn = emptyTurn()
  /** The record at the end of the turn that can still grow, so that adjacent bytes of a channel become one. */
  let open: { readonly channel: Channel; readonly flags: number; readonly at: number } | null = null
  /** The same for a record of what is left out: it stands for more while nothing else is gathered. */
  let leaving: { readonly channel: Channel; readonly type: number; readonly at: number; messages: number; bytes: number } | null = null
  /** Full turns that wait behind a refused one. */
  let waiting: Turn[] = []
  let scheduled = false
  /** Counted in retries: a clock that is set must not end the wait nor make it longer. */
  let stall: { waitedMilliseconds: number; refusal: SpoolRefusal } | null = null
  /** Set once a stall outlasted its time: from then on a refusal is not waited for again. */
  let failing: SpoolRefusal | null = null
  let retryTimer: NodeJS.Timeout | null = null
  let announced = false

  function endOpenRecord(): void {
    if (open === null) {
      endLeaving()
      return
    }
    const { channel, flags, at } = open
    open = null
    const payloadBytes = turn.length - at - recordHeaderBytes
    if (at === 0) setByWall()
    writeRecordHeader(turn.buffer.bytes, at, { type: channel.type, flags, session: channel.session, time: now(), payloadBytes })
  }

  function endLeaving(): void {
    if (leaving === null) return
    const { channel, at } = leaving
    if (at === 0) setByWall()
    writeLeftOut(turn.buffer.bytes, at + recordHeaderBytes, leaving)
    leaving = null
    const header = { type: recordType.leftOut, flags: 0, session: channel.session, time: now(), payloadBytes: leftOutBytes }
    writeRecordHeader(turn.buffer.bytes, at, header)
  }

  function leaveOut(channel: Channel, type: number, messages: number, bytes: Buffer): void {
    if (turn.asideLength + bytes.length > turnBufferBytes) nextTurn()
    if (leaving === null || leaving.channel !== channel || leaving.type !== type) {
      room(leftOutBytes)
      leaving = { channel, type, at: turn.length, messages: 0, bytes: 0 }
      turn.length += recordHeaderBytes + leftOutBytes
    }
    leaving.messages += messages
    leaving.bytes += bytes.length
    turn.aside ??= buffers.take()
    turn.aside.bytes.set(bytes, turn.asideLength)
    const end = turn.asideLength + bytes.length
    turn.spans.push({ channel, start: 0, end: 0, original: viewOf(turn.aside, turn.asideLength, end) })
    turn.asideLength = end
  }

  /** Makes room for a record of its own with a payload of `bytes`. */
  function room(bytes: number): void {
    endOpenRecord()
    if (turn.length + recordHeaderBytes + bytes > turnBufferBytes) nextTurn()
  }

  function nextTurn(): void {
    commit()
    if (turn.length === 0) return
    waiting.push(turn)
    turn = emptyTurn()
  }

  function record(session: number, type: RecordType, flags: number, payload: Buffer): void {
    if (turn.length === 0) setByWall()
    turn.buffer.bytes.set(payload, turn.length + recordHeaderBytes)
    turn.length = writeRecordHeader(turn.buffer.bytes, turn.length, { type, flags, session, time: now(), payloadBytes: payload.length })
  }

  function send(sent: Turn): void {
    for (const span of sent.spans) {
      const { to, from } = span.channel
      const bytes = span.original ?? viewOf(sent.buffer, span.start, span.end)
      if (!to.forward(bytes)) from.pause('backlog') // A peer that does not drain slows the one that fills it.
      const lender = span.original === null ? sent.buffer : sent.aside
      if (lender === null) continue
      const mark = to.mark()
      if (mark !== null) lender.pins.push({ peer: to, mark })
    }
  }

  /** True when everything gathered so far is in the spool and on its way. */
  function commitAll(): boolean {
    while (waiting.length > 0) {
      if (!commitOne(waiting[0]!)) return false
      const { buffer, aside } = waiting.shift()!
      buffers.give(buffer)
      if (aside !== null) buffers.give(aside)
    }
    if (turn.length === 0) return true
    if (!commitOne(turn)) return false
    if (turn.aside !== null) endAside()
    if (turn.buffer.pins.length === 0) {
      turn.length = 0
      turn.spans = []
      turn.vital = []
      turn.told = []
    } else {
      buffers.give(turn.buffer)
      turn = emptyTurn(turn.aside)
    }
    return true
  }

  function endAside(): void {
    turn.asideLength = 0
    if (turn.aside!.pins.length === 0) return
    buffers.give(turn.aside!)
    turn.aside = null
  }

  function commitOne(candidate: Turn): boolean {
    const refusal = spool.append(candidate.buffer.bytes.subarray(0, candidate.length))
    if (refusal === null) {
      send(candidate)
      if (candidate.told.length > 0) for (const tell of candidate.told.splice(0)) tell()
      return true
    }
    if (stall === null) stall = { waitedMilliseconds: 0, refusal }
    stall.refusal = refusal
    return false
  }

  function commit(): void {
    scheduled = false
    endOpenRecord()
    if (retryTimer !== null) return // The retry commits; sooner would only ask the full disk again.
    const isEmpty = turn.length === 0 && waiting.length === 0
    if (commitAll()) {
      if (!isEmpty) works() // Without a write nothing is known.
      return
    }
    if (failing !== null) {
      fail(stall!.refusal)
      return
    }
    options.holdAll(true)
    retryTimer = setTimeout(retry, retryMilliseconds)
  }

  function announce(state: RecordingState): void {
    announced = state.kind !== 'recording'
    options.onStateChange(state)
  }

  function works(): void {
    if (stall === null && failing === null) return
    stall = null
    failing = null
    if (announced) announce({ kind: 'recording' })
  }

  function retry(): void {
    retryTimer = null
    endOpenRecord()
    if (commitAll()) {
      works()
      options.holdAll(false)
      return
    }
    const waited = (stall!.waitedMilliseconds += retryMilliseconds)
    if (!announced && waited >= announcedAfterMilliseconds) announce({ kind: 'waiting', refusal: stall!.refusal })
    if (waited < options.recordWaitMilliseconds) {
      retryTimer = setTimeout(retry, retryMilliseconds)
      return
    }
    failing = stall!.refusal
    announce({ kind: 'failing', refusal: failing })
    fail(failing)
    options.holdAll(false)
  }

  /** The wait is over: nothing of the waiting turns was recorded, and what happens to it is the operator's choice. */
  function fail(refusal: SpoolRefusal): void {
    stall = null
    spool.cutTorn()
    const failed = turn.length > 0 ? [...waiting, turn] : waiting
    waiting = []
    turn = emptyTurn()
    const vital = Buffer.concat(failed.flatMap((each) => each.vital))
    if (vital.length > 0) spool.appendFromReserve(vital) // When even the reserve fails, the next start closes these sessions.
    for (const { spans, buffer } of failed) {
      for (const { channel, start, end, original } of spans) {
        const bytes = original ?? viewOf(buffer, start, end)
        if (options.onRecordFailure === 'continue') {
          channel.passedUnrecorded(bytes.length, refusal)
          if (!channel.to.pass(Buffer.from(bytes))) channel.from.pause('backlog')
        } else {
          channel.refuse(Buffer.from(bytes), refusal)
        }
      }
    }
    for (const { buffer, aside, told } of failed) {
      buffers.give(buffer)
      if (aside !== null) buffers.give(aside)
      for (const tell of told) tell()
    }
  }

  return {
    /** Bytes to be recorded and then forwarded as they are. */
    gather(channel: Channel, flags: number, bytes: Buffer): void {
      if (open !== null && open.channel === channel && open.flags === flags && turn.length + bytes.length <= turnBufferBytes) {
        turn.buffer.bytes.set(bytes, turn.length)
        turn.length += bytes.length
        turn.spans.at(-1)!.end = turn.length
        return
      }
      for (let at = 0; at < bytes.length; at += pieceBytesMax) {
        const piece = bytes.length <= pieceBytesMax ? bytes : bytes.subarray(at, at + pieceBytesMax)
        room(piece.length)
        open = { channel, flags: at === 0 ? flags : flags & ~recordFlag.resynchronised, at: turn.length }
        const start = turn.length + recordHeaderBytes
        turn.buffer.bytes.set(piece, start)
        turn.length = start + piece.length
        turn.spans.push({ channel, start, end: turn.length, original: null })
      }
    },
    /**
     * Bytes to be forwarded of which only the size is recorded, and how many messages of this type ended in them. The record of them is
     * in the spool before they go on.
     */
    gatherLeftOut(channel: Channel, type: number, messages: number, bytes: Buffer): void {
      for (let at = 0; at < bytes.length; at += pieceBytesMax) {
        const isLast = at + pieceBytesMax >= bytes.length
        leaveOut(channel, type, isLast ? messages : 0, bytes.subarray(at, at + pieceBytesMax))
      }
    },
    /** Bytes of which a different form is recorded: `original` is forwarded, and must not change until then. */
    gatherAltered(channel: Channel, flags: number, recorded: Buffer, original: Buffer): void {
      for (let at = 0; at < recorded.length; at += pieceBytesMax) {
        const piece = recorded.subarray(at, at + pieceBytesMax)
        room(piece.length)
        record(channel.session, channel.type, at === 0 ? flags : flags & ~recordFlag.resynchronised, piece)
      }
      turn.spans.push({ channel, start: 0, end: 0, original })
    },
    /**
     * A record of steno's own that must not be lost for want of room. With `then`, bytes that go out once it is in the spool;
     * `tell` is called when it is there, or when there was no bringing it there.
     */
    gatherNote(
      session: number,
      type: RecordType,
      payload: Buffer,
      then: { readonly channel: Channel; readonly bytes: Buffer } | null,
      tell?: () => void,
    ): void {
      room(payload.length)
      const at = turn.length
      record(session, type, 0, payload)
      if (then === null) turn.vital.push(Buffer.from(turn.buffer.bytes.subarray(at, turn.length)))
      else turn.spans.push({ channel: then.channel, start: 0, end: 0, original: then.bytes })
      if (tell !== undefined) turn.told.push(tell)
    },
    /** Calls `then` once everything that was gathered has gone on or was given up; at once when nothing waits. */
    afterGathered(then: () => void): void {
      const last = turn.length > 0 ? turn : waiting.at(-1)
      if (last === undefined) then()
      else last.told.push(then)
    },
    /** Writes whole records past the turn, for a session whose gap ends; false while the spool still refuses. */
    recordNow(records: Buffer): boolean {
      commit()
      if (retryTimer !== null || turn.length > 0) return false
      if (spool.append(records) !== null) return false
      works()
      return true
    },
    /** Called at the end of each read: commits now or at the end of this turn of the event loop. */
    readEnded(): void {
      if (scheduled || (turn.length === 0 && waiting.length === 0)) return
      // Of a large result more is on its way: several reads share one write.
      if (turn.length + turn.asideLength < promptBytesMax && isAlone()) {
        commit()
        return
      }
      scheduled = true
      setImmediate(commit)
    },
    /** Writes at once what was gathered; for the end of a connection and of the process. */
    commit,
    /** Why recording fails at present, or null while it works or is still waited for. */
    failing(): SpoolRefusal | null {
      return failing
    },
    isHeld(): boolean {
      return retryTimer !== null
    },
  }
}

/** What the monotonic clock counts from, in milliseconds since the epoch. */
let origin = performance.timeOrigin
const driftMillisecondsMax = 100

/** Milliseconds since the epoch with fractions. */
function now(): number {
  return origin + performance.now()
}

/**
 * Once a turn. The monotonic clock alone knows nothing of a clock that was set, and stands still while the machine sleeps: records
 * of the next day would be dated the evening before, and the spool would pass for too old.
 */
function setByWall(): void {
  const difference = Date.now() - now()
  if (Math.abs(difference) > driftMillisecondsMax) origin += difference
}
