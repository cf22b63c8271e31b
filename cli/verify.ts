/**
 * `steno verify`: is everything that is stored exactly what was recorded? Offline, and names what is wrong and where.
 *
 * Exit codes: 0 sound, 1 something is wrong, 2 wrong usage, 3 the store cannot be read or holds nothing to verify.
 */
import { createPublicKey, type KeyObject } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { KnownError, messageOf } from '../base/errors.ts'
import type { ChainHead } from '../session/attestation-chain.ts'
import { loadLedgerHead, type AnchoredHead } from '../session/ledger-head.ts'
import { isRecorderId } from '../session/object-keys.ts'
import { findSession, placeOfStore, SessionNotFound } from '../session/read-session.ts'
import { isSessionId } from '../session/session-id.ts'
import type { Store } from '../session/stores/store.ts'
import { verifyStore, type Finding, type Trust, type VerifyCounts } from '../session/verify.ts'
import { paletteFor, type ColourOptions } from './colour.ts'
import { addNewestOptions, checkNewestOptions, wantedSession, type NewestOptions } from './search/newest.ts'
import { defaultSpoolFolder, defaultStoreUrl, openStoreFromOptions, storeOption, type StoreOptions } from './store-option.ts'
import { printableLine } from './text.ts'

export const exitCodes = { sound: 0, wrong: 1, usage: 2, unreadable: 3 } as const

const progressMilliseconds = 200
/** Of findings of one code, so many are printed in full; a store of another key would fill the screen. `--json` gives all. */
const printedPerCodeMax = 100

type Options = StoreOptions &
  NewestOptions &
  ColourOptions & {
    readonly all?: true
    readonly json?: true
    readonly trustRecorder: readonly string[]
    readonly trustControl: readonly string[]
    readonly chainHead?: ChainHead
    readonly spool: readonly string[]
  }

/** There is nothing in the store that could be verified. */
export class NothingToVerify extends KnownError {
  readonly code = 'NOTHING_TO_VERIFY'
  readonly remedy = 'Check that --store, or in a cluster --recording-store, names the right store.'
  readonly safeToRetry = true
}

/** The folder named by --spool does not say which recorder it belongs to. */
export class SpoolHasNoHead extends KnownError {
  readonly code = 'SPOOL_HAS_NO_HEAD'
  readonly remedy = "Name the proxy's spool folder, which holds ledger-head.json once something was recorded."
  readonly safeToRetry = true
}

/** A file that should hold a key of control's does not. */
export class ControlKeyUnreadable extends KnownError {
  readonly code = 'CONTROL_KEY_UNREADABLE'
  readonly remedy = 'Name a PEM file with the public half: `public.pem` of Secret steno-control-key.'
  readonly safeToRetry = true
}

export function command(): Command {
  const own: Command = new Command('verify')
    .description('check offline that nothing stored was changed, dropped, added or reordered')
    .argument('[id]', "a session's id, the beginning of one, or `last`")
    .addOption(storeOption())
    .option('--all', 'every object in the store')
    .option('--trust-recorder <id>', 'a recorder that is yours; repeat it for several', recorderId, [])
    .option(
      '--trust-control <file>',
      "a public key of your cluster's control (PEM): the recorders that it attested are yours; repeat it for several",
      (file: string, all: readonly string[]) => [...all, file],
      [],
    )
    .option('--chain-head <head>', "the end of control's chain of attestations, NUMBER:SHA256 as `verify --all` printed it", chainHead)
    .option(
      '--spool <folder>',
      "take the recorder's id and the head of its ledger from its spool folder; repeat it for several recorders " +
        `(default: ${defaultSpoolFolder()} for the default store)`,
      (folder: string, all: readonly string[]) => [...all, folder],
      [],
    )
    .option('--json', 'one JSON object per finding, and one with the totals')
  return addNewestOptions(own)
    .addHelpText(
      'after',
      `
Examples:
  steno verify last                                     # the newest session
  steno verify --all --spool /var/lib/steno/spool       # everything, against what the recorder itself remembers
  steno verify --all --trust-control public.pem         # a cluster's store, each recorder as control attested it
  steno verify --all --json | jq -r 'select(.severity == "error") | .code'

With --json each finding is a line {severity, code, message} with session, segment, record, statement and key as far as it has them,
and the last line is {verified, errors, warnings, sound}, where verified counts what was looked at;
in a cluster's store verified.chain is {number, sha256, recorders} of control's chain of attestations.

Exit codes: 0 sound, 1 something is wrong, 2 used wrongly, 3 the store cannot be read or holds nothing to verify.`,
    )
    .action((id: string | undefined, options: Options) => run(own, id, options))
}

