/**
 * `kubectl steno break-glass`: what an administrator does when steno stands in the way of an emergency, and how it is undone.
 *
 * It makes one ClusterSessionPolicy, or deletes it: the right to do that is the right to break the glass, and steno decides nothing. Touches no pod.
 * What it opens is control's to put on record (webhook/control/break-glass).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Command } from 'commander'
import { KnownError } from '../../base/errors.ts'
import { paletteFor } from '../colour.ts'
import { BadUsage } from '../failure-report.ts'
import { printLines } from '../print-lines.ts'
import { safeJson } from '../search/statement-document.ts'
import { printableLine } from '../text.ts'
import {
  breakGlassLabel,
  breakGlassName,
  breakGlassObject,
  breakGlassOf,
  checkedReason,
  parseFor,
  parseSelector,
  podsText,
  type BreakGlass,
  type FoundPolicy,
} from './break-glass-facts.ts'
import { ClusterForbids, KubectlFailed, ObjectNotFound } from './errors.ts'
import { addClusterOptions, getIfAllowed, getObjects, kubectl, type ClusterOptions } from './kubectl-program.ts'
import { isOptedIn, optInLabel, type Labels } from './world.ts'

/** One runs already, or something of another kind has its name. */
export class BreakGlassRuns extends KnownError {
  readonly code = 'BREAK_GLASS_RUNS'
  readonly remedy = 'End it first (`kubectl steno break-glass -n NAMESPACE --end`), then begin another: each has one reason and one end.'
  readonly safeToRetry = true
}

type Options = ClusterOptions & {
  readonly selector?: string
  readonly reason?: string
  readonly for?: string
  readonly end?: true
  readonly json?: true
}

export function breakGlassCommand(): Command {
  const own = new Command('break-glass')
    .summary('in an emergency: let pods of a namespace be made without steno, on record')
    .description(
      'In an emergency: lets pods of a namespace be made without the sidecar, by a ClusterSessionPolicy that says why and until when; or ends that.\n' +
        'Who may create and delete ClusterSessionPolicies may do this. It ends by itself when its time is over.',
    )
    .option('-l, --selector <labels>', 'only pods with these labels, as app=agent,tier=batch; all pods of the namespace when absent')
    .option('--reason <text>', 'why, in a sentence that an auditor can read')
    .option('--for <duration>', 'how long it is open, seven days at most: 30m, 1h, 2d')
    .option('--end', 'end it')
    .option('--json', 'as one JSON object')
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno break-glass -n shop --selector app=orders-agent --reason 'INC-1234: relay refuses all' --for 1h
  kubectl steno break-glass -n shop --end

While it is open, pods that are made hold their credential, reach what the network lets them, and are not recorded; pods with a sidecar reach no
database until they are made again, since no policy is for them. Control puts into every store
when it began and ended, which pods, and why. \`kubectl steno status\` says how much time is left. When it is over pods that are made get the sidecar
again, whether steno runs or not; those that were made meanwhile stay as they are until they are made again.
With --json it is one object {action, policy, namespace, …}: opened with matchLabels, reason, until and requestedBy, ended with podsWithoutSidecar.
Exit codes: 0 done, 1 not done, 2 used wrongly.`,
    )
    .action(run)
  return addClusterOptions(own)
}

async function run(options: Options): Promise<void> {
  const { namespace } = options
  // An emergency is no time to guess which namespace a context has.
  if (namespace === undefined) throw new BadUsage('--namespace is missing: say whose pods it is about')
  if (options.end === true) {
    if (options.reason !== undefined || options.for !== undefined || options.selector !== undefined)
      throw new BadUsage('--end takes neither --reason, --for nor --selector: it ends what is open, as a whole')
    return end(options, namespace)
  }
  if (options.reason === undefined || options.for === undefined)
    throw new BadUsage('--reason and --for are needed: why, and how long it is to be open')
  const [reason, milliseconds, matchLabels] = [checkedReason(options.reason), parseFor(options.for), parseSelector(options.selector)]
  const [labels, requestedBy, open] = await Promise.all([labelsOf(options, namespace), userOf(options), openOne(options, namespace)])
  if (labels !== null && !isOptedIn(labels))
    throw new BadUsage(`namespace ${namespace} is not opted in (${optInLabel}=enabled), so steno does not stand in the way of its pods`)
  if (open !== null) {
    const found = breakGlassOf(open)
    // What is left of one that has ended makes room.
    if (found === null || !found.endsByItself || found.until === null || found.until > Date.now())
      throw new BreakGlassRuns(
        `a break-glass for ${namespace} is open already: ${found?.reason ?? `${open.metadata.name} is there, and is none`}`,
      )
    await kubectl(options, ['delete', 'clustersessionpolicies.steno.dev', open.metadata.name])
  }
  const until = Date.now() + milliseconds
  await create(options, { namespace, matchLabels, reason, until, requestedBy })
  await tell(options, {
    json: {
      action: 'opened',
      policy: breakGlassName(namespace),
      namespace,
      matchLabels,
      reason,
      until: new Date(until).toISOString(),
      requestedBy,
    },
    head: `The glass is broken: ${podsText([namespace], matchLabels)}, until ${new Date(until).toISOString()} (ClusterSessionPolicy ${breakGlassName(namespace)}).`,
    lines: [
      'Within seconds, for pods that are made from then on:',
      '  - they get no sidecar: what they do is not recorded;',
      '  - they hold the credentials that their specification gives them;',
      '  - the NetworkPolicy steno-egress does not select them: they reach whatever your other policies let them reach;',
      '  - rules for every pod hold on: no host namespaces, no privileges, no port-forward past steno.',
      'Of those that run with a sidecar the policy is withdrawn: their sessions end, and they reach no database until they are made again:',
      `  kubectl rollout restart deployment -n ${namespace}`,
      `It ends by itself at ${new Date(until).toISOString()}; pods that were made meanwhile must then be made again. To end it sooner:`,
      `  kubectl steno break-glass -n ${namespace} --end`,
    ],
  })
}

