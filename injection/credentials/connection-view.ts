/**
 * What can be seen of a connection string some of whose pieces are keys of Secrets, and the same string led to the sidecar.
 *
 * Each piece that cannot be seen is a word of its own while the string is read, so that its place (user, password, host, parameter) shows.
 * What such a piece may hold besides, as an `@` of its own, stays unknown: a string that begins with one is not looked into at all.
 */
import { hash } from 'node:crypto'
import { readJdbc } from '../../postgres/connection-forms/jdbc-form.ts'
import { readKeywords } from '../../postgres/connection-forms/keyword-form.ts'
import { readUrl } from '../../postgres/connection-forms/url-form.ts'
import { proxyHost, type WrittenConnection } from '../../postgres/connection-forms/written-connection.ts'
import { BadConnectionString } from '../../postgres/connection-string-text.ts'
import { escaped } from './expansion.ts'
import type { Elsewhere, Expression, Leaf } from './expression.ts'

export type Hidden = Leaf | Elsewhere

export type ConnectionView =
  /** It begins with something that cannot be seen. */
  | { readonly kind: 'hidden' }
  /** It can be seen, and is no connection string of PostgreSQL; `remedy` says what is wrong with one. */
  | { readonly kind: 'other'; readonly message: string; readonly remedy: string }
  | { readonly kind: 'read'; readonly connection: ReadConnection }

export type ReadConnection = {
  /** By libpq's keywords; null for what holds a piece that cannot be seen. Keywords that are not there are undefined. */
  value(keyword: string): string | null | undefined
  /** The hidden pieces in a value. */
  hiddenIn(keyword: string): readonly Hidden[]
  /** The texts beside hidden pieces in a value, decoded. */
  textsIn(keyword: string): readonly string[]
  readonly keywords: readonly string[]
  readonly readsPgVariables: boolean
  /** The same form for a listener of the sidecar, for a variable's `value`; with the hidden pieces that it still holds. */
  write(target: { readonly port: number; readonly user: string; readonly database: string }): {
    readonly value: string
    readonly hidden: readonly Hidden[]
  }
}

export function viewConnection(expression: Expression): ConnectionView {
  const hidden: Hidden[] = []
  const mark = wordNotIn(expression)
  let text = ''
  for (const piece of expression) {
    if (piece.kind === 'text') text += piece.text
    else if (piece.kind !== 'unmovable') text += `${mark}${hidden.push(piece) - 1}q`
  }
  text = text.trim() // Drivers take blanks and a line's end around a URL for nothing.
  let written: WrittenConnection | null
  try {
    written = readUrl(text) ?? readJdbc(text) ?? readKeywords(text)
  } catch (error) {
    if (!(error instanceof BadConnectionString)) throw error
    return { kind: 'other', message: error.message, remedy: error.remedy }
  }
  if (written === null) {
    if (text.startsWith(mark)) return { kind: 'hidden' }
    return {
      kind: 'other',
      message: 'it is no connection string of PostgreSQL that steno understands',
      remedy: 'Write it as postgresql://user:password@host:5432/database, as jdbc:postgresql:… or as host=… dbname=… user=…',
    }
  }
  return { kind: 'read', connection: connectionOf(written, hidden, mark) }
}

function connectionOf({ values, readsPgVariables, write }: WrittenConnection, hidden: readonly Hidden[], mark: string): ReadConnection {
  const pattern = new RegExp(`${mark}(\\d+)q`, 'gi')
  const piecesOf = (text: string): Hidden[] => [...text.matchAll(pattern)].map(([, number]) => hidden[Number(number)]!)
  const value = (keyword: string): string | null | undefined => {
    const text = values.get(keyword)
    return text !== undefined && piecesOf(text).length > 0 ? null : text
  }
  return {
    value,
    hiddenIn: (keyword) => piecesOf(values.get(keyword) ?? ''),
    textsIn: (keyword) => (values.get(keyword) ?? '').split(new RegExp(`${mark}\\d+q`, 'i')).filter((text) => text !== ''),
    keywords: [...values.keys()],
    readsPgVariables,
    write({ port, user, database }) {
      const text = write({ port, password: null, user: value('user') ? null : user, database: value('dbname') ? null : database })
      let rest = 0
      let result = ''
      for (const match of text.matchAll(pattern)) {
        const piece = hidden[Number(match[1])]!
        result += `${escaped(text.slice(rest, match.index))}$(${piece.kind === 'leaf' ? piece.variable : piece.name})`
        rest = match.index + match[0].length
      }
      return { value: result + escaped(text.slice(rest)), hidden: piecesOf(text) }
    },
  }
}

/** The agent's variable where nothing can be seen: of the scheme, and with the parameters, that the policy names. */
export function plainConnection(
  { scheme = 'postgresql', parameters = {} }: { readonly scheme?: string; readonly parameters?: Readonly<Record<string, string>> },
  target: { readonly port: number; readonly user: string; readonly database: string },
): string {
  const query = Object.entries(parameters).map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
  const text = `${scheme}://${proxyHost}/${query.length === 0 ? '' : `?${query.join('&')}`}`
  const written = readUrl(text) ?? readJdbc(text)
  if (written !== null) return escaped(written.write({ ...target, password: null }))
  // A scheme that only its own driver knows; whether it takes sslmode, nobody can tell.
  const place = `${encodeURIComponent(target.user)}@${proxyHost}:${target.port}/${encodeURIComponent(target.database)}`
  return escaped(`${scheme}://${place}${query.length === 0 ? '' : `?${query.join('&')}`}`)
}

/** Letters alone: no reader takes them for anything but a name. Short, whatever the texts are: none holds its own digest. */
function wordNotIn(expression: Expression): string {
  const texts = expression.map((piece) => (piece.kind === 'text' ? piece.text : ''))
  const digest = hash('sha256', texts.join('\0')).slice(0, 32)
  return `zq${digest.replace(/[0-9]/g, (digit) => 'ghijklmnop'[Number(digit)]!)}z`
}
