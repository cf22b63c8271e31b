/**
 * Steno as a person runs it, for tests: `bin/steno proxy` in a process of its own on a free port, and the other commands.
 *
 * Store, spool and configuration live in one folder below the system's temporary folder, removed on disposal unless the caller named
 * it. A small shell ends the proxy when the test's process ends, however it ends.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { runToEnd } from '../../tools/run-to-end.ts'
import { endWithThisProcess } from './guard.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const listenMillisecondsMax = 120_000
const stopMillisecondsMax = 120_000

/** A running proxy. `await using` stops it in good order. */
export type RunningProxy = AsyncDisposable & {
  readonly host: string
  readonly port: number
  readonly pid: number
  readonly storeUrl: string
  readonly storeFolder: string
  readonly spoolFolder: string
  /** The folder that holds store and spool: given to `startProxyProcess` again, the next proxy goes on with them. */
  readonly folder: string
  /** What it wrote to standard error so far: one JSON object a line. */
  readonly log: () => string
  readonly standardOutput: Readable | null
  /** For agents. Without a user, clients take `agent`. */
  url(options?: AgentUrl): string
  /** SIGKILL; returns when the process is gone. */
  kill(): Promise<void>
  /** SIGTERM; returns the exit code, 0 when all is stored. A proxy that does not end within two minutes is killed: -1. */
  stop(): Promise<number>
}

export type AgentUrl = { readonly user?: string; readonly password?: string; readonly database?: string; readonly sslmode?: string }

export type ProxyOptions = {
  /** The connection string; goes through the environment, so it may hold a password. */
  readonly upstream: string
  /** Where store and spool are, of an earlier proxy or to be inspected later; the caller removes it. */
  readonly folder?: string
  /** More arguments of `steno proxy`; a later one wins over an earlier. */
  readonly arguments?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** The descriptor of what its standard output is, or `pipe` for a socket that `standardOutput` reads; nothing reads it unless told. */
  readonly standardOutput?: number | 'pipe'
}

/** Starts a proxy and returns when it listens. Throws with its log when it ends instead. */
export async function startProxyProcess(options: ProxyOptions): Promise<RunningProxy> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'steno-proxy-'))
  const storeFolder = join(folder, 'store')
  const spoolFolder = join(folder, 'spool')
  const storeUrl = pathToFileURL(storeFolder).href
  await mkdir(storeFolder, { recursive: true })
  const child = spawn(
    program,
    [
      ...['proxy', '--listen', '127.0.0.1:0', '--store', storeUrl, '--spool', spoolFolder, '--segment-milliseconds', '200'],
      ...(options.arguments ?? []),
    ],
    {
      stdio: ['ignore', options.standardOutput ?? 'ignore', 'pipe'],
      env: { ...cleanEnvironment(), STENO_UPSTREAM: options.upstream, ...options.environment },
    },
  )
  await once(child, 'spawn')
  const guard = endWithThisProcess(child.pid!)
  let log = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (log += text))
  const exited = once(child, 'exit').then(() => guard.kill('SIGKILL'))

  async function end(signal: NodeJS.Signals): Promise<number> {
    const timer = setTimeout(() => child.kill('SIGKILL'), stopMillisecondsMax)
    child.kill(signal)
    await exited
    clearTimeout(timer)
    return child.exitCode ?? -1
  }
  async function dispose(): Promise<void> {
    await end('SIGTERM')
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
  }
  let address: { host: string; port: number }
  try {
    address = await untilListening(child, () => log)
  } catch (error) {
    await end('SIGKILL')
    await dispose()
    throw error
  }
  const { host, port } = address
  return {
    ...{ host, port, pid: child.pid!, storeUrl, storeFolder, spoolFolder, folder },
    log: () => log,
    standardOutput: child.stdout,
    url: (agent = {}) => agentUrl(host, port, agent),
    async kill() {
      await end('SIGKILL')
    },
    stop: () => end('SIGTERM'),
    [Symbol.asyncDispose]: dispose,
  }
}

const drainStartsMax = 10

/**
 * Stops a proxy, and starts and stops others with its spool and store until all is stored. A stop waits so long and no longer, and says
 * by its exit code that the next start goes on: much data on a busy disk takes more than one.
 */
export async function stopUntilStored(proxy: RunningProxy, upstream: string): Promise<void> {
  let last = proxy
  for (let stops = 1; (await last.stop()) !== 0; stops++) {
    if (stops === drainStartsMax || !last.log().includes('not everything is stored; the spool keeps the rest'))
      throw new Error(`the proxy does not store what it recorded:\n${last.log()}`)
    last = await startProxyProcess({ upstream, folder: proxy.folder })
  }
}

async function untilListening(child: ChildProcess, log: () => string): Promise<{ host: string; port: number }> {
  const giveUp = AbortSignal.timeout(listenMillisecondsMax)
  for (;;) {
    // As JSON, or as `--log-format pretty` has it.
    const address = /(?:"address":"|  listening  address=)([^\s"]+)["\s]/.exec(log())?.[1]
    if (address !== undefined) {
      const colon = address.lastIndexOf(':')
      return { host: address.slice(0, colon), port: Number(address.slice(colon + 1)) }
    }
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`steno ended before it listened:\n${log()}`)
    const settled = new AbortController()
    const signal = AbortSignal.any([settled.signal, giveUp])
    try {
      await Promise.race([once(child.stderr!, 'data', { signal }), once(child, 'exit', { signal })])
    } catch (error) {
      throw new Error(`steno does not listen:\n${log()}`, { cause: error })
    } finally {
      settled.abort()
    }
  }
}

function agentUrl(host: string, port: number, { user = 'agent', password, database, sslmode }: AgentUrl): string {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const query = sslmode === undefined ? '' : `?sslmode=${sslmode}`
  return `postgresql://${encodeURIComponent(user)}${secret}@${host}:${port}/${encodeURIComponent(database ?? 'postgres')}${query}`
}

export type StenoResult = { readonly status: number; readonly stdout: string; readonly stderr: string }

/** Runs `bin/steno` to its end. `status` is -1 when a signal ended it. */
export async function steno(
  args: readonly string[],
  options: { readonly environment?: Readonly<Record<string, string>>; readonly input?: string } = {},
): Promise<StenoResult> {
  const { environment, input } = options
  const { code, ...texts } = await runToEnd(program, args, { env: { ...cleanEnvironment(), ...environment }, input: input ?? '' })
  return { status: code, ...texts }
}

/** Without what the developer's own shell says about databases, stores, collectors and colours (so does a test runner on a terminal), and their config file. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG[A-Z]|STENO_|OTEL_|NO_COLOR$|FORCE_COLOR$)/.test(name))
  return { ...Object.fromEntries(kept), STENO_CONFIG: '' }
}
