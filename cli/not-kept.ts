/** In words, what a recording at level `statements` does not hold of a statement's result. */
import type { StatementSummary } from '../postgres/statement.ts'
import { counted } from './text.ts'

/** `300 rows, 12000 bytes, not kept: recording level statements`; null where the recording holds all of the result. */
export function notKeptText({ kind, copy, notKept }: Pick<StatementSummary, 'kind' | 'copy' | 'notKept'>): string | null {
  if (notKept === undefined) return null
  const what = kind === 'function' ? 'value' : copy === undefined ? 'row' : 'COPY message'
  return `${counted(notKept.messages, what)}, ${counted(notKept.bytes, 'byte')}, not kept: recording level statements`
}
