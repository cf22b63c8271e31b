/**
 * A statement as a row of a table: the columns that CSV and Parquet files have, and the tables of `steno query`.
 *
 * Names are those that SQL takes without quotes. Columns are added at the end by later versions, never renamed or moved.
 */
import type { SessionIdentity } from '../../session/identity.ts'
import { applicationOf, podOf } from '../search/filters.ts'
import type { StatementLine } from '../statement-line.ts'

export type ColumnType =
  | 'text'
  /** Below 2^53. */
  | 'integer'
  | 'double'
  | 'boolean'
  /** A point in time to the millisecond; the value is milliseconds since the epoch, with fractions. */
  | 'timestamp'
  /** The value is what is to be written as JSON. */
  | 'json'

export type Value = string | number | boolean | null | object

export type Column<Row> = {
  readonly name: string
  readonly type: ColumnType
  /** Never null. */
  readonly required?: true
  /** What it means, for the documentation. */
  readonly about: string
  value(row: Row): Value
}

export type StatementRow = { readonly identity: SessionIdentity; readonly line: StatementLine }

export const statementColumns: readonly Column<StatementRow>[] = [
  { name: 'session', type: 'text', required: true, about: "the session's id", value: ({ line }) => line.session },
  { name: 'number', type: 'integer', required: true, about: "1 for the session's first", value: ({ line }) => line.number },
  { name: 'started', type: 'timestamp', required: true, about: 'its first message', value: ({ line }) => line.started },
  { name: 'finished', type: 'timestamp', required: true, about: 'its completion', value: ({ line }) => line.finished },
  {
    name: 'duration_ms',
    type: 'double',
    required: true,
    about: 'milliseconds between the two',
    value: ({ line }) => Math.max(0, line.finished - line.started),
  },
  { name: 'user_name', type: 'text', required: true, about: 'the database user', value: ({ identity }) => identity.user },
  { name: 'database_name', type: 'text', required: true, about: 'the database', value: ({ identity }) => identity.database },
  {
    name: 'application',
    type: 'text',
    about: '`application_name`, as the client said',
    value: ({ identity }) => applicationOf(identity) || null,
  },
  {
    name: 'client_address',
    type: 'text',
    required: true,
    about: 'where the client connected from',
    value: ({ identity }) => identity.client.address,
  },
  {
    name: 'upstream',
    type: 'text',
    required: true,
    about: "the database's host and port",
    value: ({ identity }) => `${identity.upstream.host}:${identity.upstream.port}`,
  },
  { name: 'kind', type: 'text', required: true, about: '`query`, `execute`, `function` or `protocol`', value: ({ line }) => line.kind },
  {
    name: 'outcome',
    type: 'text',
    required: true,
    about: '`completed`, `failed`, `skipped`, `suspended` or `unfinished`',
    value: ({ line }) => line.outcome,
  },
  { name: 'tag', type: 'text', about: "the server's command tag, as `SELECT 3`", value: ({ line }) => line.tag },
  { name: 'row_count', type: 'integer', required: true, about: 'rows that were sent to the client', value: ({ line }) => line.rows },
  {
    name: 'result_bytes',
    type: 'integer',
    required: true,
    about: 'bytes of rows, COPY data and function results to the client',
    value: ({ line }) => line.resultBytes,
  },
  {
    name: 'not_kept_bytes',
    type: 'integer',
    about: 'of these, what the recording does not hold: recording level `statements`',
    value: ({ line }) => line.notKept?.bytes ?? null,
  },
  { name: 'sqlstate', type: 'text', about: "the error's code", value: ({ line }) => line.error?.code ?? null },
  { name: 'error_message', type: 'text', about: "the error's message", value: ({ line }) => line.error?.message ?? null },
  {
    name: 'transaction_before',
    type: 'text',
    required: true,
    about: '`I` idle, `T` in a transaction, `E` in a failed one',
    value: ({ line }) => line.transactionBefore,
  },
  {
    name: 'fingerprint',
    type: 'text',
    required: true,
    about: 'the same for statements that differ only in literals',
    value: ({ line }) => line.fingerprint,
  },
  {
    name: 'trace_id',
    type: 'text',
    about: "the agent's trace: of the statement, else of the session",
    value: ({ line, identity }) => line.trace?.traceId ?? identity.trace?.traceId ?? null,
  },
  {
    name: 'redacted',
    type: 'boolean',
    required: true,
    about: 'literals were replaced before recording',
    value: ({ line }) => line.redacted === true,
  },
  {
    name: 'sql_truncated',
    type: 'boolean',
    required: true,
    about: '`sql` is longer in the recording',
    value: ({ line }) => line.sqlTruncated === true,
  },
  { name: 'sql', type: 'text', required: true, about: 'the text, its first 65,536 characters', value: ({ line }) => line.sql },
  {
    name: 'prepared_sql',
    type: 'text',
    about: 'of EXECUTE and FETCH: the text that PREPARE or DECLARE gave',
    value: ({ line }) => line.preparedSql ?? null,
  },
  { name: 'parameters', type: 'json', required: true, about: 'a JSON list, as the index has it', value: ({ line }) => line.parameters },
  {
    name: 'pod_namespace',
    type: 'text',
    about: "in a cluster: the pod's namespace",
    value: ({ identity }) => podOf(identity)?.namespace ?? null,
  },
  { name: 'pod_name', type: 'text', about: "in a cluster: the pod's name", value: ({ identity }) => podOf(identity)?.name ?? null },
]
