/**
 * Turns what both sides of a session said into numbered statements: Parse, Bind, Describe, Execute, rows and completion are one
 * statement, each statement of a simple query is one, COPY is one with its data.
 *
 * Starts behind the first ReadyForQuery of a session. A statement gets its number with its first answer, or when it is known that
 * none will come, so numbers follow the order of execution without holes. Memory is bounded: texts and values are cut at the
 * stated limits, names and in-flight requests at those of `statements/names.ts` and `statements/requests.ts`, all of them further while `memory`
 * is scarce.
 *
 * Decisions where the protocol leaves some:
 * - An Execute of a portal that ended is a statement of its own, because the server answers it with a tag again.
 * - A prepared statement's Parse counts as the first message of its first execution when no Sync lies between them.
 * - A portal fetched in part ends as `suspended` when it is closed, bound anew, or its transaction ends as ReadyForQuery says.
 * - While a gap's answers may still come, an answer that fits a request sent behind the gap is taken for that one's.
 */
import { createFrameAssembler } from './frame-assembler.ts'
import { headerBytes } from './frame-header.ts'
import { createBindReader, type BindReader } from './messages/bind-reader.ts'
import type { Place } from './statement.ts'
import { answer, applySetting, countCopyData, countRow, leaveOut } from './statements/answers.ts'
import { createConversation, type Conversation, type Handlers } from './statements/conversation.ts'
import { ampleMemory, entryWeight, scarceParametersMax, type TrackerMemory } from './statements/memory.ts'
import { copyFromClient } from './statements/copy.ts'
import type { Origin } from './statements/entries.ts'
import { endInFlight, loseTrack, request, requestBind } from './statements/requests.ts'

export type StatementTrackerOptions = Handlers & {
  /** ParameterStatus values of the start-up; `client_encoding` and `standard_conforming_strings` matter. Default UTF8 and on. */
  readonly serverParameters?: Readonly<Record<string, string>>
  /** Statement texts are cut here, in UTF-16 units. Default 65,536. */
  readonly sqlCharactersMax?: number
  /** Parameter values are cut here. Default 1,024. */
  readonly parameterBytesMax?: number
  /** Further parameters are left out. Default 1,024. */
  readonly parametersMax?: number
  /** Further notices are not kept with their statement. Default 100. */
  readonly noticesMax?: number
  /** Shared by trackers that hold what they hold together. Default: never scarce. */
  readonly memory?: TrackerMemory
}

export type StatementTracker = {
  /** A piece of what the client said. @throws BadFrame when it cannot be framed */
  frontend(bytes: Buffer, time: number, place: Place, redacted: boolean): void
  /** A piece of what the server said. @throws BadFrame when it cannot be framed */
  backend(bytes: Buffer, time: number, place: Place): void
  /**
   * In the place of result content that the recording does not hold: `messages` of this type ended, in so many bytes with their heads.
   * `onRow` and `onCopyData` are not told of them.
   */
  leftOut(what: { readonly type: number; readonly messages: number; readonly bytes: number }, time: number, place: Place): void
  /** Traffic passed that is not here: both framings start anew, what was in flight ends as `unfinished`. */
  gap(time: number, place: Place): void
  /** About what it holds of texts, values and requests, in characters and bytes. */
  readonly weight: number
  /** The session is over: what was in flight ends as `unfinished`, what was fetched in part as `suspended`. */
  close(time: number, place: Place): void
}

const nothing = Buffer.alloc(0)
const copyData = 0x64
const dataRow = 0x44
const bind = 0x42

/** Flags by message type, shared by all trackers: there is one for each session that is open. */
function flagsFor(...types: readonly number[]): Uint8Array {
  const flags = new Uint8Array(256)
  for (const type of types) flags[type] = 1
  return flags
}
const noTypes = flagsFor()
const onlyBind = flagsFor(bind)
const onlyRows = flagsFor(dataRow)
const onlyCopyData = flagsFor(copyData)
const rowsAndCopyData = flagsFor(dataRow, copyData)

