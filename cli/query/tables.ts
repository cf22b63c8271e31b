/** The tables `statements` and `sessions`: their columns, and filling them from a store. Holds one batch; the rest is in DuckDB's file. */
import type { DuckDBAppender, DuckDBConnection } from '@duckdb/node-api'
import type { SessionSummary } from '../../session/read-session.ts'
import { statementColumns, type Column, type ColumnType, type Value } from '../export/columns.ts'
import { applicationOf, podOf } from '../search/filters.ts'
import type { DuckDb } from './duckdb.ts'

export const sessionColumns: readonly Column<SessionSummary>[] = [
  { name: 'session', type: 'text', required: true, about: "the session's id", value: ({ session }) => session },
  {
    name: 'state',
    type: 'text',
    required: true,
    about: '`open`, `closed`, `killed`, `lost`, `recovered` or `damaged`',
    value: ({ state }) => state,
  },
  { name: 'opened', type: 'timestamp', required: true, about: 'when it opened', value: ({ opened }) => opened },
  { name: 'closed', type: 'timestamp', about: 'when it closed', value: ({ closed }) => closed },
  { name: 'user_name', type: 'text', about: 'the database user', value: ({ identity }) => identity?.user ?? null },
  { name: 'database_name', type: 'text', about: 'the database', value: ({ identity }) => identity?.database ?? null },
  {
    name: 'application',
    type: 'text',
    about: '`application_name`, as the client said',
    value: ({ identity }) => (identity === null ? null : applicationOf(identity) || null),
  },
  {
    name: 'client_address',
    type: 'text',
    about: 'where the client connected from',
    value: ({ identity }) => identity?.client.address ?? null,
  },
  {
    name: 'upstream',
    type: 'text',
    about: "the database's host and port",
    value: ({ identity }) => (identity === null ? null : `${identity.upstream.host}:${identity.upstream.port}`),
  },
  { name: 'mode', type: 'text', about: '`custody` or `pass-through`', value: ({ identity }) => identity?.mode ?? null },
  { name: 'recorder', type: 'text', about: "the recorder's id", value: ({ identity }) => identity?.recorder ?? null },
  {
    name: 'server_version',
    type: 'text',
    about: "the database's version",
    value: ({ identity }) => identity?.serverParameters['server_version'] ?? null,
  },
  { name: 'statement_count', type: 'integer', about: 'statements that are stored', value: ({ statements }) => statements },
  { name: 'gap_count', type: 'integer', about: 'times that traffic passed unrecorded', value: ({ gaps }) => gaps },
  { name: 'close_reason', type: 'text', about: 'how it ended', value: ({ close }) => close?.reason ?? null },
  { name: 'trace_id', type: 'text', about: "the session's trace", value: ({ identity }) => identity?.trace?.traceId ?? null },
  { name: 'problem', type: 'text', about: 'of a damaged one: what is wrong', value: ({ problem }) => problem ?? null },
  {
    name: 'pod_namespace',
    type: 'text',
    about: "in a cluster: the pod's namespace",
    value: ({ identity }) => (identity === null ? null : (podOf(identity)?.namespace ?? null)),
  },
  {
    name: 'pod_name',
    type: 'text',
    about: "in a cluster: the pod's name",
    value: ({ identity }) => (identity === null ? null : (podOf(identity)?.name ?? null)),
  },
]

export const tables = { statements: statementColumns, sessions: sessionColumns } as const

const sqlTypes: Readonly<Record<ColumnType, string>> = {
  text: 'VARCHAR',
  json: 'JSON',
  integer: 'BIGINT',
  double: 'DOUBLE',
  boolean: 'BOOLEAN',
  timestamp: 'TIMESTAMPTZ',
}

export async function createTables(connection: DuckDBConnection): Promise<void> {
  for (const [name, columns] of Object.entries(tables)) {
    const list = columns.map((column) => `${column.name} ${sqlTypes[column.type]}${column.required === true ? ' NOT NULL' : ''}`)
    await connection.run(`CREATE TABLE ${name} (${list.join(', ')})`)
  }
}

export async function fillTable<Row>(
  duckDb: DuckDb,
  connection: DuckDBConnection,
  table: string,
  columns: readonly Column<Row>[],
  batches: AsyncIterable<readonly Row[]>,
): Promise<void> {
  const appender = await connection.createAppender(table)
  try {
    for await (const batch of batches) {
      for (const row of batch) {
        for (const { type, value } of columns) append(duckDb, appender, type, value(row))
        appender.endRow()
      }
    }
  } finally {
    appender.closeSync()
  }
}

function append({ DuckDBTimestampTZValue: TimestampTZ }: DuckDb, appender: DuckDBAppender, type: ColumnType, value: Value): void {
  if (value === null) return appender.appendNull()
  switch (type) {
    case 'text':
      return appender.appendVarchar(value as string)
    case 'json':
      return appender.appendVarchar(JSON.stringify(value))
    case 'integer':
      return appender.appendBigInt(BigInt(Number(value)))
    case 'double':
      return appender.appendDouble(Number(value))
    case 'boolean':
      return appender.appendBoolean(value === true)
    case 'timestamp':
      return appender.appendTimestampTZ(new TimestampTZ(BigInt(Math.floor(Number(value) * 1_000))))
    default:
      return type satisfies never
  }
}
