/**
 * `kubectl steno sessions`, `show`, `replay` and the others that read recordings: the same commands as on a laptop, over a port that
 * kubectl forwards to control, which answers readers nowhere else. Who may port-forward in steno's namespace is an auditor.
 *
 * The command line is parsed here before anything is asked of the cluster; then `steno` itself runs, in a process of its own, with the
 * store that it is to read.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Option, type Command } from 'commander'
import { openStore } from '../../session/stores/open-store.ts'
import { addCommonOptions } from '../common-options.ts'
import { BadUsage } from '../failure-report.ts'
import { pluginName, startedByVariable } from '../program-name.ts'
import { checkNewestOptions, type NewestOptions } from '../search/newest.ts'
import { printableLine } from '../text.ts'
import { readControlKeys } from './control-keys.ts'
import { ControlNotReached, ObjectNotFound, RecordingStoreUnknown } from './errors.ts'
import { openForward } from './forward.ts'
import { clusterHeading, clusterOptions, type ClusterOptions } from './kubectl-program.ts'
import { missingNamespaces, unrecordedNamespaces } from './missing-namespaces.ts'
import { withoutClusterOptions } from './split-arguments.ts'

const program = fileURLToPath(new URL('../main.ts', import.meta.url))
const answerMilliseconds = 30_000

type Module = { readonly command: () => Command }
type Reading = {
  readonly summary: string
  readonly load: () => Promise<Module>
  readonly paged?: true
  /** Of a command whose exit code 1 says something of the recordings: the code for a store that cannot be read. */
  readonly unreadable?: number
}

export const readings: Readonly<Record<string, Reading>> = {
  sessions: { summary: 'list the recorded sessions of the cluster', load: () => import('../sessions.ts'), paged: true },
  show: {
    summary: 'show a session, or one of its statements with parameters and rows',
    load: () => import('../show.ts'),
    paged: true,
  },
  replay: {
    summary: 'play a session back, write it as SQL, or run it again and show what differs',
    load: () => import('../replay.ts'),
    paged: true,
  },
  search: { summary: 'find statements in all recorded sessions', load: () => import('../search.ts'), unreadable: 3 },
  tail: { summary: 'print statements as they are stored', load: () => import('../tail.ts') },
  export: { summary: 'write statements as JSON lines, CSV, Parquet, OCSF events or SQL', load: () => import('../export.ts') },
  query: { summary: 'ask all recordings in SQL, by DuckDB', load: () => import('../query.ts') },
  verify: { summary: 'prove that recordings are whole and unaltered', load: () => import('../verify.ts'), unreadable: 3 },
}

/** Those that take one session, by an id or `last`. */
const takesOne: readonly string[] = ['show', 'replay', 'verify']

type Options = Omit<ClusterOptions, 'namespace'> &
  NewestOptions & {
    readonly recordingStore: string
    readonly trustControl?: readonly string[]
    readonly trustRecorder?: readonly string[]
    readonly spool?: readonly string[]
  }

function ownOptions(): Option[] {
  return [
    ...clusterOptions(),
    new Option('--recording-store <name>', 'the RecordingStore').default('default').helpGroup(clusterHeading),
    // What people type who come from kubectl; without --namespace it is so anyway.
    new Option('-A, --all-namespaces', 'recordings of all namespaces, as without --namespace').helpGroup(clusterHeading),
  ]
}

/** The command as `steno` has it, with options of the cluster. `argv` is what stands behind its name. */
export async function recordingCommand(name: string, argv: readonly string[]): Promise<Command> {
  const { load, summary, paged, unreadable = 1 } = readings[name]!
  const own = addCommonOptions((await load()).command(), { paged: paged === true })
  const itsOptions = [...own.options]
  const added = ownOptions()
  for (const option of added) own.addOption(option)
  for (const option of own.options) if (option.long === '--store') option.hideHelp()
  return own
    .summary(summary)
    .description(`${own.description()}\n\nReads the cluster's recordings from control, over a port that kubectl forwards.`)
    .action(async () => {
      if (own.getOptionValueSource('store') === 'cli')
        throw new BadUsage('--store is for steno itself: here the store is the one of --recording-store')
      if (own.getOptionValueSource('allNamespaces') === 'cli' && own.getOptionValueSource('namespace') === 'cli')
        throw new BadUsage('--all-namespaces and --namespace contradict each other')
      const options = own.opts<Options>()
      const words = withoutClusterOptions(argv, added, itsOptions)
      if (takesOne.includes(name)) checkNewestOptions(own.args[0], options)
      process.exitCode = unreadable
      process.exitCode = await read(name, words, options)
    })
}

