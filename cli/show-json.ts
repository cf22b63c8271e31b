/**
 * The documents of `show --json`: one JSON object per line, each with a `type`. Fields are added by later versions, never renamed.
 *
 * Control characters and bidirectional overrides are escaped, which JSON allows anywhere in a text, so that a terminal is as safe
 * with these lines as with the others.
 */
import type { SessionIdentity } from '../session/identity.ts'
import type { LostSession } from './lost-session.ts'
import type { Ending } from './show-session.ts'
import type { StatementLine } from './statement-line.ts'

export type ShowDocument =
  | ({ readonly type: 'session' } & Ending & { readonly identity: SessionIdentity })
  | ({ readonly type: 'session' } & LostSession)
  | ({ readonly type: 'statement' } & StatementLine)
  /** `values` are texts as psql shows them, null for NULL; `cut` when the row is longer than what is shown. */
  | { readonly type: 'row'; readonly values: readonly (string | null)[]; readonly cut?: true }
  /** One CopyData message, base64. */
  | { readonly type: 'copy'; readonly direction: 'in' | 'out'; readonly data: string; readonly bytes: number }
  | { readonly type: 'end'; readonly rows: number; readonly rowsShown: number; readonly brokenBy: string | null }

export const showHelp = `
Examples:
  steno show last                              # the newest session: who, where, and its statements
  steno show 0199b1c4                          # the beginning of an id is enough
  steno show last --statement 5                # one statement with its parameters, rows and errors
  steno show last --json | jq -r 'select(.error) | .sql'

With --json each line is one JSON object. Without --statement: {"type":"session", identity, state, close, gaps, lost}, then one
{"type":"statement", …} for each. With --statement: {"type":"statement", …}, then {"type":"row", values} (values as psql
shows them) or {"type":"copy", direction, data} (base64), then {"type":"end", rows, rowsShown, brokenBy}. A session without an end
has state "open", or "killed" when its recorder is gone, and close null. Of one that was lost with its pod before anything was
stored there is one object: identity is null, and recorder, opened, pod, lost say what is known.

Exit codes: 0 done; 1 there is no such session or statement, or its recording is damaged; 2 used wrongly.`

export function jsonLine(document: ShowDocument): string {
  return JSON.stringify(document).replace(
    /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
