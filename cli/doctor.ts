/**
 * `steno doctor`: looks at everything that a proxy with the same options would need, and says what to do about what is wrong.
 *
 * Goes on after a failure, gives each check a limit of time, and leaves nothing behind: neither folders nor recordings. What a check does is in
 * `doctor/`. Exit codes: 0 nothing failed (there may be warnings), 1 something failed, 2 used wrongly.
 */
import { Command, InvalidArgumentError } from 'commander'
import { messageOf } from '../base/errors.ts'
import { stenoVersion } from '../base/version.ts'
import type { ProxySettings } from '../sidecar/main.ts'
import { paletteFor, type ColourOptions, type Palette } from './colour.ts'
import { checkConfigFile, readConfigFile } from './config-file.ts'
import { addressCheck, exposureFinding, secretFileFinding } from './doctor/agent-side.ts'
import { check, failedBy, ok, failed, warning, type CheckResult, type Finding, type Status } from './doctor/check.ts'
import { spoolChecks } from './doctor/spool.ts'
import { storeChecks } from './doctor/store.ts'
import { upstreamChecks } from './doctor/upstream.ts'
import type { WholeProgram } from './main.ts'
import { printLines } from './print-lines.ts'
import { command as proxyCommand, settingsFrom } from './proxy.ts'
import { counted, displayWidth, printableLine } from './text.ts'

type ProxyOptions = Parameters<typeof settingsFrom>[0]
type Options = ProxyOptions & ColourOptions & { readonly json?: true; readonly checkMilliseconds: number; readonly config?: string }

const checkMillisecondsDefault = 10_000
const nodeMajorLeast = 24

/** Of the proxy's options, those that a check looks at; the others are taken as well, so that a command line can be tried as it is. */
const lookedAt = [
  'upstream',
  'upstream-file',
  'store',
  'spool',
  'spool-bytes-max',
  'listen',
  'metrics-listen',
  'agent-token-file',
  'allow-cleartext-password',
]

export function command(wholeProgram: WholeProgram): Command {
  const own: Command = new Command('doctor').description(
    'Checks what a proxy with the same options would need: the database (name, address, TLS, certificate, sign-in, version, clock), the\n' +
      'store (nothing in it can be overwritten), the spool, the address for agents, and the versions. Records nothing and leaves nothing behind.',
  )
  for (const option of proxyCommand().options) {
    if (!lookedAt.includes(option.name())) option.hideHelp()
    own.addOption(option)
  }
  return own
    .option('--check-milliseconds <n>', 'how long each check may take', milliseconds, checkMillisecondsDefault)
    .option('--json', 'one JSON object per check, and one with the totals')
    .addHelpText(
      'after',
      `
Examples:
  STENO_UPSTREAM='postgresql://shop:secret@db.internal/shop?sslmode=verify-full' steno doctor
  steno doctor --upstream-file /run/secrets/upstream --store file:///var/lib/steno/store --spool /var/lib/steno/spool
  steno doctor --json | jq 'select(.status == "failed")'

With --json each check is a line {"type":"check", check, target, status, message, remedy, code, milliseconds}, the last line
{"type":"totals", ok, warning, failed, skipped, healthy}.

Every option of \`steno proxy\` is taken, so a command line can be tried before it is run.
Exit codes: 0 nothing failed, 1 something failed, 2 used wrongly. Warnings leave it at 0.`,
    )
    .action(async (options: Options) => {
      const report = createReport(options)
      // Through `exit`, where what a check made is taken away.
      for (const [signal, number] of Object.entries({ SIGINT: 2, SIGTERM: 15 })) process.once(signal, () => process.exit(128 + number))
      // Each as it comes: a check may take its time.
      for await (const lines of report.parts(allChecks(options, process.env, wholeProgram))) await printLines(lines)
      // What a check that ran out of time still has open must not hold the command.
      process.exit(report.failures > 0 ? 1 : 0)
    })
}

async function* allChecks(options: Options, environment: NodeJS.ProcessEnv, wholeProgram: WholeProgram): AsyncGenerator<CheckResult> {
  const millisecondsMax = options.checkMilliseconds
  const at = { millisecondsMax, remedy: 'Correct the options.' }
  yield await check('versions', at, async () => versionsFinding(process.versions.node))
  yield await check('config file', { ...at, remedy: 'Correct the config file.' }, async () => {
    // What concerns this command was judged before it began; here the others' parts are.
    const file = readConfigFile(options.config, environment)
    if (file === null) return ok('there is none, and none is needed')
    const program = await wholeProgram()
    await checkConfigFile(file, { environment, commandNames: program.commands.map((each) => each.name()), wholeProgram })
    return ok(`${file.path} says nothing that no option means`)
  })
  let settings: ProxySettings | null = null
  yield await check('settings', at, async () => {
    if (!hasUpstream(options, environment))
      return warning('no upstream was given: the database is not looked at', 'Name it in STENO_UPSTREAM, --upstream-file or --upstream.')
    settings = settingsFrom(options, environment)
    const { withoutEffect } = settings.upstream
    if (withoutEffect.length === 0) return ok('they fit together')
    const what = withoutEffect.map(({ parameter, reason }) => `${parameter} has no effect: ${reason}`).join('; ')
    return warning(what, 'Take what has no effect out of the connection string.')
  })
  for (const file of [options.upstreamFile, options.agentTokenFile]) {
    if (file === undefined) continue
    const named = { ...at, target: file, remedy: 'Name a file that steno may read.' }
    yield await check('secret file', named, async () => secretFileFinding(file))
  }
  yield* databaseChecks(settings, options)
  yield* storeChecks(options.store, { millisecondsMax })
  const { isHeld } = yield* spoolChecks(options.spool, { storeUrl: options.store, spoolBytesMax: options.spoolBytesMax, millisecondsMax })
  yield await addressCheck(options.listen, { what: 'agents', proxyRuns: isHeld, millisecondsMax })
  if (options.metricsListen !== undefined)
    yield await addressCheck(options.metricsListen, { what: 'metrics', proxyRuns: isHeld, millisecondsMax })
}

