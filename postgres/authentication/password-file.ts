/**
 * The lines of a password file: `host:port:database:user:password`, with `*` for any and a backslash before `:` and `\`.
 *
 * Text only; who may read the file is checked where it is opened. Source: PostgreSQL documentation, "The Password File".
 */
import { Secret } from './secret.ts'

/** The first line that fits counts. `host` is the name as the connection string has it, `localhost` for a default socket folder. */
export function findPassword(
  text: string,
  { host, port, database, user }: { readonly host: string; readonly port: number; readonly database: string; readonly user: string },
): Secret | null {
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue
    let at: number | null = 0
    for (const wanted of [host, String(port), database, user]) {
      at = behindField(line, at, wanted)
      if (at === null) break
    }
    if (at !== null) return new Secret(unescapeField(line.slice(at)))
  }
  return null
}

/** The place behind the field that starts at `at` and its colon, or null when it does not fit. */
function behindField(line: string, at: number, wanted: string): number | null {
  if (line.startsWith('*:', at)) return at + 2
  let matched = 0
  for (let place = at; place < line.length; place++, matched++) {
    if (line[place] === ':' && matched === wanted.length) return place + 1
    if (line[place] === '\\') place++
    if (matched >= wanted.length || line[place] !== wanted[matched]) return null
  }
  return null
}

function unescapeField(field: string): string {
  let value = ''
  for (let at = 0; at < field.length && field[at] !== ':'; at++) {
    if (field[at] === '\\' && at + 1 < field.length) at++
    value += field[at]
  }
  return value
}