/** The exit code. @throws KubectlMissing, ClusterForbids, ControlNotReached, RecordingStoreUnknown, KubectlFailed */
async function read(name: string, words: readonly string[], options: Options): Promise<number> {
  const missing = missingNamespaces(options, options.namespace ?? [])
  missing.catch(() => undefined) // Whoever waits for it below is told.
  await using forward = await openForward(options)
  await checkStore(forward.origin, options.recordingStore)
  await using keys = name === 'verify' && !isAnyTrusted(options) ? await readControlKeys(options) : null
  if (keys?.problem)
    process.stderr.write(`steno: control's key cannot be had from the cluster (${keys.problem}); give it with --trust-control\n`)
  const trust = (keys?.files ?? []).flatMap((file) => ['--trust-control', file])
  const store = `control+${forward.origin}/${options.recordingStore}`
  await checkNamespaces(store, await missing)
  return await runSteno([name, '--store', store, ...trust, ...words])
}

/** @throws ObjectNotFound, StoreUnavailable */
async function checkNamespaces(url: string, missing: readonly string[]): Promise<void> {
  if (missing.length === 0) return
  const [unrecorded] = await unrecordedNamespaces(await openStore(url), missing)
  if (unrecorded !== undefined)
    throw new ObjectNotFound(
      `the cluster has no namespace ${printableLine(unrecorded)}, and nothing was recorded of one`,
      'Look at its name: kubectl get namespaces. Without --namespace it is the whole cluster.',
    )
  for (const name of missing)
    process.stderr.write(
      `steno: the cluster has no namespace ${printableLine(name)} now; what was recorded of its pods before is looked at\n`,
    )
}

function isAnyTrusted({ trustControl = [], trustRecorder = [], spool = [] }: Options): boolean {
  return trustControl.length + trustRecorder.length + spool.length > 0
}

async function runSteno(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, program, ...args], {
    stdio: 'inherit',
    env: { ...process.env, [startedByVariable]: pluginName },
  })
  // Ctrl-C goes to the whole group of the terminal; the command decides what it means.
  const ignore = (): void => undefined
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal)
  process.on('SIGINT', ignore).on('SIGTERM', pass).on('SIGHUP', pass)
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    return code ?? (signal === 'SIGINT' ? 130 : 143)
  } finally {
    process.off('SIGINT', ignore).off('SIGTERM', pass).off('SIGHUP', pass)
  }
}

type StoreStatus = { readonly name: string }

/** A name that control does not know would else be a store that cannot be reached. */
async function checkStore(origin: string, wanted: string): Promise<void> {
  let stores: readonly StoreStatus[]
  try {
    const answer = await fetch(`${origin}/v1/stores`, { signal: AbortSignal.timeout(answerMilliseconds) })
    stores = ((await answer.json()) as { readonly stores: readonly StoreStatus[] }).stores
    if (!answer.ok || !Array.isArray(stores)) throw new Error(`it answered ${answer.status}`)
  } catch (cause) {
    throw new ControlNotReached(
      'control does not answer through the forwarded port',
      'See whether it is well: kubectl steno status. Is it of another release than this plugin?',
      cause,
    )
  }
  if (stores.some(({ name }) => name === wanted)) return
  const names = stores.map(({ name }) => name).join(', ')
  throw new RecordingStoreUnknown(`there is no RecordingStore ${JSON.stringify(wanted)}; control knows ${names === '' ? 'none' : names}`)
}
