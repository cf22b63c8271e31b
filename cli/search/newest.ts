/**
 * Which session `last` is, for commands that take one: the newest of the store, or of a namespace, a pod or a workload.
 *
 * Reads manifests from the newest session back until one fits. An id is of one session, wherever it was, so these options go with `last` alone.
 */
import type { Command } from 'commander'
import { listSessions, placeOfStore, SessionNotFound } from '../../session/read-session.ts'
import type { Store } from '../../session/stores/store.ts'
import { BadUsage } from '../failure-report.ts'
import { printableLine } from '../text.ts'
import { addPodOptions, sessionPasses, type FilterOptions } from './filters.ts'

export type NewestOptions = Pick<FilterOptions, 'namespace' | 'pod' | 'owner'>

/** For a command whose operand is one session. */
export function addNewestOptions(command: Command): Command {
  return addPodOptions(command, 'with `last`: the newest session')
}

/** @throws BadUsage for options that do not go with what was typed */
export function checkNewestOptions(wanted: string | undefined, options: NewestOptions): void {
  if (isAnyAsked(options) && wanted?.trim().toLowerCase() !== 'last')
    throw new BadUsage('--namespace, --pod and --owner go with `last`: an id is of one session, wherever it was')
}

/**
 * The id of the session that is meant, or what was typed where nothing more was asked.
 * @throws BadUsage, SessionNotFound, StoreUnavailable
 */
export async function wantedSession(store: Store, wanted: string, options: NewestOptions): Promise<string> {
  checkNewestOptions(wanted, options)
  if (!isAnyAsked(options)) return wanted
  const { namespace, pod, owner } = options
  const filters = { ...(namespace && { namespace }), ...(pod && { pod }), ...(owner && { owner }) }
  for await (const { session, identity } of listSessions(store)) if (identity !== null && sessionPasses(filters, identity)) return session
  const asked = [
    ...(namespace ?? []).map((each) => `namespace ${each}`),
    ...(pod ?? []).map((each) => `pod ${each}`),
    ...(owner ?? []).map(({ kind, name }) => `${kind}/${name}`),
  ]
  throw new SessionNotFound(`no recorded session in ${placeOfStore(store.url)} is of ${asked.map(printableLine).join(', ')}`)
}

function isAnyAsked({ namespace, pod, owner }: NewestOptions): boolean {
  return (namespace ?? pod ?? owner) !== undefined
}
