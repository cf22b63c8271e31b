/**
 * A real PostgreSQL for tests, demo and benchmark: started on a free port with a random password, and always stopped.
 *
 * Everything it writes is one folder below the system's temporary folder, mode 0700, removed on stop. A small shell holds the other end of a
 * pipe from this process: when this process ends, however it ends, the shell stops the server and removes the folder.
 * Tuned for tests (no fsync, small memory); `settings` overrides each of that.
 */
import { execFile, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, closeSync, mkdtempSync, openSync, readFileSync, readdirSync } from 'node:fs'
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { KnownError, systemCodeOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { writeCertificates } from './certificates.ts'
import type { CertificateFiles } from './certificates.ts'
import { describeFailure, findPostgresPackage, programOf } from './postgres-package.ts'
import type { PostgresPackage, PostgresVersion } from './postgres-package.ts'
import { freePort } from './free-port.ts'

const superuser = 'postgres'
const host = '127.0.0.1'
const passwordBytes = 18
const startMillisecondsMax = 120_000
const stopMillisecondsMax = 60_000
const pollMilliseconds = 10
const portAttemptsMax = 5

/** A running server. `await using` stops it. */
export type EmbeddedPostgres = AsyncDisposable & {
  readonly host: string
  readonly port: number
  readonly superuser: string
  /** Random per start; letters and digits only. */
  readonly password: string
  /** `postgresql://user:password@127.0.0.1:port/postgres` */
  readonly url: string
  /** The server's own log. Removed by `stop`: read it before. Connections of `query` have application name `steno-tools`. */
  readonly logFile: string
  /** The data folder and all beside it; removed by `stop`. */
  readonly folder: string
  /** Process id of the postmaster. */
  readonly pid: number
  /** PEM files, when started with `tls`. */
  readonly certificates: CertificateFiles | null
  /** Runs SQL directly (through a Unix socket, so that no `hba` line can lock it out); several statements give the last one's rows. */
  query(sql: string, database?: string): Promise<Record<string, unknown>[]>
  /** `fast` ends sessions and shuts down cleanly, `immediate` is a crash. A second call waits for the first. */
  stop(how?: 'fast' | 'immediate'): Promise<void>
}

export type PostgresOptions = {
  /** 18 unless told. */
  readonly version?: PostgresVersion
  /** Also accept TLS, with certificates for localhost and 127.0.0.1. Plain connections stay possible unless `hba` says otherwise. */
  readonly tls?: boolean
  /** The method for connections over TCP; `scram-sha-256` unless told. `cert` needs `tls`. */
  readonly authentication?: 'scram-sha-256' | 'md5' | 'password' | 'trust' | 'cert'
  /** Lines for postgresql.conf; they win over the defaults here. */
  readonly settings?: Readonly<Record<string, string>>
  /** Lines of pg_hba.conf, read before the default ones. */
  readonly hba?: readonly string[]
}

/** The server did not come up; the message holds what it logged. */
export class PostgresNotStarted extends KnownError {
  readonly code = 'POSTGRES_NOT_STARTED'
  readonly remedy = 'Read the log lines in the message; an unknown setting and a full disk are the usual causes.'
  readonly safeToRetry = true
}

/** Starts a server and returns when it accepts connections (about a second). Throws PostgresPackageMissing, PostgresNotStarted. */
export async function startPostgres(options: PostgresOptions = {}): Promise<EmbeddedPostgres> {
  const authentication = options.authentication ?? 'scram-sha-256'
  invariant(authentication !== 'cert' || options.tls === true, 'certificate authentication is asked for together with tls')
  const program = findPostgresPackage(options.version ?? 18)
  const folder = mkdtempSync(join(tmpdir(), 'steno-postgres-')) // mkdtemp makes it 0700.
  const guard = startGuard(folder)
  try {
    const password = randomBytes(passwordBytes).toString('hex')
    const [certificates] = await Promise.all([
      options.tls === true ? prepareCertificates(folder) : null,
      initialise({ program, folder, password, encryption: authentication === 'md5' ? 'md5' : 'scram-sha-256' }),
    ])
    await configure({ folder, authentication, certificates, options })
    if (program.identity !== null) chownTree(folder, program.identity)
    const server = await startServer({ program, folder, guard })
    return describe({ folder, guard, server, password, certificates })
  } catch (error) {
    await guard.end()
    throw error
  }
}

// The shell reads the id of the server, or an empty line once it has gone, until the pipe from this process closes.
const guardScript = `
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.05; done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
`

type Guard = {
  watch(pid: number | null): void
  /** Lets the shell do its work, and waits for it: afterwards the folder is gone. */
  end(): Promise<void>
}

function startGuard(folder: string): Guard {
  // Detached: Ctrl-C reaches the whole group of a terminal, and the guard has to outlive it.
  const shell = spawn('/bin/sh', ['-c', guardScript, 'steno-postgres-guard', folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = once(shell, 'exit')
  const { stdin } = shell
  stdin.on('error', () => undefined) // A guard that somebody killed must not take the test down; the server is stopped all the same.
  shell.unref()
  if ('unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
  return {
    watch(pid) {
      stdin.write(`${pid ?? ''}\n`)
    },
    async end() {
      shell.ref()
      stdin.end()
      await ended
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function prepareCertificates(folder: string): Promise<CertificateFiles> {
  const certificateFolder = join(folder, 'certificates')
  await mkdir(certificateFolder, { mode: 0o700 })
  return writeCertificates(certificateFolder, { user: superuser })
}

type Initialisation = { program: PostgresPackage; folder: string; password: string; encryption: 'md5' | 'scram-sha-256' }

async function initialise({ program, folder, password, encryption }: Initialisation): Promise<void> {
  const passwordFile = join(folder, 'password')
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 })
  if (program.identity !== null) chownTree(folder, program.identity)
  const initdb = programOf(program, 'initdb')
  const [command = '', ...rest] = [
    ...program.prefix,
    initdb,
    ...['-D', join(folder, 'data'), '-U', superuser, `--pwfile=${passwordFile}`, `--auth=${encryption}`],
    ...['--no-sync', '--no-instructions', '--locale=C', '--encoding=UTF8'],
  ]
  try {
    await promisify(execFile)(command, rest, { cwd: folder, env: program.environment, ...program.identity })
  } catch (error) {
    throw describeFailure('initdb', error)
  } finally {
    await rm(passwordFile, { force: true })
  }
}

type Configuration = {
  folder: string
  authentication: NonNullable<PostgresOptions['authentication']>
  certificates: CertificateFiles | null
  options: PostgresOptions
}

async function configure({ folder, authentication, certificates, options }: Configuration): Promise<void> {
  const encryption = authentication === 'md5' ? 'md5' : 'scram-sha-256'
  const settings: Record<string, string> = {
    listen_addresses: host,
    unix_socket_directories: folder,
    unix_socket_permissions: '0700',
    password_encryption: encryption,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    shared_buffers: '32MB',
    max_connections: '100',
    autovacuum: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] %a %d ',
  }
  if (certificates !== null) {
    Object.assign(settings, {
      ssl: 'on',
      ssl_ca_file: certificates.ca,
      ssl_cert_file: certificates.server,
      ssl_key_file: certificates.serverKey,
    })
  }
  Object.assign(settings, options.settings)
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`)
  await appendFile(join(folder, 'data', 'postgresql.conf'), `\n${lines.join('\n')}\n`)
  // `query` comes in by the socket, whose folder only this user can enter.
  const type = authentication === 'cert' ? 'hostssl' : 'host'
  const hba = [
    `local all ${superuser} ${encryption}`,
    ...(options.hba ?? []),
    ...['all', 'replication'].map((name) => `${type} ${name} all all ${authentication}`),
  ]
  await writeFile(join(folder, 'data', 'pg_hba.conf'), `${hba.join('\n')}\n`)
}

type Server = { readonly process: ChildProcess; readonly pid: number; readonly port: number; readonly logFile: string }

async function startServer({ program, folder, guard }: { program: PostgresPackage; folder: string; guard: Guard }): Promise<Server> {
  const logFile = join(folder, 'server.log')
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const log = openSync(logFile, 'w', 0o600)
    const [command, ...rest] = [...program.prefix, programOf(program, 'postgres'), '-D', join(folder, 'data'), '-p', String(port)]
    const child = spawn(command, rest, {
      cwd: folder,
      env: program.environment,
      detached: true, // Ctrl-C is for the test; what becomes of the server is decided here.
      stdio: ['ignore', log, log],
      ...program.identity,
    })
    closeSync(log)
    const { pid } = child
    if (pid === undefined) {
      const [error] = (await once(child, 'error')) as [Error]
      throw new PostgresNotStarted(`cannot run ${command}: ${error.message}`, { cause: error })
    }
    guard.watch(pid)
    child.once('exit', () => guard.watch(null))
    if (await untilReady(child, join(folder, 'data', 'postmaster.pid'))) {
      child.unref()
      return { process: child, pid, port, logFile }
    }
    const logged = await readFile(logFile, 'utf8')
    // Between finding a free port and using it another process may have taken it.
    if (attempt < portAttemptsMax && logged.includes('Address already in use')) continue
    throw new PostgresNotStarted(`PostgreSQL did not start:\n${logged.trim()}`)
  }
}

/** True once the postmaster says `ready` in its pid file, false when it has exited or took too long (and is killed). */
async function untilReady(child: ChildProcess, pidFile: string): Promise<boolean> {
  const deadline = performance.now() + startMillisecondsMax
  while (child.exitCode === null && child.signalCode === null) {
    if (performance.now() > deadline) {
      child.kill('SIGKILL')
      return false
    }
    if (statusIn(pidFile) === 'ready') return true
    await sleep(pollMilliseconds)
  }
  return false
}

function statusIn(pidFile: string): string {
  const statusLine = 7 // The eighth line of postmaster.pid, since PostgreSQL 10.
  try {
    return readFileSync(pidFile, 'utf8').split('\n')[statusLine]?.trim() ?? ''
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return '' // Not written yet.
    throw error
  }
}

function chownTree(path: string, identity: { uid: number; gid: number }): void {
  chownSync(path, identity.uid, identity.gid)
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) chownTree(inner, identity)
    else chownSync(inner, identity.uid, identity.gid)
  }
}

type Running = { folder: string; guard: Guard; server: Server; password: string; certificates: CertificateFiles | null }

function describe({ folder, guard, server, password, certificates }: Running): EmbeddedPostgres {
  let stopped: Promise<void> | undefined
  const { process: child, port, pid, logFile } = server
  async function stopOnce(how: 'fast' | 'immediate'): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      child.ref()
      const ended = once(child, 'exit')
      child.kill(how === 'fast' ? 'SIGINT' : 'SIGQUIT')
      const timer = setTimeout(() => child.kill('SIGKILL'), stopMillisecondsMax)
      await ended
      clearTimeout(timer)
    }
    await guard.end()
  }
  function stop(how: 'fast' | 'immediate' = 'fast'): Promise<void> {
    stopped ??= stopOnce(how)
    return stopped
  }
  return {
    ...{ host, port, pid, superuser, password, logFile, folder, certificates },
    url: `postgresql://${superuser}:${password}@${host}:${port}/postgres`,
    async query(sql, database = 'postgres') {
      const client = new pg.Client({ host: folder, port, user: superuser, password, database, application_name: 'steno-tools' })
      await client.connect()
      try {
        const answer: pg.QueryResult | pg.QueryResult[] = await client.query(sql)
        const last = Array.isArray(answer) ? answer.at(-1) : answer
        return (last?.rows ?? []) as Record<string, unknown>[]
      } finally {
        await client.end()
      }
    },
    stop,
    [Symbol.asyncDispose]: () => stop(),
  }
}
