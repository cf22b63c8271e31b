/**
 * A session as lines of text: who, where and when; then one line per statement. Data in, lines out; reads nothing.
 */
import type { StatementSummary } from '../postgres/statement.ts'
import type { DeliveredUnstored } from '../session/delivered-unstored.ts'
import type { Gap, SessionClose, SessionIdentity } from '../session/identity.ts'
import type { LostPart, SessionState } from '../session/read-session.ts'
import { palette, type Palette } from './colour.ts'
import { lostText } from './lost-text.ts'
import { counted, printableLine, shorten } from './text.ts'
import { shownDuration, shownOffset, shownTime } from './times.ts'

/** How a session ended, or null while it has not; and what of it is missing. */
export type Ending = {
  /** As `sessions` tells it; left out where nobody has looked. */
  readonly state?: SessionState
  readonly close: SessionClose | null
  readonly gaps: readonly Gap[]
  /** How much was lost with the recorder, when its loss is stated and the session has no end. */
  readonly lost?: LostPart | null
  /** At level `stored`: when results were given that the store did not have. */
  readonly deliveredUnstored?: readonly DeliveredUnstored[]
}

const labelCells = 11

/** `label  text`, the text made safe. */
export function labelled(label: string, text: string): string {
  return label.padEnd(labelCells) + printableLine(text)
}

const reasons: Readonly<Record<SessionClose['reason'], string>> = {
  terminated: 'the client said goodbye',
  'client-gone': 'the client disappeared',
  'upstream-gone': 'the database hung up',
  'protocol-error': 'one side broke the protocol',
  'recording-failed': 'it could no longer be recorded',
  shutdown: 'the proxy was stopped',
  killed: 'the proxy was killed',
  'way-closed': 'the way to the database was closed to agents',
}

export function sessionLines(identity: SessionIdentity, { close, gaps, state, lost = null, deliveredUnstored = [] }: Ending): string[] {
  const { client, upstream, serverParameters, versions, policy, trace } = identity
  const lasted = close === null ? '' : `, lasted ${shownDuration(Math.max(0, close.closed - identity.opened))}`
  return [
    labelled('session', identity.session),
    labelled('when', shownTime(identity.opened) + lasted),
    labelled('who', `${identity.user} from ${client.address}:${client.port}, ${client.tls ?? 'no TLS'}`),
    labelled('where', `${upstream.host}:${upstream.port}, database ${identity.database}, ${upstream.tls ?? 'no TLS'}`),
    labelled('server', `PostgreSQL ${serverParameters['server_version'] ?? 'of unknown version'}, protocol ${identity.protocol}`),
    labelled('mode', identity.mode === 'custody' ? 'custody: steno held the credential' : 'pass-through: the agent held the credential'),
    labelled('recorder', `${identity.recorder}, steno ${versions.steno}, Node ${versions.node}`),
    labelled('policy', policy === null ? 'none: every statement is recorded and allowed' : `${policy.name} (${policy.hash})`),
    ...(identity.level === 'statements' || identity.level === 'stored' ? [labelled('level', levels[identity.level])] : []),
    ...podLines(identity.attested),
    ...pairLines('asserted', identity.asserted),
    ...startupLines(identity),
    ...(trace === null ? [] : [labelled('trace', `${trace.traceId}, span ${trace.spanId}`)]),
    labelled('ended', close !== null ? endingText(close) : lost !== null ? lostText(lost) : unfinishedText(state)),
    ...gapLines(gaps),
    ...unstoredLines(deliveredUnstored),
  ]
}

/** Whoever reads a recording without an end must not take it for a whole one. */
function unfinishedText(state: SessionState | undefined): string {
  switch (state) {
    case 'open':
      return 'not yet: it is still recorded, and this is what the store has so far'
    case 'killed':
      return 'not recorded: its recorder was killed; what its spool holds is stored when it is started again'
    default:
      return 'not yet, or not yet stored'
  }
}

/** What differs from the standard, `results`. */
const levels = {
  statements: 'statements: rows, COPY data from the database and values of function calls are not kept, only their size',
  stored: 'stored: results were withheld from the agent until the store had them',
} as const

/** The pod in words, and behind it what else was attested. */
function podLines({ podNamespace, podName, podUid, serviceAccount, nodeName, ...others }: Readonly<Record<string, string>>): string[] {
  const more = (facts: Readonly<Record<string, string | undefined>>): Record<string, string> =>
    Object.fromEntries(Object.entries(facts).filter((fact): fact is [string, string] => fact[1] !== undefined))
  if (podNamespace === undefined || podName === undefined)
    return pairLines('attested', more({ podNamespace, podName, podUid, serviceAccount, nodeName, ...others }))
  const told = [
    `${podNamespace}/${podName}`,
    ...(serviceAccount === undefined ? [] : [`ServiceAccount ${serviceAccount}`]),
    ...(nodeName === undefined ? [] : [`node ${nodeName}`]),
    ...(podUid === undefined ? [] : [`UID ${podUid}`]),
  ]
  return [labelled('pod', told.join(', ')), ...pairLines('attested', others)]
}

