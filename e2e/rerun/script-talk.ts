/**
 * What node-postgres does not say by itself: several executions before one Sync, parameters with the types and bytes that a test chooses,
 * COPY data behind one simple query. Answers are dropped; an error ends the talk as an answer does.
 */
import pg from 'pg'
import type { RunningProxy } from '../support/proxy.ts'

/** A connection through the proxy, whose loss is no error. */
export async function clientOf(proxy: RunningProxy, database: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: proxy.url({ database }), ssl: false })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** Each text as one simple query; errors are part of it. */
export function sayAll(texts: readonly string[]) {
  return async (proxy: RunningProxy, database: string): Promise<void> => {
    const client = await clientOf(proxy, database)
    for (const text of texts) await client.query(text).catch(() => undefined)
    await client.end()
  }
}

type Connection = {
  readonly stream: { write(bytes: Buffer): void }
  parse(query: object): void
  bind(query: object): void
  execute(query: object): void
  sync(): void
  query(text: string): void
  sendCopyFromChunk(chunk: Buffer): void
  endCopyFrom(): void
}

/** Lets `submit` speak the protocol; resolves at the next ReadyForQuery. */
export function converse(
  client: pg.Client,
  submit: (connection: Connection) => void,
  onCopyIn: (connection: Connection) => void = () => undefined,
): Promise<void> {
  const ignore = (): undefined => undefined
  return new Promise((resolve) => {
    client.query({
      // What it returns is taken for an error.
      submit(connection: unknown): void {
        submit(connection as Connection)
      },
      ...{ handleCommandComplete: ignore, handleRowDescription: ignore, handleDataRow: ignore },
      ...{ handlePortalSuspended: ignore, handleEmptyQuery: ignore, handleCopyData: ignore },
      handleCopyInResponse: (connection: unknown) => onCopyIn(connection as Connection),
      // Behind an error the client tells its query of nothing more, but waits itself.
      handleError: () => resolve(),
      handleReadyForQuery: () => resolve(),
    } as unknown as pg.Submittable)
  })
}

type Execution = { readonly text: string; readonly types?: readonly number[]; readonly values?: readonly Buffer[] }

/** Parse, Bind, Execute of each, then one Sync. */
export function pipeline(client: pg.Client, executions: readonly Execution[]): Promise<void> {
  return converse(client, (connection) => {
    for (const { text, types = [], values = [] } of executions) {
      connection.parse({ text, name: '', types })
      connection.bind({ portal: '', statement: '', values })
      connection.execute({ portal: '', rows: 0 })
    }
    connection.sync()
  })
}

/** A simple query that asks for COPY data as often as there is some. */
export function copyIn(client: pg.Client, sql: string, ...data: readonly string[]): Promise<void> {
  const waiting = [...data]
  return converse(
    client,
    (connection) => connection.query(sql),
    (connection) => {
      connection.sendCopyFromChunk(Buffer.from(waiting.shift() ?? ''))
      connection.endCopyFrom()
    },
  )
}
