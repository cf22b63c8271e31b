/**
 * What became of the statements that a pod's agent says it ran: how many are recorded, and how many control states to be missing.
 *
 * Reads the store through control's reader, statements of loss and marks too. A gap whose size nobody knows counts as none.
 */
import { checkStatementLine } from '../../../cli/statement-line.ts'
import { lossesPrefix, nameOf } from '../../../session/object-keys.ts'
import { inOrder } from '../../../session/in-order.ts'
import { sessionsAtOnce } from '../../../session/list-sessions.ts'
import { listSessions, readStatements, type SessionSummary } from '../../../session/read-session.ts'
import { findRecorderLoss, type ReadLoss } from '../../../session/recorder-loss.ts'
import { openStore } from '../../../session/stores/open-store.ts'

export type Account = {
  /** Texts, in the order of the sessions. */
  readonly recorded: readonly string[]
  /** Statements that the pod's lost sessions lack, as their marks say. */
  readonly missing: number
  /** Sessions without an end whose recorder is not stated to be lost. */
  readonly unfinished: number
  readonly loss: ReadLoss | null
}

export async function accountOf(storeUrl: string, podUid: string): Promise<Account> {
  return (await accountsOf(storeUrl, [podUid])).get(podUid)!
}

/** Of several pods by one reading of the store, by their UIDs. */
export async function accountsOf(storeUrl: string, podUids: readonly string[]): Promise<ReadonlyMap<string, Account>> {
  const store = await openStore(storeUrl)
  const accounts = new Map(
    podUids.map((podUid) => [podUid, { recorded: [] as string[], missing: 0, unfinished: 0, loss: null as ReadLoss | null }]),
  )
  const podOfLost = new Map<string, string>()
  for await (const { key } of store.list(lossesPrefix)) {
    const found = nameOf(key)
    const read = found.kind === 'loss' ? await findRecorderLoss(store, found.recorder) : null
    const account = read === null ? undefined : accounts.get(read.loss.podUid)
    if (read === null || account === undefined) continue
    account.loss ??= read
    for (const { session } of [...read.loss.sessions, ...(read.mark?.sessions ?? [])]) podOfLost.set(session, read.loss.podUid)
  }
  const textsOf = async function* (
    summary: SessionSummary,
  ): AsyncGenerator<{ readonly summary: SessionSummary; readonly texts: string[] }, void> {
    const texts: string[] = []
    if (summary.identity !== null && accounts.has(podUidOf(summary) ?? ''))
      for await (const line of readStatements(store, summary.session)) texts.push(checkStatementLine(line).sql)
    yield { summary, texts }
  }
  const podUidOf = ({ session, identity }: SessionSummary): string | undefined => podOfLost.get(session) ?? identity?.attested['podUid']
  for await (const { summary, texts } of inOrder(listSessions(store, { order: 'oldest' }), sessionsAtOnce, textsOf)) {
    const account = accounts.get(podUidOf(summary) ?? '')
    if (account === undefined) continue
    if (summary.state === 'open' || summary.state === 'killed') account.unfinished++
    account.missing += summary.lost?.missing?.statements ?? 0
    account.recorded.push(...texts)
  }
  return accounts
}
