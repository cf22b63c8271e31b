/**
 * A statement as an event of the Open Cybersecurity Schema Framework: class "Datastore Activity" (6005) of version 1.3.0, no profiles.
 *
 * Without a grammar the activity is told by the server's command tag, else by the statement's first word; what is neither is "Other" with
 * its word as the name. Rows and parameters are not in an event; what the schema has no place for stands under `unmapped`.
 * Source: https://schema.ocsf.io/1.3.0/classes/datastore_activity
 */
import { isIP } from 'node:net'
import { stenoVersion } from '../../base/version.ts'
import { SqlLexer } from '../../postgres/sql-lexer.ts'
import { applicationOf } from '../search/filters.ts'
import type { StatementRow } from './columns.ts'

export const ocsfVersion = '1.3.0'

const categoryUid = 6
const classUid = 6005

/** `activity_id` of the class, by the first word of a command. */
const activities = {
  SELECT: { id: 4, name: 'Query' },
  VALUES: { id: 4, name: 'Query' },
  TABLE: { id: 4, name: 'Query' },
  WITH: { id: 4, name: 'Query' },
  FETCH: { id: 1, name: 'Read' },
  COPY: { id: 1, name: 'Read' },
  INSERT: { id: 5, name: 'Write' },
  UPDATE: { id: 2, name: 'Update' },
  MERGE: { id: 2, name: 'Update' },
  DELETE: { id: 7, name: 'Delete' },
  TRUNCATE: { id: 7, name: 'Delete' },
  DROP: { id: 7, name: 'Delete' },
  CREATE: { id: 6, name: 'Create' },
  ALTER: { id: 2, name: 'Update' },
} as const
const copyIn = { id: 5, name: 'Write' } as const

const statuses = {
  completed: { status_id: 1, status: 'Success' },
  failed: { status_id: 2, status: 'Failure' },
  skipped: { status_id: 99, status: 'skipped' },
  suspended: { status_id: 99, status: 'suspended' },
  unfinished: { status_id: 99, status: 'unfinished' },
} as const

/** Informational, and Low for what failed: nothing here judges what a statement means. */
const severities = { informational: { severity_id: 1, severity: 'Informational' }, low: { severity_id: 2, severity: 'Low' } } as const

/** Times are milliseconds since the epoch, as the schema's `timestamp_t` has them; fractions are left out. */
export function ocsfEvent({ identity, line }: StatementRow): object {
  const { session, number, error } = line
  const activity = activityOf(line)
  const started = Math.floor(line.started)
  const application = applicationOf(identity)
  const traceId = line.trace?.traceId ?? identity.trace?.traceId
  return {
    activity_id: activity.id,
    activity_name: activity.name,
    category_uid: categoryUid,
    category_name: 'Application Activity',
    class_uid: classUid,
    class_name: 'Datastore Activity',
    type_uid: classUid * 100 + activity.id,
    type_name: `Datastore Activity: ${activity.name}`,
    ...severities[line.outcome === 'failed' ? 'low' : 'informational'],
    ...statuses[line.outcome],
    ...(error === null ? {} : { status_code: error.code, status_detail: error.message }),
    time: started,
    start_time: started,
    end_time: Math.floor(line.finished),
    duration: Math.max(0, Math.round(line.finished - line.started)),
    metadata: {
      version: ocsfVersion,
      product: { name: 'steno', vendor_name: 'steno', version: stenoVersion },
      uid: `${session}/${number}`,
      log_name: 'statements',
      sequence: number,
      ...(traceId === undefined ? {} : { correlation_uid: traceId }),
    },
    actor: {
      user: { name: identity.user },
      session: { uid: session, created_time: Math.floor(identity.opened) },
      ...(application === '' ? {} : { app_name: application }),
    },
    src_endpoint: endpoint(identity.client.address, identity.client.port),
    dst_endpoint: { ...endpoint(identity.upstream.host, identity.upstream.port), svc_name: 'postgresql' },
    database: { name: identity.database, type: 'Relational', type_id: 1 },
    type: 'Database',
    type_id: 1,
    query_info: { query_string: line.sql, uid: line.fingerprint, bytes: line.resultBytes, query_time: started },
    unmapped: {
      rows: line.rows,
      tag: line.tag,
      kind: line.kind,
      outcome: line.outcome,
      transaction_before: line.transactionBefore,
      recorder: identity.recorder,
      mode: identity.mode,
      ...(line.redacted === true ? { redacted: true } : {}),
      ...(line.sqlTruncated === true ? { sql_truncated: true } : {}),
    },
  }
}

/** A Unix socket has neither; its path goes for a name. */
function endpoint(address: string, port: number): object {
  const named =
    isIP(address) > 0 ? { ip: address } : address.startsWith('/') || address === '' ? { name: address || 'local' } : { hostname: address }
  return { ...named, port }
}

function activityOf({ tag, sql, copy }: StatementRow['line']): { readonly id: number; readonly name: string } {
  const word = (tag ?? firstWord(sql)).split(' ')[0]!.toUpperCase()
  if (word === 'COPY' && copy?.direction === 'in') return copyIn
  if (Object.hasOwn(activities, word)) return activities[word as keyof typeof activities]
  return word === '' ? { id: 0, name: 'Unknown' } : { id: 99, name: word }
}

/** Of a statement that got no tag. */
function firstWord(sql: string): string {
  const lexer = new SqlLexer(sql)
  while (lexer.next()) if (lexer.kind !== 'comment') return lexer.kind === 'identifier' ? sql.slice(lexer.start, lexer.end) : ''
  return ''
}