async function run(own: Command, id: string | undefined, options: Options): Promise<void> {
  if ((id === undefined) === (options.all !== true)) own.error('error: name one session, or --all', { exitCode: exitCodes.usage })
  if (id !== undefined && options.chainHead !== undefined)
    own.error('error: --chain-head is about all recorders: give it with --all', { exitCode: exitCodes.usage })
  checkNewestOptions(id, options)
  // What is thrown from here on means that there was no verdict.
  process.exitCode = exitCodes.unreadable
  const store = await openStoreFromOptions(options)
  const { chainHead: kept } = options
  const trust: Trust = { ...(await trustFrom(options)), ...(kept === undefined ? {} : { chainHead: kept }) }
  const report = createReport(options)
  if (id === undefined) {
    const isSomethingKnown = (trust.heads ?? []).length > 0 || trust.chainHead !== undefined
    if (!isSomethingKnown && !(await holdsAnything(store))) throw new NothingToVerify(`there is nothing in ${placeOfStore(store.url)}`)
    for await (const found of verifyStore(store, { trust, onProgress: report.progress })) report.take(found)
  } else await verifyOne(store, await wantedSession(store, id, options), trust, report)
  process.exitCode = report.end()
}

async function verifyOne(store: Store, id: string, trust: Trust, report: Report): Promise<void> {
  let missing: SessionNotFound | null = null
  const session = await findSession(store, id).catch((error: unknown) => {
    // Of a session that was removed the ledger may still know.
    if (!(error instanceof SessionNotFound) || !isSessionId(id)) throw error
    missing = error
    return id
  })
  let isKnown = missing === null
  for await (const found of verifyStore(store, { sessions: [session], trust, onProgress: report.progress })) {
    isKnown ||= found.session === session
    report.take(found)
  }
  if (!isKnown && missing !== null) throw missing
}

async function holdsAnything(store: Store): Promise<boolean> {
  for await (const _ of store.list('')) return true
  return false
}

async function trustFrom({ store, trustRecorder, trustControl, spool }: Options): Promise<Trust> {
  const attesters = await Promise.all(trustControl.map(controlKeyIn))
  if (spool.length > 0) {
    const heads = await Promise.all(spool.map((folder) => headsOf(folder, store)))
    const without = spool[heads.findIndex((each) => each.length === 0)]
    if (without !== undefined) throw new SpoolHasNoHead(`there is no ledger-head.json in ${without}`)
    return { recorders: trustRecorder, attesters, heads: heads.flat() }
  }
  // The default spool belongs to the default store; it says what it knows, and claims not to know all recorders.
  const heads = store === defaultStoreUrl() ? await headsOf(defaultSpoolFolder(), store) : []
  const isAnyNamed = trustRecorder.length > 0 || attesters.length > 0
  return { recorders: trustRecorder, attesters, heads, strangers: isAnyNamed ? 'error' : 'warning' }
}