async function create(options: Options, asked: BreakGlass): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-break-glass-'))
  try {
    const file = path.join(folder, 'policy.json')
    await writeFile(file, JSON.stringify(breakGlassObject(asked)), { mode: 0o600 })
    await kubectl(options, ['create', '-f', file])
  } catch (error) {
    // Somebody else was faster.
    if (error instanceof KubectlFailed && /AlreadyExists|already exists/.test(error.message))
      throw new BreakGlassRuns(`a break-glass for ${asked.namespace} was opened a moment ago`, { cause: error })
    throw error
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function end(options: Options, namespace: string): Promise<void> {
  const open = await openOne(options, namespace)
  if (open === null)
    throw new ObjectNotFound(
      `no break-glass is open for ${namespace}`,
      `kubectl get clustersessionpolicies -l ${breakGlassLabel} lists those that are.`,
    )
  if (breakGlassOf(open) === null)
    throw new BreakGlassRuns(`ClusterSessionPolicy ${open.metadata.name} has no label ${breakGlassLabel}: it was not made by this command`)
  await kubectl(options, ['delete', 'clustersessionpolicies.steno.dev', open.metadata.name])
  const bare = await getIfAllowed<{ metadata: { name: string } }>(
    options,
    ['-n', namespace, 'pods', '-l', '!steno.dev/injected'],
    () => undefined,
  )
  const names = (bare ?? []).map(({ metadata }) => metadata.name)
  await tell(options, {
    json: { action: 'ended', policy: open.metadata.name, namespace, podsWithoutSidecar: bare === null ? null : names },
    head: `It is ended: pods of ${namespace} that are made get the sidecar again, within seconds.`,
    lines:
      bare !== null && names.length === 0
        ? ['No pod there is without the sidecar.']
        : [
            bare === null
              ? 'Which pods have no sidecar you may not read; those that were made meanwhile stay as they are until they are made again.'
              : `These have none and stay as they are until they are made again: ${names.join(', ')}`,
            `  kubectl rollout restart deployment -n ${namespace}`,
          ],
  })
}

async function openOne(options: Options, namespace: string): Promise<FoundPolicy | null> {
  try {
    return (await getObjects<FoundPolicy>(options, ['clustersessionpolicies.steno.dev', breakGlassName(namespace)]))[0] ?? null
  } catch (error) {
    if (error instanceof ObjectNotFound) return null
    throw error
  }
}

/** Null when they may not be read. @throws ObjectNotFound */
async function labelsOf(options: Options, namespace: string): Promise<Labels | null> {
  const found = await getIfAllowed<{ metadata: { labels?: Labels } }>(options, ['namespace', namespace], () => undefined)
  return found === null ? null : (found[0]?.metadata.labels ?? {})
}

/** As the API server knows whoever runs this (authentication.k8s.io, SelfSubjectReview). */
async function userOf(options: Options): Promise<string | null> {
  try {
    const said = JSON.parse(await kubectl(options, ['auth', 'whoami', '-o', 'json'])) as { status?: { userInfo?: { username?: string } } }
    return said.status?.userInfo?.username ?? null
  } catch (error) {
    if (
      error instanceof ClusterForbids ||
      error instanceof KubectlFailed ||
      error instanceof ObjectNotFound ||
      error instanceof SyntaxError
    )
      return null // It is a help for auditors; the audit log knows better.
    throw error
  }
}

async function tell(
  options: Options,
  said: { readonly json: object; readonly head: string; readonly lines: readonly string[] },
): Promise<void> {
  const { bold } = paletteFor(options)
  await printLines(options.json === true ? [safeJson(said.json)] : [bold(printableLine(said.head)), ...said.lines.map(printableLine)])
}
