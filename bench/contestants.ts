/**
 * Who is measured, and how each is started: every proxy on its own port of 127.0.0.1, with its files in one folder of its own.
 *
 * A contestant's clients always speak plain text to it (except `direct-tls`, which has no proxy); what differs is the way from proxy to database.
 * HAProxy has no form with TLS to the database: PostgreSQL's TLS begins with an SSLRequest that a TCP proxy does not send.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EmbeddedPostgres } from '../tools/embedded-postgres.ts'
import { freePort } from '../tools/free-port.ts'
import { startProgram, waitUntilListening, type Program } from './processes.ts'
import { listenerUnder } from './proc.ts'
import type { ClientTarget } from './loads.ts'
import { haproxyCommand } from './peers/haproxy.ts'
import { commandOf, type Command } from './programs.ts'

export const contestantNames = [
  'direct',
  'node-copy',
  'haproxy',
  'pgbouncer',
  'steno-custody',
  'steno-pass-through',
  'direct-tls',
  'node-copy-tls',
  'pgbouncer-tls',
  'steno-custody-tls',
  'steno-pass-through-tls',
] as const
export type ContestantName = (typeof contestantNames)[number]

export type StartContext = {
  readonly database: EmbeddedPostgres
  /** An empty folder of this contestant's own. */
  readonly folder: string
  /** See `Load.freshServerConnections`. */
  readonly freshServerConnections: boolean
  /** Added to the proxy's environment. */
  readonly environment?: Readonly<Record<string, string>>
}

export type Running = {
  readonly target: ClientTarget
  /** Null for a direct connection: then there is nothing to account for. */
  readonly proxy: { readonly pid: number; readonly program: Program } | null
  stop(): Promise<void>
}

export function isTls(name: ContestantName): boolean {
  return name.endsWith('-tls')
}

/** True of a proxy that goes on working after the load, on what it recorded. */
export function isRecorder(name: ContestantName): boolean {
  return name.startsWith('steno-')
}

/** Starts a contestant and returns when it accepts connections. Throws with the end of its log when it does not. */
export async function startContestant(name: ContestantName, context: StartContext): Promise<Running> {
  const { database, folder } = context
  const account = { user: database.superuser, password: database.password }
  if (name === 'direct' || name === 'direct-tls') {
    return { target: { port: database.port, tls: isTls(name), ...account }, proxy: null, stop: async () => undefined }
  }
  await mkdir(folder, { recursive: true })
  const port = await freePort()
  const { command, environment } = await prepare(name, port, context)
  const program = await startProgram(command, {
    logFile: join(folder, 'log'),
    environment: { ...environment, ...context.environment },
    directory: folder,
  })
  try {
    await waitUntilListening(program, port)
    const proxy = { pid: listenerUnder(program.pid, port), program }
    return { target: { port, tls: false, ...account }, proxy, stop: () => program.stop() }
  } catch (error) {
    await program.stop()
    throw error
  }
}

async function prepare(name: Exclude<ContestantName, 'direct' | 'direct-tls'>, port: number, context: StartContext): Promise<Command> {
  const tls = isTls(name)
  switch (name) {
    case 'node-copy':
    case 'node-copy-tls':
      return nodeCopy(port, context, tls)
    case 'haproxy':
      return haproxyCommand(join(context.folder, 'haproxy.cfg'), { port, server: `127.0.0.1:${context.database.port}` })
    case 'pgbouncer':
    case 'pgbouncer-tls':
      return pgbouncer(port, context, tls)
    case 'steno-custody':
    case 'steno-custody-tls':
      return steno(port, context, tls, 'custody')
    case 'steno-pass-through':
    case 'steno-pass-through-tls':
      return steno(port, context, tls, 'pass-through')
    default:
      return name satisfies never
  }
}

function nodeCopy(port: number, { database, folder }: StartContext, tls: boolean): Command {
  const program = fileURLToPath(new URL('peers/node-copy.ts', import.meta.url))
  const parameters = [String(port), String(database.port), ...(tls ? ['--tls'] : [])]
  // As bin/steno does for steno.
  return { command: [process.execPath, program, ...parameters], environment: { NODE_COMPILE_CACHE: join(folder, '..', 'compile-cache') } }
}

async function pgbouncer(port: number, { database, folder, freshServerConnections }: StartContext, tls: boolean): Promise<Command> {
  const users = join(folder, 'users.txt')
  const file = join(folder, 'pgbouncer.ini')
  await writeFile(users, `"${database.superuser}" "${database.password}"\n`, { mode: 0o600 })
  // A lifetime of 0 uses a server connection for one client and closes it, so that a log-in costs a log-in at the server, as it does elsewhere.
  await writeFile(
    file,
    `[databases]
postgres = host=127.0.0.1 port=${database.port} dbname=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${users}
pool_mode = session
max_client_conn = 2000
default_pool_size = 1100
server_lifetime = ${freshServerConnections ? 0 : 3600}
server_tls_sslmode = ${tls ? 'require' : 'disable'}
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
stats_period = 3600
`,
  )
  const { command, environment } = await commandOf('pgbouncer')
  return { command: [...command, file], environment }
}

async function steno(port: number, { database, folder }: StartContext, tls: boolean, mode: 'custody' | 'pass-through'): Promise<Command> {
  const store = join(folder, 'store')
  const spool = join(folder, 'spool')
  await Promise.all([mkdir(store), mkdir(spool)])
  const account = mode === 'custody' ? `${database.superuser}:${database.password}@` : ''
  const upstream = `postgresql://${account}127.0.0.1:${database.port}/postgres?sslmode=${tls ? 'require' : 'disable'}`
  const program = fileURLToPath(new URL('../bin/steno', import.meta.url))
  const parameters = ['proxy', '--listen', `127.0.0.1:${port}`, '--store', `file://${store}`, '--spool', spool]
  return { command: [program, ...parameters], environment: { STENO_UPSTREAM: upstream } }
}
