/**
 * A session as a script that psql runs: what was said, in its order, with its transactions, and what came of it as comments.
 *
 * Simple queries stand as they were, executions with parameters as PREPARE and EXECUTE, COPY with its data, several executions that one
 * Sync ended between BEGIN and COMMIT. What cannot be said in SQL, or must not be said again, is a comment with the reason; when it
 * failed inside a transaction, a statement that fails stands in for it. `psql-text.ts` makes sure that nothing in data can become a
 * command. Reads the recording twice and holds one message.
 */
import { stenoVersion } from '../../base/version.ts'
import { headerBytes } from '../../postgres/frame-header.ts'
import { decodeQuery } from '../../postgres/messages/frontend.ts'
import { textEncodingOf } from '../../postgres/messages/text-encoding.ts'
import { splitStatements } from '../../postgres/sql-statements.ts'
import type { StatementSummary } from '../../postgres/statement.ts'
import { readIdentity } from '../../session/read-session.ts'
import type { Store } from '../../session/stores/store.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { resultText } from '../show-session.ts'
import { counted } from '../text.ts'
import { shownOffset, shownTime } from '../times.ts'
import { bareText, createExecutions, firstWord, type Said } from './extended.ts'
import { commentLines, literal, queryLines } from './psql-text.ts'
import { factsOf, recoded, type CopyFact, type ScriptFacts } from './script-facts.ts'
import { settingsOf } from './session-settings.ts'
import { textBytesMax, walkSession } from './walk-session.ts'

const endsTransaction = new Set(['rollback', 'commit', 'abort', 'end'])
/** Simple queries that were sent ahead of their answers are held up to here. */
const queriesAheadMax = 10_000

/** A server from 18 on takes the `\.` that an older psql sends behind CSV data for data. */
const csvGuard = [
  'SELECT :VERSION_NUM >= 180000 OR :SERVER_VERSION_NUM < 180000 AS steno_csv_works',
  '\\gset',
  '\\if :steno_csv_works',
  '\\else',
  "\\echo 'CSV data in a script needs psql 18 or later for this server; nothing is run from here on'",
  '\\quit',
  '\\endif',
]

/** `session` is a whole id. The pieces are lines of ASCII, but for comments (UTF-8) and COPY data (as it was sent). @throws RecordingDamaged */
export async function* scriptOf(store: Store, session: string): AsyncGenerator<Buffer> {
  const identity = await readIdentity(store, session)
  const facts = await factsOf(store, identity)
  const script = createScript(identity, facts)
  yield* script.take()
  for await (const _ of walkSession(store, identity, script.handlers)) yield* script.take()
  script.end()
  yield* script.take()
}

/** `\gexec` asks the server for the text, which a failed transaction refuses; what ends it is said without its comments, by itself. */
function inFailedTransaction(sql: string, lines: readonly string[]): readonly string[] {
  const [first, second] = splitStatements(sql)
  if (first === undefined || !endsTransaction.has(firstWord(first.text))) return lines
  const ending = queryLines(bareText(first.text)) ?? []
  return second === undefined ? ending : [...ending, ...(queryLines(sql.slice(second.start)) ?? [])]
}

