/**
 * The statement index beside a segment: one JSON line per statement that ended in the segment.
 *
 * Plain JSON lines, so that DuckDB and grep read it as it is. What a line says of its statement is the engine's matter;
 * this module knows only what it needs to find and check lines.
 */
import { natural, object, optional, ordinal, parseJson, text, type Check } from './shape.ts'
import { sessionIdCheck } from './session-id.ts'
import { BadDocument } from './shape.ts'

export type IndexedStatement = {
  /** 1 for the session's first. */
  readonly number: number
  /** Ordinals of the session's records, from 0, both included. `first` may lie in an earlier segment. */
  readonly place: { readonly first: number; readonly last: number }
}

/** A line as the file has it. */
export type IndexLine = IndexedStatement & {
  readonly session: string
  readonly segment: number
  /** Hash of the policy that was in force at the statement's first record; absent where none was, and in recordings that are older. */
  readonly policy?: string
}

/** A longer line is refused: statement texts and values are cut far below by who writes the index. */
export const indexLineBytesMax = 32 * 1024 * 1024

const checkLine: Check<IndexLine> = object<IndexLine>({
  session: sessionIdCheck,
  segment: ordinal,
  number: ordinal,
  place: object<IndexLine['place']>({ first: natural, last: natural }),
  policy: optional(text),
})

/** The whole index of one segment; `statements` in the order in which they ended. Empty when none did. */
export function encodeStatementIndex(session: string, segment: number, statements: readonly IndexedStatement[]): Buffer {
  return Buffer.from(statements.map((statement) => encodeIndexLine(session, segment, statement)).join(''), 'utf8')
}

export function encodeIndexLine(session: string, segment: number, statement: IndexedStatement): string {
  return indexLineOf(session, segment, JSON.stringify(statement))
}

/** The same for a statement that is JSON already: an object without a line end. `policy` null: none was in force. */
export function indexLineOf(session: string, segment: number, statementJson: string, policy: string | null = null): string {
  const judgedBy = policy === null ? '' : `"policy":${JSON.stringify(policy)},`
  return `{"session":${JSON.stringify(session)},"segment":${segment},${judgedBy}${statementJson.slice(1)}\n`
}

/**
 * Every line of an index that arrives in `pieces`. Holds one line and one piece.
 * @throws BadDocument at the first line that is none
 */
export async function* decodeStatementIndex(pieces: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<IndexLine> {
  let held: Buffer[] = []
  let heldBytes = 0
  let number = 0
  for await (const piece of pieces) {
    let start = 0
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, start)) {
      held.push(piece.subarray(start, end))
      number += 1
      yield lineOf(held.length === 1 ? held[0]! : Buffer.concat(held), number)
      held = []
      heldBytes = 0
      start = end + 1
    }
    if (start < piece.length) held.push(piece.subarray(start))
    heldBytes += piece.length - start
    if (heldBytes > indexLineBytesMax) throw new BadDocument(`line ${number + 1} of the index is longer than ${indexLineBytesMax} bytes`)
  }
  if (heldBytes > 0) throw new BadDocument(`line ${number + 1} of the index has no end`)
}

function lineOf(bytes: Buffer, number: number): IndexLine {
  const where = `line ${number} of the index`
  const line = checkLine(parseJson(bytes, where), where)
  if (line.place.first > line.place.last) throw new BadDocument(`${where}.place ends before it starts`)
  return line
}
