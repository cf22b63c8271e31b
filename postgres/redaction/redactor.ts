/**
 * Takes the secrets out of what is recorded of one session: what the server is sent stays as it came.
 *
 * Judged are Query, Parse and Bind from the client, and the server's ErrorResponse and NoticeResponse, which repeat what they complain of.
 * Whether a statement is credential-bearing is read from its text alone (`triggers.ts`), so a secret in an ordinary statement stays.
 * Out of scope: COPY data, FunctionCall arguments, rows, and the names of prepared statements, portals and parameters.
 * Memory is bounded: 1,000 marked names (beyond them every Bind and EXECUTE counts as marked), the literals of `remembered-literals.ts`.
 * Never throws; a frame that contradicts itself is filled with stars where a judged one would be rewritten.
 */
import { headerBytes } from '../frame-header.ts'
import { bindNames, redactBind } from './bind-parameters.ts'
import { createOversized } from './oversized.ts'
import { redactText } from './redact-sql.ts'
import { createRememberedLiterals } from './remembered-literals.ts'
import { redactResponse } from './responses.ts'
import { mayCarryCredential } from './triggers.ts'
import { isSuspicious } from './trigger-scan.ts'

const bind = 0x42
const close = 0x43
const parse = 0x50
const query = 0x51
const errorResponse = 0x45
const noticeResponse = 0x4e
const statementTarget = 0x53
const identifierBytesMax = 63

export type Redactor = ReturnType<typeof createRedactor>

export function createRedactor({ heldBytesMax = 1024 * 1024 }: { readonly heldBytesMax?: number } = {}) {
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
    unmark: marked.forgetUnnamed,
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

  function frontendParse(frame: Buffer): Buffer {
    if (active) {
      const nameEnd = frame.indexOf(0, headerBytes)
      marked.forgetUnnamed(frame.toString('latin1', headerBytes, nameEnd < 0 ? frame.length : nameEnd))
    }
    if (!isSuspicious(frame, headerBytes, frame.length) && !marked.mayBeExecuted()) return frame
    const nameEnd = frame.indexOf(0, headerBytes)
    const textEnd = nameEnd < 0 ? -1 : frame.indexOf(0, nameEnd + 1)
    const types = frame.length - textEnd - 1
    if (textEnd < 0 || types < 2 || types !== 2 + 4 * frame.readUInt16BE(textEnd + 1)) {
      return mayCarryCredential(frame.toString('latin1', headerBytes)) ? starred(frame) : frame
    }
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
    /** True once a statement was credential-bearing: from then on Bind, Close, ErrorResponse and NoticeResponse must be shown too. */
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
          if (active && frame[headerBytes] === statementTarget) marked.delete(frame.toString('latin1', headerBytes + 1, frame.length - 1))
          return frame
        default:
          return frame
      }
    },
    /** What to record for a whole ErrorResponse or NoticeResponse: literals redacted before are replaced where the server repeats them. */
    backend(frame: Buffer): Buffer {
      if (!active || (frame[0] !== errorResponse && frame[0] !== noticeResponse)) return frame
      return redactResponse(frame, remembered)
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

/** Names of credential-bearing statements: Parse and SQL's PREPARE share one name space, as in the server. */
function createMarkedNames() {
  const namesMax = 1_000
  const names = new Set<string>()
  let all = false
  const key = (name: string): string => name.slice(0, identifierBytesMax)
  return {
    /** Undefined stands for a name that was too long to keep. */
    add(name: string | undefined): void {
      if (name === undefined || names.size >= namesMax) all = true
      else names.add(key(name))
    },
    has: (name: string): boolean => all || names.has(key(name)),
    delete(name: string): void {
      names.delete(key(name))
    },
    /** Each Parse of the unnamed statement replaces it; a named one stays until it is closed. */
    forgetUnnamed(name: string): void {
      if (name === '') names.delete('')
    },
    mayBeExecuted: (): boolean => all || names.size > (names.has('') ? 1 : 0),
  }
}
