/**
 * What is measured: each load with its question, and how to put it on a contestant once.
 *
 * A load returns how much it did and how fast; what that cost the proxy is measured around it (`slot.ts`).
 */
import { fileURLToPath } from 'node:url'
import { runPgbench, type PgbenchOptions } from './pgbench.ts'
import { runProgram } from './processes.ts'
import type { Command } from './programs.ts'
import type { BulkResult } from './clients/bulk.ts'

/** Where a client connects and as whom: the same for each contestant but for the port and TLS. */
export type ClientTarget = { readonly port: number; readonly tls: boolean; readonly user: string; readonly password: string }

export type LoadContext = {
  readonly pgbench: Command
  readonly folder: string
  readonly seconds: number
  readonly bulkBytes: number
}

export type LoadResult = {
  /** In the load's unit per second: more is better. */
  readonly perSecond: number
  /** How many units were done, to share the CPU time among. */
  readonly units: number
  readonly latencyMilliseconds: { readonly p50: number; readonly p99: number } | null
}

export type Load = {
  readonly name: string
  readonly question: string
  /** What is counted. CPU time is given per one of these. */
  readonly unit: 'query' | 'MB' | 'connect'
  /** True when each log-in must reach the server: a pooler then may not keep server connections. */
  readonly freshServerConnections: boolean
  run(target: ClientTarget, context: LoadContext): Promise<LoadResult>
}

const bulkMillisecondsMax = 60_000
const bulkProgram = fileURLToPath(new URL('clients/bulk.ts', import.meta.url))

export const loads: readonly Load[] = [
  ...([1, 8, 32] as const).flatMap((clients) =>
    (['simple', 'extended', 'prepared'] as const).map((protocol) =>
      pgbenchLoad(`${protocol}-${clients}`, `What does a short query cost? ${protocol} protocol, ${clients} at once, one row by key.`, {
        clients,
        protocol,
        script: 'key',
      }),
    ),
  ),
  pgbenchLoad('rows-1000', 'What does a result of 1,000 short rows cost? Simple protocol, 8 at once.', {
    clients: 8,
    protocol: 'simple',
    script: 'rows',
  }),
  bulkLoad('result', 'How fast does a large result pass? One client, rows of 1 KiB.'),
  bulkLoad('copy-out', 'How fast does COPY TO STDOUT pass? One client, rows of 1 KiB.'),
  bulkLoad('copy-in', 'How fast does COPY FROM STDIN pass? One client, into a temporary table.'),
  {
    ...pgbenchLoad('connects', 'What does a log-in cost? SCRAM, 8 at once, a connection for each query.', {
      clients: 8,
      protocol: 'simple',
      script: 'one',
      reconnect: true,
    }),
    unit: 'connect',
    freshServerConnections: true,
  },
]

function pgbenchLoad(
  name: string,
  question: string,
  shape: Pick<PgbenchOptions, 'clients' | 'protocol' | 'script'> & { readonly reconnect?: boolean },
): Load {
  return {
    name,
    question,
    unit: 'query',
    freshServerConnections: false,
    async run(target, { pgbench, folder, seconds }) {
      const environment = { ...pgbench.environment, ...libpqEnvironment(target) }
      const { command } = pgbench
      const result = await runPgbench({ reconnect: false, ...shape, command, environment, port: target.port, folder, seconds })
      return { perSecond: result.perSecond, units: result.transactions, latencyMilliseconds: result.latencyMilliseconds }
    },
  }
}

function bulkLoad(name: 'result' | 'copy-out' | 'copy-in', question: string): Load {
  return {
    name,
    question,
    unit: 'MB',
    freshServerConnections: false,
    async run(target, { bulkBytes }) {
      const { seconds, bytes } = await runBulk(target, name, bulkBytes)
      return { perSecond: bytes / 1e6 / seconds, units: bytes / 1e6, latencyMilliseconds: null }
    },
  }
}

/** Runs the bulk client once. Throws when it fails, or when what came is not what was asked for. */
export async function runBulk(
  target: ClientTarget,
  load: 'result' | 'copy-out' | 'copy-in' | 'slow-result',
  bytes: number,
  { passes = 1 }: { readonly passes?: number } = {},
): Promise<BulkResult> {
  const place = [String(target.port), target.user, 'postgres', target.tls ? 'tls' : 'plain']
  const output = await runProgram([process.execPath, bulkProgram, ...place, load, String(bytes), String(passes)], {
    environment: { PGPASSWORD: target.password },
    millisecondsMax: bulkMillisecondsMax * passes,
  })
  const result: unknown = JSON.parse(output)
  if (!isBulkResult(result)) throw new Error(`the bulk client printed ${output.slice(0, 200)}`)
  return result
}

function isBulkResult(value: unknown): value is BulkResult {
  return (
    typeof value === 'object' &&
    value !== null &&
    'seconds' in value &&
    typeof value.seconds === 'number' &&
    value.seconds > 0 &&
    'bytes' in value &&
    typeof value.bytes === 'number' &&
    'rows' in value &&
    typeof value.rows === 'number'
  )
}

function libpqEnvironment({ tls, user, password }: ClientTarget): Record<string, string> {
  // Without GSS a client asks for nothing first, so that a proxy's answer to that question is not part of a log-in.
  return { PGUSER: user, PGPASSWORD: password, PGSSLMODE: tls ? 'require' : 'disable', PGGSSENCMODE: 'disable' }
}