function createScript(identity: SessionIdentity, facts: ScriptFacts) {
  let pieces: Buffer[] = []
  let clientEncoding = identity.serverParameters['client_encoding'] ?? 'UTF8'
  const executions = createExecutions()
  const queries = new Map<number, string | null>()
  const groups = [...facts.groups].map(([first, last]) => ({ first, last }))
  /** The request whose text was written last. */
  let written = -1
  /** Comments that have to wait: behind COPY they would be data. */
  let comments: string[] = []
  let stopsOnError = false
  let copying: { statement: number; endsLine: boolean } | null = null
  let group: { readonly last: number; leavesOpen: boolean } | null = null

  const write = (...lines: readonly string[]): void => void pieces.push(Buffer.from(lines.map((line) => `${line}\n`).join('')))

  function endUnit(): void {
    if (stopsOnError) write('\\set ON_ERROR_STOP off')
    stopsOnError = false
    if (comments.length > 0) write(...comments)
    comments = []
  }

  function beginUnit(request: number, transactionBefore: 'I' | 'T' | 'E' | null, head: string): void {
    endUnit()
    if (group !== null && request > group.last) endGroup(transactionBefore)
    while (groups[0] !== undefined && groups[0].last < request) groups.shift()
    const next = groups[0]
    if (group === null && next !== undefined && request >= next.first) {
      groups.shift()
      group = { last: next.last, leavesOpen: false }
      if (transactionBefore === 'I')
        write('', '-- One Sync ended the statements up to the COMMIT, so they were one transaction.', 'BEGIN', '\\g')
      else group.leavesOpen = true
    }
    write('', ...commentLines(head))
    written = request
  }

  function endGroup(transactionBefore: 'I' | 'T' | 'E' | null): void {
    const isOpen = transactionBefore === null ? group?.leavesOpen === true : transactionBefore !== 'I'
    if (!isOpen && group?.leavesOpen === false) write('', 'COMMIT', '\\g')
    group = null
  }

  function headOf({ number, started, kind, statementName }: StatementSummary): string {
    const how = kind === 'execute' ? (statementName === undefined ? ', extended protocol' : `, prepared statement ${statementName}`) : ''
    return `statement ${number}, ${shownOffset(started - identity.opened)}${how}`
  }

  function say(statement: StatementSummary): Said {
    const { kind, sql, place, redacted, sqlTruncated, outcome, transactionBefore } = statement
    if (redacted === true) return { obstacle: 'its literals were replaced before it was recorded, because it carries a credential' }
    if (outcome === 'skipped') return { obstacle: 'the server skipped it, since one before it had failed' }
    if (outcome === 'unfinished') return { obstacle: 'the recording has no end of it' }
    if (kind === 'function') return { obstacle: 'a function call message has no form in SQL' }
    if (kind === 'protocol') return { obstacle: 'it is a message of the protocol, not a statement' }
    const obstacle = facts.obstructed.get(place.first)
    if (obstacle !== undefined) return { obstacle }
    const whole = kind === 'query' ? queries.get(place.first) : sqlTruncated === true ? null : recoded(sql, clientEncoding)
    if (whole === null || whole === undefined) return { obstacle: `its text is longer than the ${textBytesMax} bytes that scripts hold` }
    if (whole.includes('\ufffd')) return { obstacle: 'it holds bytes that are no text' }
    if (kind === 'execute') return executions.say(statement, whole, (value) => recoded(value, clientEncoding))
    const lines = queryLines(whole) ?? []
    return { lines: transactionBefore === 'E' && lines.at(-1) === '\\gexec' ? inFailedTransaction(whole, lines) : lines }
  }

  function writeStatement(statement: StatementSummary): void {
    const said = say(statement)
    const { number, outcome, transactionBefore, sql } = statement
    if ('lines' in said) {
      if (said.lines.length === 0) comments.push(`-- statement ${number} is empty`)
      else write(...said.lines)
      return
    }
    write(...commentLines(`NOT RUN: ${said.obstacle}`), ...(sql === '' ? [] : commentLines(sql)))
    if (outcome === 'failed' && transactionBefore === 'T') {
      write('-- It failed inside a transaction, which its stand-in does too.')
      write(`DO 'BEGIN RAISE EXCEPTION ''statement ${number} failed when it was recorded''; END'`, '\\g')
    }
  }

  function resultLine(statement: StatementSummary): string[] {
    const { number, rows, error } = statement
    const message = error === null ? '' : `: ${error.message}`
    return commentLines(`${number}: ${resultText(statement)}${message}${error === null && rows > 0 ? `, ${counted(rows, 'row')}` : ''}`)
  }

  /** From here to the end of its data psql must not go on when the statement fails: it would take data for commands. */
  function writeCopy(statement: number, { request, kind, sql }: CopyFact): void {
    if (copying?.statement === statement) return
    copying = { statement, endsLine: true }
    if (kind === 'query' && written === request && stopsOnError) return
    beginUnit(request, null, `statement ${statement}, COPY with its data; psql stops here if it cannot begin`)
    const text = (kind === 'query' ? queries.get(request) : recoded(sql, clientEncoding)) ?? sql
    if (/csv/i.test(text)) write(...csvGuard)
    write('\\set ON_ERROR_STOP on')
    stopsOnError = true
    write(...(queryLines(text) ?? []))
  }

  function endCopy(): void {
    if (copying === null) return
    if (!copying.endsLine) write('')
    write('\\.')
    copying = null
  }

  function copyOf(number: number): CopyFact | null {
    const fact = facts.copies.get(number)
    return fact === undefined || facts.obstructed.has(fact.request) ? null : fact
  }

  write(
    ...commentLines(`session ${identity.session}, ${shownTime(identity.opened)}, database ${identity.database}, as ${identity.user}`),
    ...commentLines(`written by steno ${stenoVersion}; run it with: psql --no-psqlrc --file FILE, on a scratch database`),
    ...['ON_ERROR_STOP off', 'ON_ERROR_ROLLBACK off', 'AUTOCOMMIT on', 'SINGLELINE off', 'FETCH_COUNT 0'].map(
      (setting) => `\\set ${setting}`,
    ),
  )
  const { settings, notSet } = settingsOf(identity)
  for (const what of notSet) write(...commentLines(`NOT SET: ${what}`))
  for (const [name, value] of settings) {
    write(`SELECT pg_catalog.set_config(${literal(name)}, ${literal(value)}, false) AS steno_setting`, '\\gset')
  }

  return {
    handlers: {
      onRequest({
        type,
        number,
        bytes,
        wholeBytes,
        last,
      }: Parameters<NonNullable<Parameters<typeof walkSession>[2]['onRequest']>>[0]): void {
        if (type !== 'Q') return
        const encoding = textEncodingOf(clientEncoding)
        const body = { bytes, start: headerBytes, end: bytes.length, wholeBytes: wholeBytes - headerBytes }
        const isHeld = last && queries.size < queriesAheadMax
        queries.set(number, isHeld ? recoded(decodeQuery(encoding, body, textBytesMax).sql, clientEncoding) : null)
      },
      onCopyData(number: number, direction: 'in' | 'out', data: Buffer): void {
        const fact = direction === 'in' ? copyOf(number) : null
        if (fact === null) return
        writeCopy(number, fact)
        if (data.length === 0 || copying === null) return
        pieces.push(Buffer.from(data))
        copying.endsLine = data.at(-1) === 0x0a
      },
      onStatement(statement: StatementSummary): void {
        const { number, place, kind, transactionBefore, tag } = statement
        const fact = copyOf(number)
        if (fact !== null) {
          writeCopy(number, fact)
          endCopy()
        } else if (kind !== 'query' || written !== place.first) {
          beginUnit(place.first, transactionBefore, headOf(statement))
          writeStatement(statement)
        }
        comments.push(...resultLine(statement))
        executions.ended(statement)
        if (group !== null && tag !== null && /^(BEGIN|START TRANSACTION)$/.test(tag)) group.leavesOpen = true
        else if (group !== null && tag !== null && /^(COMMIT|ROLLBACK)$/.test(tag)) group.leavesOpen = true
        for (const request of queries.keys()) if (request < place.first) queries.delete(request)
      },
      onParameterStatus(name: string, value: string): void {
        if (name === 'client_encoding') clientEncoding = value
      },
      onGap(): void {
        endCopy()
        endUnit()
        write('', '-- Traffic passed unrecorded here: what was said meanwhile is missing.')
      },
    },
    end(): void {
      endUnit()
      if (group !== null) endGroup(null)
      write('', '-- The session ended here.')
    },
    take(): Buffer[] {
      const taken = pieces
      pieces = []
      return taken
    },
  }
}
