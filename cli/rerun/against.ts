/**
 * `steno replay ID --against …`: runs a session again on another database and shows what came out otherwise.
 *
 * A throw-away proxy in front of the database signs in and records what comes back; then the two recordings are laid side by side.
 */
import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'
import { findSession, readIdentity, readSessionManifest, readStatements } from '../../session/read-session.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import type { Store } from '../../session/stores/store.ts'
import { printLines } from '../print-lines.ts'
import { counted } from '../text.ts'
import { shownTime } from '../times.ts'
import { createAnswerQueue } from './answer-queue.ts'
import { connectClient } from './client.ts'
import { compareSessions, type CompareOptions } from './compare.ts'
import { planOf, type Plan } from './plan.ts'
import { comparedLines, isAlike, jsonLine, noTotals, notComparedLine, plainLine, totalsLine, volatileHint } from './report.ts'
import { runAgain, type RunEnd } from './run-again.ts'
import { resultsOf } from './session-results.ts'
import { settingsOf } from './session-settings.ts'
import { isRecordedDatabase, RerunNotConfirmed, type Target } from './target.ts'
import { startThrowawayProxy, type ThrowawayProxy } from './throwaway-proxy.ts'

export type AgainstOptions = {
  readonly store: Store
  /** A session's id, the beginning of one, or `last`. */
  readonly session: string
  readonly target: Target
  readonly yes: boolean
  readonly json: boolean
  readonly nullText: string
  readonly waitMillisecondsMax: number
  readonly compare: CompareOptions
  /** Questions and what will be run go to `notes`, the comparison to `output`. */
  readonly input: Readable
  readonly notes: Writable
  readonly output: Writable
  readonly signal: AbortSignal
}

const widthDefault = 120

/**
 * The exit code: 0 when everything that was run came out as recorded, 1 when not.
 * @throws RerunNotConfirmed, RerunRefused, SessionNotWhole, SessionNotFound, RecordingDamaged
 */
export async function runAgainst(options: AgainstOptions): Promise<number> {
  const { store, target, notes, output, json, signal } = options
  const session = await findSession(store, options.session)
  const identity = await readIdentity(store, session)
  const plan = await planOf(store, session)
  const statements = await countStatements(store, session)
  const lines = planLines(identity, target, plan, statements)
  if (!json) notes.write(`${lines.join('\n')}\n`)
  await confirm(options, identity)
  await using proxy = await startThrowawayProxy(target.settings)
  const end = await talk(options, identity, plan, proxy)
  const again = await proxy.finish()
  const totals = noTotals()
  await printLines(compared(), output)
  return isAlike(totals) && end.reason === null ? 0 : 1

  async function* compared(): AsyncGenerator<string> {
    const width = 'columns' in output && typeof output.columns === 'number' ? output.columns : widthDefault
    const pairs = compareSessions({
      recorded: resultsOf({ store, identity, leftOut: new Set() }),
      again: resultsOf({ store: again, identity: await readIdentity(again, await findSession(again, 'last')), leftOut: plan.withheld }),
      withheld: plan.withheld,
      endedBy: end.reason,
      options: options.compare,
    })
    let notCompared = 0
    for await (const pair of pairs) {
      signal.throwIfAborted()
      totals[pair.verdict]++
      if (pair.notCompared !== undefined) notCompared++
      if (json) yield jsonLine({ type: 'statement', ...pair })
      else yield* comparedLines(pair, { width, nullText: options.nullText })
    }
    if (json) {
      yield jsonLine({ type: 'end', session, alike: isAlike(totals) && end.reason === null, endedEarly: end.reason, totals })
      return
    }
    if (end.reason !== null) yield plainLine('stopped', end.reason)
    yield totalsLine(totals)
    if (notCompared > 0) yield notComparedLine(notCompared)
    if (totals.different > 0) yield volatileHint
  }
}

async function countStatements(store: Store, session: string): Promise<number> {
  const manifest = await readSessionManifest(store, session)
  if (manifest !== null) return manifest.statements
  let count = 0
  for await (const _ of readStatements(store, session)) count++
  return count
}

function planLines(identity: SessionIdentity, target: Target, { withheld }: Plan, statements: number): string[] {
  const left = withheld.size === 0 ? '' : `; ${counted(withheld.size, 'message')} with redacted literals left out`
  const { upstream, user, database } = identity
  return [
    plainLine(
      'session',
      `${identity.session}, ${shownTime(identity.opened)}, ${upstream.host}:${upstream.port}, database ${database}, as ${user}`,
    ),
    plainLine('against', target.text),
    ...settingsOf(identity).notSet.map((what) => plainLine('not set', what)),
    plainLine('will run', `${counted(statements, 'statement')} in the order recorded, with the session's transactions${left}`),
  ]
}

/** @throws RerunNotConfirmed */
async function confirm({ target, yes, json, input, notes }: AgainstOptions, identity: SessionIdentity): Promise<void> {
  if (yes) return
  const isSame = await isRecordedDatabase(target, identity)
  const isAsked = !json && 'isTTY' in input && input.isTTY === true && 'isTTY' in notes && notes.isTTY === true
  if (!isAsked) {
    if (isSame)
      throw new RerunNotConfirmed('this is the database that the session was recorded from: what it changed would be changed again')
    return
  }
  if (isSame) notes.write('This is the database that the session was recorded from: what it changed would be changed again.\n')
  const questions = createInterface({ input, output: notes })
  try {
    const answer = await questions.question('Run it? [y/N] ')
    if (!/^y(es)?$/i.test(answer.trim())) throw new RerunNotConfirmed('nothing was run')
  } finally {
    questions.close()
  }
}

async function talk(
  options: AgainstOptions,
  identity: SessionIdentity,
  plan: Plan,
  { host, port, token }: ThrowawayProxy,
): Promise<RunEnd> {
  const { store, target, waitMillisecondsMax, signal } = options
  const live = createAnswerQueue()
  const client = await connectClient({
    host,
    port,
    token,
    parameters: [['user', target.settings.user], ['database', target.database], ...settingsOf(identity).settings],
    onMessage: (type) => live.answered(type),
    signal,
  })
  try {
    const end = await runAgain({ store, session: identity.session, plan, client, live, waitMillisecondsMax, signal })
    await client.end()
    return end
  } finally {
    client.destroy()
  }
}
