/** The letters of fields in ErrorResponse and NoticeResponse (PostgreSQL documentation, "Error and Notice Message Fields"); unknown ones are passed over. */
import type { ErrorFields } from './statement.ts'

/** In the order in which the server writes them. */
export const errorFieldOf: Readonly<Record<string, keyof ErrorFields>> = {
  S: 'severity',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  P: 'position',
  W: 'where',
  s: 'schema',
  t: 'table',
  c: 'column',
  d: 'dataType',
  n: 'constraint',
  F: 'file',
  L: 'line',
  R: 'routine',
}
