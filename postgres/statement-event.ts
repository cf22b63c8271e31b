/**
 * One line for a statement that ended and for a session that opened or closed, as JSON or for people: what the live view of a proxy and
 * `steno tail` both print. `docs/live-view.md` documents the fields, whose names stay.
 *
 * Never holds parameters, rows or an error's message, which may repeat values; SQL as far as it is asked for, with the literals in it.
 * Texts from outside are cut at stated limits and cannot act on a terminal or forge a line (`base/printable.ts`). A line has no line end.
 */
import { printableJson, printableLine } from '../base/printable.ts'
import type { StatementSummary } from './statement.ts'

/** Names and tags come from clients and servers of any kind; PostgreSQL's own names have at most 63 bytes. */
const nameCharactersMax = 200

/** What of a session stands in each of its lines. */
export type SpeakingSession = {
  readonly session: string
  readonly user: string
  readonly database: string
  /** `application_name` as the client gave it at its start; empty when it gave none. */
  readonly application: string
  /** The pod that it was recorded in, in a cluster, where lines of several are read together. */
  readonly pod?: { readonly namespace: string; readonly name: string }
}

export type StatementEventOptions = {
  /** How much SQL is shown, in UTF-16 units; 0 for none. */
  readonly sqlCharacters: number
  /** True for one that a killed process had recorded: a line for it may stand in that process's output already. */
  readonly recovered: boolean
}

export type SessionEvent =
  | {
      readonly event: 'session-opened'
      /** Milliseconds since the epoch. */
      readonly time: number
      /** `address:port`, as the recorder saw it. */
      readonly client: string
      readonly recovered: boolean
    }
  | {
      readonly event: 'session-closed'
      readonly time: number
      /** As in `SessionClose`. */
      readonly reason: string
      readonly durationMilliseconds: number
      readonly recovered: boolean
    }

export type EventFormat = {
  /** The part that all lines of a session share; make it once per session. */
  session(session: SpeakingSession): string
  statement(shared: string, statement: StatementSummary, options: StatementEventOptions): string
  sessionEvent(shared: string, event: SessionEvent): string
  /** `time` in milliseconds since the epoch; says that so many lines are missing here. */
  dropped(lines: number, time: number): string
}

export const eventsAsJson: EventFormat = {
  session({ session, user, database, application, pod }) {
    const line = `"session":${json(session)},"user":${json(user)},"database":${json(database)},"application":${json(application)}`
    return pod === undefined ? line : `${line},"podNamespace":${json(pod.namespace)},"podName":${json(pod.name)}`
  },
  statement(shared, statement, { sqlCharacters, recovered }) {
    const { number, kind, outcome, rows, resultBytes, tag, error, decision, started, finished, sql, sqlBytes, sqlTruncated } = statement
    const duration = roundedDuration(started, finished)
    let line = `{"time":"${isoTime(finished)}","event":"statement",${shared},"number":${number},"kind":"${kind}","outcome":"${outcome}"`
    line += `,"durationMilliseconds":${duration},"rows":${rows},"bytes":${resultBytes}`
    line += `,"tag":${tag === null ? 'null' : json(tag)},"sqlstate":${error === null ? 'null' : json(error.code)}`
    line += `,"decision":"${decision.kind}"`
    if (sqlCharacters > 0) {
      const shown = cut(sql, sqlCharacters)
      line += `,"sql":${printableJson(shown)}`
      if (sqlTruncated === true || shown.length < sql.length) line += `,"sqlCut":true,"sqlBytes":${sqlBytes}`
    }
    if (statement.redacted === true) line += ',"redacted":true'
    return recovered ? `${line},"recovered":true}` : `${line}}`
  },
  sessionEvent(shared, event) {
    const line = `{"time":"${isoTime(event.time)}","event":"${event.event}",${shared}`
    const end = event.recovered ? ',"recovered":true}' : '}'
    if (event.event === 'session-opened') return `${line},"client":${json(event.client)}${end}`
    return `${line},"durationMilliseconds":${event.durationMilliseconds},"reason":${json(event.reason)}${end}`
  },
  dropped: (lines, time) => `{"time":"${isoTime(time)}","event":"lines-dropped","lines":${lines}}`,
}

/** Enough of a session's id to name it: its millisecond and twelve random bits. */
const idCharacters = 18

export const eventsAsText: EventFormat = {
  session({ session, user, database, application, pod }) {
    const who = `${shownName(user)}@${shownName(database)}${application === '' ? '' : ` (${shownName(application)})`}`
    const where = pod === undefined ? '' : `${shownName(pod.namespace)}/${shownName(pod.name)}  `
    return `${shownName(session.slice(0, idCharacters))}  ${where}${who}`
  },
  statement(shared, statement, { sqlCharacters, recovered }) {
    const { number, rows, resultBytes, started, finished, sql, sqlBytes, sqlTruncated } = statement
    const took = `${roundedDuration(started, finished).toFixed(2)} ms`
    const volume = rows === 0 && resultBytes === 0 ? '' : `  ${rows} ${rows === 1 ? 'row' : 'rows'}, ${resultBytes} bytes`
    const line = `${isoTime(finished)}  ${shared}  #${number}  ${took}  ${resultOf(statement)}${volume}${recovered ? '  recovered' : ''}`
    if (sqlCharacters === 0) return line
    const shown = cut(sql, sqlCharacters)
    const mark = sqlTruncated === true || shown.length < sql.length ? `… (${sqlBytes} bytes)` : ''
    return `${line}  ${printableLine(shown)}${mark}`
  },
  sessionEvent(shared, event) {
    const line = `${isoTime(event.time)}  ${shared}`
    const end = event.recovered ? ', recovered' : ''
    if (event.event === 'session-opened') return `${line}  opened from ${shownName(event.client)}${end}`
    const lasted = `${(event.durationMilliseconds / 1000).toFixed(3)} s`
    return `${line}  closed after ${lasted}: ${shownName(event.reason)}${end}`
  },
  dropped: (lines, time) => `${isoTime(time)}  ${lines} lines are left out here: they were not read in time`,
}

/** The tag, the SQLSTATE, or what else became of it. */
function resultOf({ outcome, tag, error }: StatementSummary): string {
  if (outcome === 'completed') return tag === null ? 'completed' : shownName(tag)
  return outcome === 'failed' && error !== null ? `${shownName(error.severity)} ${shownName(error.code)}` : outcome
}

const json = (text: string): string => printableJson(cut(text, nameCharactersMax))
const shownName = (text: string): string => printableLine(cut(text, nameCharactersMax))

/** At most `characters` UTF-16 units, and never half of a character. */
function cut(text: string, characters: number): string {
  if (text.length <= characters) return text
  const last = text.charCodeAt(characters - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? characters - 1 : characters)
}

/** To the microsecond; a clock that was set back makes no negative durations. */
function roundedDuration(started: number, finished: number): number {
  return Math.max(0, Math.round((finished - started) * 1000) / 1000)
}

const isoTime = (milliseconds: number): string => new Date(milliseconds).toISOString()