function pairLines(label: string, pairs: Readonly<Record<string, string>>): string[] {
  const shown = Object.entries(pairs).map(([name, value]) => `${name}=${value}`)
  return shown.length === 0 ? [] : [labelled(label, shown.join(' '))]
}

/** What was asked for at the start beside what has a line of its own; a value with blanks or commas stands in quotes. */
export function startupLines({ startup, asserted }: SessionIdentity): string[] {
  if (startup === undefined) return []
  const told = (parameters: Readonly<Record<string, string>>): string =>
    Object.entries(parameters)
      .filter(([name, value]) => asserted[name] !== value)
      .map(([name, value]) => `${name}=${/^[^\s,"]+$/.test(value) ? value : `"${value}"`}`)
      .join(', ')
  return [['start-up', told(startup.agent)] as const, ['operator', told(startup.operator)] as const].flatMap(([label, text]) =>
    text === '' ? [] : [labelled(label, text)],
  )
}

function endingText({ reason, detail, recovered }: SessionClose): string {
  const more = detail === undefined ? '' : `: ${detail}`
  return `${reasons[reason]} (${reason})${more}${recovered ? '; sealed by a later start of the recorder' : ''}`
}

function gapLines(gaps: readonly Gap[]): string[] {
  if (gaps.length === 0) return [labelled('gaps', 'none')]
  return gaps.map(({ from, to, frontendBytes, backendBytes, reason }, index) =>
    labelled(
      index === 0 ? 'gaps' : '',
      `${shownTime(from)}, ${shownDuration(to - from)}: ${counted(frontendBytes, 'byte')} from the client and ${counted(backendBytes, 'byte')} ` +
        `from the database passed unrecorded: ${reason}`,
    ),
  )
}

function unstoredLines(stretches: readonly DeliveredUnstored[]): string[] {
  return stretches.map(({ from, to, bytes }, index) => {
    const lasted = to === null ? 'with no end on record' : `for ${shownDuration(Math.max(0, to - from))}`
    const what = `${shownTime(from)}, ${lasted}: ${to === null ? 'at least ' : ''}${counted(bytes, 'byte')} of results went on to the agent`
    return labelled(
      index === 0 ? 'unstored' : '',
      `${what} before the store had them (level stored, onFailure: continue); they are recorded`,
    )
  })
}

const cells = { number: 6, offset: 12, duration: 13, result: 18, rows: 9 } as const

export const statementHead = [
  '#'.padStart(cells.number),
  'at'.padStart(cells.offset),
  'took'.padStart(cells.duration),
  '  ',
  'result'.padEnd(cells.result),
  'rows'.padStart(cells.rows),
  '  sql',
].join('')

/** The statement's line, and for a failed one its message below; none is wider than `width` cells. */
export function statementLines(statement: StatementSummary, opened: number, width: number, colours: Palette = palette(false)): string[] {
  const { number, started, finished, rows, error, outcome } = statement
  const result = shorten(printableLine(resultText(statement)), cells.result - 1).padEnd(cells.result)
  const before = [
    String(number).padStart(cells.number),
    shownOffset(started - opened).padStart(cells.offset),
    shownDuration(Math.max(0, finished - started)).padStart(cells.duration),
    '  ',
  ].join('')
  const behind = `${String(rows).padStart(cells.rows)}  `
  const headCells = before.length + result.length + behind.length
  const head = before + (outcome === 'failed' ? colours.red(result) : result) + behind
  const lines = [head + shorten(firstLine(statement), Math.max(10, width - headCells))]
  if (error !== null)
    lines.push(colours.red(shorten(`${' '.repeat(cells.number)}  ${printableLine(`${error.severity}: ${error.message}`)}`, width)))
  return lines
}

/** The tag, the SQLSTATE, or what else became of it. */
export function resultText({ outcome, tag, error }: StatementSummary): string {
  switch (outcome) {
    case 'completed':
      return tag ?? 'completed'
    case 'failed':
      return error === null ? 'failed' : `${error.severity} ${error.code}`
    case 'skipped':
    case 'suspended':
    case 'unfinished':
      return outcome
    default:
      return outcome satisfies never
  }
}

/** The first line that says something, with a mark when more follows. */
function firstLine({ sql, kind }: StatementSummary): string {
  const text = sql.trim()
  if (text === '') return kind === 'protocol' ? '(no statement)' : '(empty)'
  const end = text.search(/[\r\n]/)
  return end < 0 ? printableLine(text) : `${printableLine(text.slice(0, end).trimEnd())} …`
}
