/** `steno proxy`: reads what the proxy is told, runs it until a signal, and ends it in good order. */
import { readFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import path from 'node:path'
import { Command, InvalidArgumentError, Option } from 'commander'
import { KnownError, messageOf } from '../base/errors.ts'
import { createLog } from '../base/log.ts'
import { Secret } from '../postgres/authentication/secret.ts'
import { parseConnectionString, redactedText, type ConnectionSettings } from '../postgres/connection-string.ts'
import {
  defaultSegmentLimits,
  defaultSpoolLimits,
  startProxy,
  storeWaitMillisecondsStandard,
  traceSettingsFrom,
  type ProxySettings,
  type Stopped,
} from '../sidecar/main.ts'
import { isLoopback } from './loopback.ts'
import { recordingLevels, type RecordingLevel } from '../session/identity.ts'
import { stateFolder } from './state-folder.ts'
import { storeOption } from './store-option.ts'

/** Options that cannot hold at the same time, or something needed that is missing. */
export class BadSettings extends KnownError {
  readonly code = 'BAD_SETTINGS'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string, cause?: unknown) {
    super(what, { cause })
    this.remedy = remedy
  }
}

type Options = {
  readonly listen: { readonly host: string; readonly port: number }
  readonly store: string
  readonly spool: string
  readonly upstream?: string
  readonly upstreamFile?: string
  readonly databases: readonly string[]
  readonly agentTokenFile?: string
  readonly allowCleartextPassword: boolean
  readonly level: RecordingLevel
  readonly storeWaitMilliseconds: number
  readonly onRecordFailure: 'block' | 'continue'
  readonly recordWaitMilliseconds: number
  readonly spoolBytesMax: number
  readonly spoolAgeMillisecondsMax: number
  readonly segmentBytesMax: number
  readonly segmentMilliseconds: number
  readonly connectionsMax: number
  readonly startupMillisecondsMax: number
  readonly drainMilliseconds: number
  readonly metricsListen?: { readonly host: string; readonly port: number }
  readonly live: 'on' | 'off'
  readonly liveSqlCharacters: number
  readonly traceQueryText: 'sanitized' | 'none'
  readonly logFormat: 'json' | 'pretty'
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

/** Of `steno proxy` and `steno run`. */
export function levelOption(): Option {
  return new Option(
    '--level <level>',
    'what is kept of results: only their size (statements), or all of them; and when they reach agents: once the spool has them, or only once the store has (stored, slower)',
  )
    .choices(recordingLevels)
    .default('results')
}

export function command(): Command {
  return new Command('proxy')
    .description(
      'Stands between agents and a PostgreSQL database: every statement and every result is in the spool before it goes on, and\n' +
        'sealed into the store from there. When the upstream names a user, agents need no credential (custody); when it names none,\n' +
        'each agent signs in at the database itself (pass-through).',
    )
    .addOption(
      new Option('--listen <address>', 'where agents connect')
        .default({ host: '127.0.0.1', port: 6432 }, '127.0.0.1:6432')
        .argParser(address),
    )
    .addOption(storeOption())
    .option('--spool <folder>', 'local folder that holds recordings until the store has them', path.join(stateFolder(process.env), 'spool'))
    .option('--upstream <string>', 'the database, as a connection string without a password')
    .option('--upstream-file <file>', 'a file that holds the connection string; else the environment variable STENO_UPSTREAM')
    .option('--databases <name...>', "databases open to agents beside the upstream's own (custody)", [])
    .option('--agent-token-file <file>', 'a file with the token that agents must give as their password (custody)')
    .option('--allow-cleartext-password', 'send the password in the clear without TLS when the database asks for that', false)
    .addOption(levelOption())
    .addOption(
      milliseconds(
        '--store-wait-milliseconds <n>',
        'how long a result waits for the store at level stored before its session ends',
        storeWaitMillisecondsStandard,
      ),
    )
    .addOption(
      new Option('--on-record-failure <what>', 'what happens to traffic that cannot be recorded')
        .choices(['block', 'continue'])
        .default('block'),
    )
    .addOption(milliseconds('--record-wait-milliseconds <n>', 'how long traffic waits for a spool that refuses before that', 10_000))
    .addOption(count('--spool-bytes-max <n>', 'what may wait for the store before traffic waits', defaultSpoolLimits.unshippedBytesMax))
    .addOption(
      milliseconds(
        '--spool-age-milliseconds-max <n>',
        'how old it may grow before traffic waits',
        defaultSpoolLimits.unshippedMillisecondsMax,
      ),
    )
    .addOption(count('--segment-bytes-max <n>', 'a part of a session is stored when it is this large', defaultSegmentLimits.bytesMax))
    .addOption(milliseconds('--segment-milliseconds <n>', 'or this old', defaultSegmentLimits.ageMilliseconds))
    .addOption(count('--connections-max <n>', 'agents served at a time', 1_000))
    .addOption(milliseconds('--startup-milliseconds-max <n>', 'how long a connection may take to begin its session', 60_000))
    .addOption(milliseconds('--drain-milliseconds <n>', 'how long a stopping proxy lets statements end', 5_000))
    .addOption(new Option('--metrics-listen <address>', 'serve /metrics, /healthz and /readyz here').argParser(address))
    .addOption(
      new Option('--live <state>', 'print a line on standard output for each statement that ended').choices(['on', 'off']).default('on'),
    )
    .addOption(count('--live-sql-characters <n>', 'so much SQL in each line; 0 for none', 1_000))
    .addOption(
      new Option('--log-format <format>', 'how those lines and the log on standard error read: for programs or for people')
        .choices(['json', 'pretty'])
        .default('json'),
    )
    .addOption(
      new Option(
        '--trace-query-text <what>',
        'SQL in spans, when OTEL_EXPORTER_OTLP_ENDPOINT is set: without literals and comments, or none',
      )
        .choices(['sanitized', 'none'])
        .default('sanitized'),
    )
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error', 'silent']).default('info'))
    .addHelpText(
      'after',
      `
Examples:
  STENO_UPSTREAM='postgresql://shop:secret@db.internal/shop?sslmode=verify-full' steno proxy --store file:///var/lib/steno
  steno proxy --upstream-file /run/secrets/upstream --listen 127.0.0.1:6432 --agent-token-file /run/secrets/agent-token
  steno proxy --upstream 'host=db.internal sslmode=require'      # pass-through: agents bring their own credential
  steno proxy --upstream-file upstream --log-format pretty       # watch it in a terminal

The proxy ends on SIGTERM or SIGINT: sessions may finish their statement, and everything is stored. A second signal does not wait.
Exit code 0: everything is stored; 1: it did not start, or the spool still holds recordings, which the next start stores.`,
    )
    .action(async (options: Options) => run(settingsFrom(options, process.env), options))
}

async function run(settings: ProxySettings, options: Options): Promise<void> {
  const log = createLog({ level: options.logLevel, format: options.logFormat })
  for (const { parameter, reason } of settings.upstream.withoutEffect)
    log.warn({ parameter }, `the connection parameter has no effect: ${reason}`)
  for (const warning of traceSettingsFrom(process.env, { queryText: options.traceQueryText }).warnings) log.warn(warning)
  if (settings.upstream.user !== null && settings.agentToken === null && !isLoopback(settings.listen.host))
    log.warn(
      { host: settings.listen.host },
      'custody without a token: everybody who reaches this address has what the upstream’s user may do; give agents a token with --agent-token-file',
    )
  const proxy = await startProxy(settings, log)
  // Before anybody is told that it listens: who reads that may send a signal at once.
  const stopped = new Promise<Stopped>((resolve) => {
    let firstAt = -Infinity
    const onSignal = (signal: NodeJS.Signals): void => {
      // A shell and a wrapper such as timeout(1) may both pass on the one that a person gave.
      if (performance.now() - firstAt < repeatedMilliseconds) return
      firstAt = performance.now()
      log.info({ signal }, 'stopping')
      void proxy.stop().then(resolve)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
  log.info(
    {
      address: `${proxy.host}:${proxy.port}`,
      metrics: proxy.metricsPort,
      mode: settings.upstream.user === null ? 'pass-through' : 'custody',
      upstream: redactedText(settings.upstream),
      store: settings.storeUrl,
      spool: settings.spoolFolder,
      recorder: proxy.recorder,
      traces: settings.traces?.endpoint,
    },
    'listening',
  )
  // A proxy is often killed, and then keeps nothing of what was compiled; the next start saves 10 MB and half its time by it.
  flushCompileCache()
  const { everythingStored } = await stopped
  log.info({ everythingStored }, 'stopped')
  // Sockets of agents that do not close are not waited for.
  process.exit(everythingStored ? 0 : 1)
}

/** @throws BadSettings, BadConnectionString */
export function settingsFrom(options: Options, environment: NodeJS.ProcessEnv): ProxySettings {
  const upstream = parseConnectionString(upstreamText(options, environment), environment)
  const isCustody = upstream.user !== null
  if (!isCustody) refuseForPassThrough(options, upstream)
  return {
    listen: options.listen,
    upstream,
    databases: options.databases,
    agentToken: options.agentTokenFile === undefined ? null : new Secret(tokenFrom(options.agentTokenFile)),
    allowCleartextPassword: options.allowCleartextPassword,
    storeUrl: options.store,
    spoolFolder: path.resolve(options.spool),
    spoolLimits: {
      ...defaultSpoolLimits,
      unshippedBytesMax: options.spoolBytesMax,
      unshippedMillisecondsMax: options.spoolAgeMillisecondsMax,
    },
    segment: { bytesMax: Math.min(options.segmentBytesMax, segmentBytesLargest), ageMilliseconds: options.segmentMilliseconds },
    level: options.level,
    storeWaitMilliseconds: Math.min(options.storeWaitMilliseconds, timerMillisecondsMax),
    onRecordFailure: options.onRecordFailure,
    recordWaitMilliseconds: options.recordWaitMilliseconds,
    connectionsMax: options.connectionsMax,
    startupMillisecondsMax: Math.min(options.startupMillisecondsMax, timerMillisecondsMax),
    drainMilliseconds: options.drainMilliseconds,
    metricsListen: options.metricsListen ?? null,
    liveView: options.live === 'off' ? null : { format: options.logFormat, sqlCharacters: options.liveSqlCharacters },
    traces: traceSettingsFrom(environment, { queryText: options.traceQueryText }).settings,
  }
}

/** Segments are compressed and verified whole; larger ones would cost memory and gain nothing. */
const segmentBytesLargest = 32 * 1024 * 1024
/** Node takes a longer timer for one of a millisecond. */
const timerMillisecondsMax = 2 ** 31 - 1

function upstreamText(options: Options, environment: NodeJS.ProcessEnv): string {
  const given = [
    ['--upstream', options.upstream],
    ['--upstream-file', options.upstreamFile],
    ['STENO_UPSTREAM', environment['STENO_UPSTREAM']],
  ].filter((pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '')
  const [first, second] = given
  if (first === undefined)
    throw new BadSettings('no upstream was given', 'Name the database in STENO_UPSTREAM, --upstream-file or --upstream.')
  if (second !== undefined) throw new BadSettings(`the upstream is given twice, by ${first[0]} and by ${second[0]}`, 'Give it once.')
  if (first[0] !== '--upstream-file') return first[1]
  return fileText(first[1], 'the connection string')
}

function fileText(file: string, what: string): string {
  let text: string
  try {
    text = readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new BadSettings(`cannot read ${what}: ${messageOf(error)}`, 'Name a file that steno may read.', error)
  }
  if (text === '') throw new BadSettings(`the file ${file} is empty`, `Write ${what} into it.`)
  return text
}

const tokenFrom = (file: string): string => fileText(file, 'the agent token')

function refuseForPassThrough(options: Options, upstream: ConnectionSettings): void {
  const wrong = (option: string, why: string): BadSettings =>
    new BadSettings(
      `${option} contradicts an upstream without a user: ${why}`,
      'Name a user in the upstream (custody), or leave the option out (pass-through).',
    )
  if (options.agentTokenFile !== undefined) throw wrong('--agent-token-file', 'in pass-through each agent signs in at the database itself')
  if (options.databases.length > 0) throw wrong('--databases', 'in pass-through the database decides who may open what')
  if (options.allowCleartextPassword) throw wrong('--allow-cleartext-password', 'in pass-through steno sends no password')
  if (upstream.targetSessionAttributes !== 'any')
    throw wrong('target_session_attrs', 'steno cannot ask a server that it has no credential for')
}

/** Between two signals that are one to whoever gave it. */
const repeatedMilliseconds = 300

function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new InvalidArgumentError('Give host:port, as 127.0.0.1:6432 or [::1]:6432.')
  return { host: match[1] ?? (match[2] === '' ? '127.0.0.1' : match[2]!), port }
}

function count(flags: string, description: string, standard: number): Option {
  return new Option(flags, description).default(standard).argParser((text) => {
    if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Give a whole number.')
    return Number(text)
  })
}
const milliseconds = count