/** @throws ControlKeyUnreadable */
async function controlKeyIn(file: string): Promise<KeyObject> {
  let key: KeyObject
  try {
    key = createPublicKey(await readFile(file))
  } catch (error) {
    throw new ControlKeyUnreadable(`there is no public key in ${file}: ${messageOf(error)}`, { cause: error })
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new ControlKeyUnreadable(`the key in ${file} is not control's: it is no Ed25519 key`)
  return key
}

/** Of a spool folder, and of those beside it that `steno run` made for the same store while it was in use: `spool-2`, `spool-3` … */
async function headsOf(spool: string, store: string): Promise<AnchoredHead[]> {
  const own = await loadLedgerHead(spool)
  const heads = own === null ? [] : [own]
  for (let number = 2; own !== null; number++) {
    const folder = `${path.resolve(spool)}-${number}`
    if (!existsSync(folder)) break
    const head = await loadLedgerHead(folder)
    if (head?.store === store) heads.push(head)
  }
  return heads
}

type Report = ReturnType<typeof createReport>

/** Prints findings as they come and adds them up. */
function createReport(options: Options) {
  const json = options.json === true
  const colours = paletteFor(options)
  let counts: VerifyCounts = { sessions: 0, segments: 0, statements: 0, leftOutBytes: 0, ledgerEntries: 0, attestedRecorders: 0 }
  let errors = 0
  let warnings = 0
  let shownAt = 0
  const printed = new Map<string, number>()
  const showsProgress = !json && process.stderr.isTTY
  const clear = showsProgress ? '\r\u001b[K' : ''
  return {
    progress(next: VerifyCounts): void {
      counts = next
      if (!showsProgress || Date.now() - shownAt < progressMilliseconds) return
      shownAt = Date.now()
      process.stderr.write(`${clear}${next.ledgerEntries} ledger entries, ${next.sessions} sessions, ${next.segments} segments …`)
    },
    take(found: Finding): void {
      if (found.severity === 'error') errors += 1
      else warnings += 1
      const already = (printed.get(found.code) ?? 0) + 1
      printed.set(found.code, already)
      if (json) process.stdout.write(`${JSON.stringify(found)}\n`)
      else if (already <= printedPerCodeMax)
        process.stdout.write(`${clear}${colours[found.severity === 'error' ? 'red' : 'yellow'](findingLine(found))}\n`)
      else if (already === printedPerCodeMax + 1) process.stdout.write(`${clear}more of ${found.code} are only counted; --json gives all\n`)
    },
    end(): number {
      const sound = errors === 0
      if (json) process.stdout.write(`${JSON.stringify({ verified: counts, errors, warnings, sound })}\n`)
      else {
        if (counts.chain !== undefined) {
          const { number, sha256, recorders } = counts.chain
          const keep = `to find later that it was cut, keep its head: --chain-head ${number}:${sha256}`
          process.stdout.write(`${clear}control's chain names ${counted(recorders, 'recorder')}; ${keep}\n`)
        }
        if (counts.attestedRecorders > 0)
          process.stdout.write(`${clear}trusted ${counted(counts.attestedRecorders, 'recorder')} by control's attestation\n`)
        if (counts.leftOutBytes > 0)
          process.stdout.write(`${clear}${counted(counts.leftOutBytes, 'byte')} of results not kept: recording level statements\n`)
        const known = warnings === 0 ? '' : ` (${counted(warnings, 'warning')})`
        const verdict = sound ? `sound${known}` : `${counted(errors, 'error')}${known}`
        const what = [counted(counts.sessions, 'session'), counted(counts.segments, 'segment'), counted(counts.statements, 'statement')]
        process.stdout.write(`${clear}verified ${what.join(', ')}: ${colours[sound ? 'green' : 'red'](verdict)}\n`)
      }
      return sound ? exitCodes.sound : exitCodes.wrong
    },
  }
}

/** One line per finding: severity, code, place, message. */
export function findingLine({ severity, code, message, session, segment, record, statement, key }: Finding): string {
  const where = [
    ['session', session],
    ['segment', segment],
    ['record', record],
    ['statement', statement],
  ].flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`]))
  if (key !== undefined) where.push(key)
  return printableLine(`${severity} ${code}: ${message}${where.length > 0 ? ` [${where.join(', ')}]` : ''}`)
}

function counted(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`
}

function chainHead(text: string): ChainHead {
  const [, number, sha256] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? []
  if (number === undefined || sha256 === undefined)
    throw new InvalidArgumentError('It must be a number, a colon and 64 hex digits, as `verify --all` prints them.')
  return { number: Number(number), sha256 }
}

function recorderId(text: string, before: readonly string[]): readonly string[] {
  if (!isRecorderId(text)) throw new InvalidArgumentError('It must be the 32 hex digits of a recorder id.')
  return [...before, text]
}