export function createStatementTracker(options: StatementTrackerOptions): StatementTracker {
  const { sqlCharactersMax = 65_536, parameterBytesMax = 1024, parametersMax = 1024, noticesMax = 100, memory = ampleMemory } = options
  const limits = { sqlCharactersMax, parameterBytesMax, parametersMax, noticesMax }
  const conversation = createConversation(options, limits, { encoding: 'utf8', standardConformingStrings: true }, memory)
  for (const [name, value] of Object.entries(options.serverParameters ?? {})) applySetting(conversation, name, value)

  const frontendSizeOnly = options.onCopyData === undefined ? onlyCopyData : noTypes
  const backendSizeOnly =
    options.onRow === undefined
      ? options.onCopyData === undefined
        ? rowsAndCopyData
        : onlyRows
      : options.onCopyData === undefined
        ? onlyCopyData
        : noTypes

  const bindLimits = {
    parameterBytesMax,
    get parametersMax() {
      return memory.isScarce ? Math.min(parametersMax, scarceParametersMax) : parametersMax
    },
  }
  /** Reads a Bind that is too long to be held. */
  let bindReader: BindReader | null = null
  /** Of the piece being read. */
  let redactedNow = false
  /** Where the frame that is being read began; shared by frames that began in the same piece. */
  let origin: Origin = { time: 0, place: 0, redacted: false, segment: 0 }

  function frameOrigin(): Origin {
    const { segment } = conversation
    if (origin.segment !== segment) origin = { ...origin, segment }
    return origin
  }

  /** The next frame begins in the present piece. */
  function nextOrigin(): void {
    const { time, place, segment } = conversation
    if (origin.place !== place || origin.time !== time || origin.redacted !== redactedNow)
      origin = { time, place, redacted: redactedNow, segment }
  }

  const frontend = createFrameAssembler(
    'frontend',
    {
      onFrame(type, bytes, start, end, wholeBytes) {
        if (bindReader !== null) requestBind(conversation, bindReader.finish(), frameOrigin())
        else request(conversation, type, { bytes, start, end, wholeBytes: wholeBytes - headerBytes }, frameOrigin())
        bindReader = null
        nextOrigin()
      },
      onPart(_type, bytes, start, end) {
        bindReader ??= createBindReader(conversation.settings.encoding, bindLimits)
        bindReader.push(bytes, start, end)
      },
      onSize(_type, wholeBytes) {
        copyFromClient(conversation, nothing, wholeBytes - headerBytes)
        nextOrigin()
      },
    },
    { sizeOnly: frontendSizeOnly, inParts: onlyBind, memory },
  )
  const backend = createFrameAssembler(
    'backend',
    {
      onFrame: (type, bytes, start, end, wholeBytes) => answer(conversation, type, bytes, start, end, wholeBytes),
      onSize(type, wholeBytes) {
        if (type === dataRow) countRow(conversation, wholeBytes)
        else countCopyData(conversation, nothing, wholeBytes - headerBytes, wholeBytes)
      },
    },
    { sizeOnly: backendSizeOnly, memory },
  )

  function moveTo(time: number, place: Place): void {
    conversation.time = time
    conversation.place = place
  }

  return {
    frontend(bytes, time, place, redacted) {
      moveTo(time, place)
      redactedNow = redacted
      if (!frontend.midFrame) nextOrigin()
      else if (redacted && !origin.redacted) origin = { ...origin, redacted }
      frontend.push(bytes)
    },
    backend(bytes, time, place) {
      moveTo(time, place)
      backend.push(bytes)
    },
    leftOut({ type, messages, bytes }, time, place) {
      moveTo(time, place)
      leaveOut(conversation, type, messages, bytes)
    },
    gap(time, place) {
      moveTo(time, place)
      conversation.functionBytesLeftOut = 0
      loseTrack(conversation)
      // In the gap the answers may have passed as well as not.
      conversation.untrackedReadies = 0
      frontend.reset()
      bindReader = null
      backend.reset()
    },
    get weight() {
      const { names, queue, skipping } = conversation
      const framed = frontend.heldBytes + backend.heldBytes + (bindReader?.weight ?? 0)
      const named = names.weight + (skipping?.preview.weight ?? 0)
      return queue.weight + queue.length * entryWeight + named + framed + noticesWeight(conversation)
    },
    close(time, place) {
      moveTo(time, place)
      endInFlight(conversation)
      conversation.names.end()
    },
  }
}

/** Of the statement that runs. */
function noticesWeight({ current, notices }: Conversation): number {
  let weight = 0
  for (const { message, detail = '', hint = '', where = '' } of current?.notices ?? notices)
    weight += entryWeight + message.length + detail.length + hint.length + where.length
  return weight
}