async function* databaseChecks(
  settings: ProxySettings | null,
  { allowCleartextPassword, checkMilliseconds }: Options,
): AsyncGenerator<CheckResult> {
  if (settings === null) return
  yield* upstreamChecks(settings.upstream, { allowCleartextPassword, millisecondsMax: checkMilliseconds })
  const { listen, upstream, agentToken } = settings
  const finding = exposureFinding({ listen, user: upstream.user, hasToken: agentToken !== null })
  yield { check: 'who may connect', target: null, milliseconds: 0, ...finding }
}

function hasUpstream({ upstream, upstreamFile }: Options, environment: NodeJS.ProcessEnv): boolean {
  return [upstream, upstreamFile, environment['STENO_UPSTREAM']].some((given) => given !== undefined && given !== '')
}

export function versionsFinding(node: string): Finding {
  const what = `steno ${stenoVersion}, Node ${node}, ${process.platform} ${process.arch}`
  return Number.parseInt(node, 10) >= nodeMajorLeast ? ok(what) : failed(what, `Run steno under Node ${nodeMajorLeast} or later.`)
}

function milliseconds(text: string): number {
  const value = Number(text)
  if (!/^\d{1,7}$/.test(text) || value < 1) throw new InvalidArgumentError('Give a whole number of milliseconds, at most 9999999.')
  return value
}

const statusColours: Readonly<Record<Status, keyof Omit<Palette, 'isOn'>>> = {
  ok: 'green',
  warning: 'yellow',
  failed: 'red',
  skipped: 'dim',
}

/** Each result as it comes, and the totals. */
function createReport(options: Options) {
  const counts: Record<Status, number> = { ok: 0, warning: 0, failed: 0, skipped: 0 }
  const colours = paletteFor(options)
  return {
    get failures(): number {
      return counts.failed
    },
    async *parts(results: AsyncIterable<CheckResult>): AsyncGenerator<string[]> {
      try {
        for await (const result of results) {
          counts[result.status] += 1
          yield options.json === true ? [jsonOf({ type: 'check', ...result })] : textOf(result, colours)
        }
      } catch (error) {
        // A check that breaks is one that failed; what came before it stands.
        counts.failed += 1
        const broken: CheckResult = {
          check: 'doctor',
          target: null,
          milliseconds: 0,
          ...failedBy(error, `Please report it: ${messageOf(error)}`),
        }
        yield options.json === true ? [jsonOf({ type: 'check', ...broken })] : textOf(broken, colours)
      }
      yield [options.json === true ? jsonOf({ type: 'totals', ...counts, healthy: counts.failed === 0 }) : totals(counts, colours)]
    },
  }
}

function totals({ ok: good, warning: warnings, failed: failures }: Record<Status, number>, colours: Palette): string {
  const parts = [`${good} ok`, counted(warnings, 'warning'), `${failures} failed`]
  return failures > 0 ? colours.red(parts.join(', ')) : warnings > 0 ? colours.yellow(parts.join(', ')) : colours.green(parts.join(', '))
}

const statusCells = 8
const nameCells = 18

function textOf({ status, check: name, target, message, remedy, code }: CheckResult, colours: Palette): string[] {
  const head = `${colours[statusColours[status]](filled(status, statusCells))} ${filled(name, nameCells)} `
  const place = target === null ? '' : `${target}: `
  const indent = ' '.repeat(statusCells + 1)
  return [
    `${head}${printableLine(`${place}${message}`)}${code === undefined ? '' : ` (${code})`}`,
    ...(remedy === undefined ? [] : [`${indent}${colours.bold('->')} ${printableLine(remedy)}`]),
  ]
}

const filled = (text: string, cells: number): string => text + ' '.repeat(Math.max(0, cells - displayWidth(text)))

/** Escaped as JSON allows, so that a terminal is safe with what a server says. */
function jsonOf(document: object): string {
  return JSON.stringify(document).replace(
    /[\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
