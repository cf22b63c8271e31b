/** A real PostgreSQL, a proxy in a process of its own, and agents whose statements are traced to a receiver. */
import pg from 'pg'
import type { StatementSummary } from '../../postgres/statement.ts'
import { readStatements, sessionIds } from '../../session/read-session.ts'
import type { IndexLine } from '../../session/statement-index.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { startProxyProcess, type RunningProxy } from '../support/proxy.ts'

/** Without a wait for a full batch, so that a span comes when its statement did. */
export const atOnce = { OTEL_BSP_SCHEDULE_DELAY: '0' }

export function startTraced(
  upstream: string,
  environment: Readonly<Record<string, string>>,
  options: { readonly folder?: string; readonly arguments?: readonly string[] } = {},
): Promise<RunningProxy> {
  return startProxyProcess({ upstream, ...options, environment: { ...atOnce, ...environment } })
}

/** What an agent does in one session. */
export async function asAgent<Result>(proxy: RunningProxy, work: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client(proxy.url())
  // A connection that a killed proxy takes along: the statement that waits for it says so.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export type Recorded = StatementSummary & IndexLine

/** Every statement of the store, by session and number. */
export async function recordedStatements(storeUrl: string): Promise<Recorded[]> {
  const store = await openStore(storeUrl)
  const statements: Recorded[] = []
  for await (const session of sessionIds(store, 'oldest'))
    for await (const line of readStatements<Recorded>(store, session)) statements.push(line)
  return statements
}

export const traceparent = ({ traceId, parentSpanId, sampled }: NonNullable<StatementSummary['trace']>): string =>
  `00-${traceId}-${parentSpanId}-${sampled ? '01' : '00'}`

/** What sqlcommenter writes behind a statement. */
export const sqlcomment = (trace: NonNullable<StatementSummary['trace']>): string =>
  `/*framework='agent%3A1',traceparent='${encodeURIComponent(traceparent(trace))}'*/`
