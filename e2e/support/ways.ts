/**
 * One PostgreSQL and, before it, a proxy for each way in which steno can stand between: custody and pass-through, TLS on either side.
 *
 * Every way has databases of its own, so that what the server logged and what was recorded can be laid side by side afterwards.
 */
import assert from 'node:assert/strict'
import { startPostgres, type EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import type { StatementLine } from '../../cli/statement-line.ts'
import { assertEveryStatementRecorded, readRecordedSessions, type RecordedSession } from './compare-with-log.ts'
import { startProxyProcess, steno, stopUntilStored, type RunningProxy } from './proxy.ts'
import { readServerLog, statementLogSettings } from './server-log.ts'

export type Target = {
  readonly host: string
  readonly port: number
  readonly user: string
  /** Absent in custody: the agent has none. */
  readonly password?: string
  readonly database: string
  readonly sslmode: 'disable' | 'require'
}

export type Way = {
  readonly name: string
  readonly mode: 'custody' | 'pass-through'
  readonly proxy: RunningProxy
  readonly target: Target
  /** An empty database of the same way, for what is restored. */
  readonly copyDatabase: string
}

type StartedProxy = { readonly proxy: RunningProxy; readonly upstream: string }

export type World = AsyncDisposable & {
  readonly server: EmbeddedPostgres
  readonly ways: readonly Way[]
  /** The server itself; what happens in this database is not compared. */
  readonly direct: Target
  /**
   * Stops the proxies and checks: each stored everything, its store is sound, no session has a gap, and together the recordings hold
   * what the server's own log holds, no statement more or less. Returns the sessions.
   */
  finish(): Promise<readonly RecordedSession[]>
}

const shapes = [
  { mode: 'custody', agent: 'disable', upstream: 'disable' },
  { mode: 'custody', agent: 'require', upstream: 'verify-full' },
  { mode: 'custody', agent: 'disable', upstream: 'verify-full' },
  { mode: 'custody', agent: 'require', upstream: 'disable' },
  { mode: 'pass-through', agent: 'disable', upstream: 'disable' },
  { mode: 'pass-through', agent: 'disable', upstream: 'require' },
] as const

/** The server is of version 15, as the clients that Debian 12 ships: a pg_dump refuses servers that are newer than it. */
export async function startWorld(options: { readonly settings?: Readonly<Record<string, string>> } = {}): Promise<World> {
  const server = await startPostgres({ version: 15, tls: true, settings: { ...statementLogSettings, ...options.settings } })
  const proxies: StartedProxy[] = []
  const dispose = async (): Promise<void> => {
    await Promise.all(proxies.map(({ proxy }) => proxy[Symbol.asyncDispose]()))
    await server.stop()
  }
  try {
    const direct: Target = {
      ...{ host: server.host, port: server.port, user: server.superuser, password: server.password },
      ...{ database: 'direct', sslmode: 'disable' as const },
    }
    const ways: Way[] = []
    // Ways that differ only on the agent's side share a proxy.
    const started = new Map<string, RunningProxy>()
    const databasesOf = (index: number): [string, string] => [`way${index + 1}`, `way${index + 1}_copy`]
    const all = shapes.flatMap((_, index) => databasesOf(index))
    for (const database of ['direct', ...all]) await server.query(`create database ${database} strategy file_copy`)
    for (const [index, { mode, agent, upstream }] of shapes.entries()) {
      const key = `${mode} ${upstream}`
      const [database, copyDatabase] = databasesOf(index)
      const connectionString = upstreamString(server, mode, upstream)
      let proxy = started.get(key)
      if (proxy === undefined) {
        proxy = await startProxyProcess({
          upstream: connectionString,
          arguments: mode === 'custody' ? ['--databases', ...all] : [],
        })
        proxies.push({ proxy, upstream: connectionString })
        started.set(key, proxy)
      }
      const credential = mode === 'custody' ? { user: 'agent' } : { user: server.superuser, password: server.password }
      const target: Target = { host: proxy.host, port: proxy.port, ...credential, database, sslmode: agent }
      ways.push({ name: `${mode}, agent ${tlsWord(agent)}, database ${tlsWord(upstream)}`, mode, proxy, target, copyDatabase })
    }
    return { server, ways, direct, finish: () => finish(server, proxies), [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

const tlsWord = (sslmode: string): string => (sslmode === 'disable' ? 'plain' : `with TLS (${sslmode})`)

function upstreamString(server: EmbeddedPostgres, mode: 'custody' | 'pass-through', sslmode: string): string {
  const credential = mode === 'custody' ? `user=${server.superuser} password=${server.password} dbname=postgres` : ''
  const root = sslmode === 'verify-full' ? `sslrootcert=${server.certificates!.ca}` : ''
  return `host=${server.host} port=${server.port} sslmode=${sslmode} ${credential} ${root}`
}

async function finish(server: EmbeddedPostgres, proxies: readonly StartedProxy[]): Promise<readonly RecordedSession[]> {
  const backends = await readServerLog(server)
  const sessions: RecordedSession[] = []
  for (const { proxy, upstream } of proxies) {
    await stopUntilStored(proxy, upstream)
    const verified = await steno(['verify', '--all', '--json', '--store', proxy.storeUrl, '--spool', proxy.spoolFolder])
    assert.equal(verified.status, 0, `${verified.stdout}${verified.stderr}`)
    const recorded = await readRecordedSessions(proxy.storeUrl)
    for (const { id, isClosed, gaps } of recorded) {
      assert.ok(isClosed, `session ${id} did not end in good order`)
      assert.equal(gaps, 0, `session ${id} has gaps`)
    }
    sessions.push(...recorded)
  }
  assertEveryStatementRecorded(
    backends.filter(({ database }) => database.startsWith('way')),
    sessions,
  )
  return sessions
}

/** libpq's connection string of a target; `application` becomes application_name. */
export function libpqString(
  target: Target,
  { application, database = target.database }: { application: string; database?: string },
): string {
  const { host, port, user, password, sslmode } = target
  const secret = password === undefined ? '' : `password=${password}`
  return `host=${host} port=${port} user=${user} dbname=${database} sslmode=${sslmode} application_name=${application} ${secret}`
}

/** What the sessions of an application ran, in order. */
export function statementsRecorded(sessions: readonly RecordedSession[], application: string): StatementLine[] {
  return sessions.filter(({ identity }) => identity.asserted['application_name'] === application).flatMap(({ statements }) => statements)
}

/** Rows that the sessions of an application were sent, all together; only of statements with `sql` in their text, when given. */
export function rowsRecorded(sessions: readonly RecordedSession[], application: string, sql = ''): number {
  return statementsRecorded(sessions, application)
    .filter((statement) => statement.sql.includes(sql))
    .reduce((sum, { rows }) => sum + rows, 0)
}
