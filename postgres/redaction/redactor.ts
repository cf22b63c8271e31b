/**
 * Takes the secrets out of what is recorded of one session: what the server is sent stays as it came.
 *
 * Judged are Query, Parse and Bind from the client, and what repeats them: the server's ErrorResponse and NoticeResponse, the settings that
 * ParameterStatus tells, and NotificationResponse.
 * Whether a statement is credential-bearing is read from its text alone (`triggers.ts`), so a secret in an ordinary statement stays.
 * Out of scope: COPY data, FunctionCall arguments, rows, and the names of prepared statements, portals and parameters.
 * Memory is bounded: the names of `marked-names.ts`, the literals of `remembered-literals.ts`.
 * Never throws; a frame that contradicts itself is filled with stars where a judged one would be rewritten.
 */
import { isAscii } from 'node:buffer'
import { headerBytes } from '../frame-header.ts'
import { bindNames, redactBind } from './bind-parameters.ts'
import { createOversized } from './oversized.ts'
import { createMarkedNames } from './marked-names.ts'
import { redactText } from './redact-sql.ts'
import { createRememberedLiterals } from './remembered-literals.ts'
import { redactNotification, redactParameterStatus } from './reported-values.ts'
import { redactResponse } from './responses.ts'
import { mayCarryCredential } from './triggers.ts'
import { isSuspicious } from './trigger-scan.ts'

const bind = 0x42
const close = 0x43
const parse = 0x50
const query = 0x51
const errorResponse = 0x45
const noticeResponse = 0x4e
const notificationResponse = 0x41
const parameterStatus = 0x53
const statementTarget = 0x53

export type Redactor = ReturnType<typeof createRedactor>

/**
 * @param mayBeSkipped whether the server may leave out the frame that is given, because one before it in its batch failed: such a frame
 *   takes no mark away
 */
export function createRedactor({
  heldBytesMax = 1024 * 1024,
  mayBeSkipped = () => true,
}: { readonly heldBytesMax?: number; readonly mayBeSkipped?: () => boolean } = {}) {
  const marked = createMarkedNames()
  const remembered = createRememberedLiterals()
  let active = false
  let oversized: { take(piece: Buffer): Buffer } | undefined

  const mark = (name: string | undefined): void => {
    active = true
    marked.add(name)
  }
  const textContext = { remembered, isMarked: marked.has, mark }
  const oversizedContext = {
    hasMarkedNames: marked.mayBeExecuted,
    isMarked: marked.has,
    mark,
    remember: (text: string): void => {
      active = true
      remembered.addRest(text)
    },
  }

  function frontendQuery(frame: Buffer): Buffer {
    const { length } = frame
    const isSafe = !isSuspicious(frame, headerBytes, length)
    if (isSafe && !marked.mayBeExecuted()) return frame
    // A null byte before the end is a protocol error for the server; here it is text like any other.
    const text = frame.toString('latin1', headerBytes, length - 1)
    const redacted = redactText(text, textContext)
    if (redacted === undefined) return frame
    active = true
    return redacted === text ? frame : Buffer.concat([headOf(query, redacted.length + 1), Buffer.from(redacted, 'latin1'), zero])
  }

  /** Each Parse of the unnamed statement replaces it; a named one stays until it is closed. */
  function forgetUnnamed(frame: Buffer): void {
    if (marked.has('') && frame[headerBytes] === 0 && isTaken(frame)) marked.delete('')
  }
  /** A text that is not in its encoding, and a message with bytes too many or too few, are refused before they do anything. */
  const isTaken = (frame: Buffer): boolean => {
    if (mayBeSkipped()) return false
    if (frame[0] === close) return isAscii(frame)
    const end = parseTextEnd(frame)
    return end >= 0 && isAscii(frame.subarray(headerBytes, end))
  }

  function frontendParse(frame: Buffer): Buffer {
    if (active) forgetUnnamed(frame)
    if (!isSuspicious(frame, headerBytes, frame.length) && !marked.mayBeExecuted()) return frame
    const textEnd = parseTextEnd(frame)
    if (textEnd < 0) return mayCarryCredential(frame.toString('latin1', headerBytes)) ? starred(frame) : frame
    const nameEnd = frame.indexOf(0, headerBytes)
    const text = frame.toString('latin1', nameEnd + 1, textEnd)
    const redacted = redactText(text, textContext)
    if (redacted === undefined) return frame
    mark(frame.toString('latin1', headerBytes, nameEnd))
    if (redacted === text) return frame
    const front = frame.subarray(headerBytes, nameEnd + 1)
    const behind = frame.subarray(textEnd)
    return Buffer.concat([headOf(parse, front.length + redacted.length + behind.length), front, Buffer.from(redacted, 'latin1'), behind])
  }

  function frontendBind(frame: Buffer): Buffer {
    if (!active) return frame
    const names = bindNames(frame)
    if (names === undefined) return starred(frame)
    if (!marked.has(names.statement)) return frame
    return redactBind(frame, names.end, (value) => remembered.addText(value.toString('latin1', 0, 65_536))) ?? starred(frame)
  }

  return {
    /** True once a statement was credential-bearing: from then on Bind, Close, ErrorResponse, NoticeResponse and NotificationResponse must be shown too. */
    isActive: (): boolean => active,
    /** What to record for a whole frame: the very same Buffer when nothing in it is to be redacted, else a whole frame of its own. */
    frontend(frame: Buffer): Buffer {
      if (frame.length <= headerBytes) return frame
      if (frame.length > heldBytesMax) return createOversized(frame, oversizedContext).take(frame)
      switch (frame[0]) {
        case query:
          return frontendQuery(frame)
        case parse:
          return frontendParse(frame)
        case bind:
          return frontendBind(frame)
        case close:
          // Names are used again by some drivers; showing Close is not required, without it they only stay marked.
          if (active && frame[headerBytes] === statementTarget && isTaken(frame))
            marked.delete(frame.toString('latin1', headerBytes + 1, frame.length - 1))
          return frame
        default:
          return frame
      }
    },
    /**
     * What to record for a whole message of the server: literals redacted before are replaced where it repeats them. ParameterStatus must be
     * shown from the start, for a setting's value is judged by itself, too.
     */
    backend(frame: Buffer): Buffer {
      switch (frame[0]) {
        case parameterStatus:
          return redactParameterStatus(frame, remembered)
        case errorResponse:
        case noticeResponse:
          return active ? redactResponse(frame, remembered) : frame
        case notificationResponse:
          return active ? redactNotification(frame, remembered) : frame
        default:
          return frame
      }
    },
    /** What to record for the first bytes of a frame that is too long to hold, its header included: as many bytes as given. */
    startOversized(head: Buffer): Buffer {
      oversized = createOversized(head, oversizedContext)
      return oversized.take(head)
    },
    /** The same for each further piece of that frame, in order. */
    continueOversized(piece: Buffer): Buffer {
      return oversized === undefined ? piece : oversized.take(piece)
    },
  }
}

const zero = Buffer.alloc(1)

/** Type and length for a body of `bodyBytes`. */
function headOf(type: number, bodyBytes: number): Buffer {
  const head = Buffer.allocUnsafe(headerBytes)
  head[0] = type
  head.writeUInt32BE(bodyBytes + 4, 1)
  return head
}

/** The frame with all of its body but the last byte filled. */
function starred(frame: Buffer): Buffer {
  return Buffer.from(frame).fill(0x2a, headerBytes, frame.length - 1)
}

/** Where the text of a whole Parse ends; -1 when the message contradicts itself. */
function parseTextEnd(frame: Buffer): number {
  const nameEnd = frame.indexOf(0, headerBytes)
  const textEnd = nameEnd < 0 ? -1 : frame.indexOf(0, nameEnd + 1)
  const types = frame.length - textEnd - 1
  return textEnd < 0 || types < 2 || types !== 2 + 4 * frame.readUInt16BE(textEnd + 1) ? -1 : textEnd
}
