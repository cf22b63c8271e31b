/**
 * What became of the statements that a pod's agent says it ran: how many are recorded, and how many control states to be missing.
 *
 * Reads the store through control's reader, statements of loss and marks too. A gap whose size nobody knows counts as none.
 */
import { checkStatementLine } from '../../../cli/statement-line.ts'
import { lossesPrefix, nameOf } from '../../../session/object-keys.ts'
import { listSessions, readStatements } from '../../../session/read-session.ts'
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
  const store = await openStore(storeUrl)
  const losses: ReadLoss[] = []
  for await (const { key } of store.list(lossesPrefix)) {
    const found = nameOf(key)
    const read = found.kind === 'loss' ? await findRecorderLoss(store, found.recorder) : null
    if (read?.loss.podUid === podUid) losses.push(read)
  }
  const lost = new Set(losses.flatMap(({ loss, mark }) => [...loss.sessions, ...(mark?.sessions ?? [])].map(({ session }) => session)))
  const recorded: string[] = []
  let missing = 0
  let unfinished = 0
  for await (const { session, identity, state, lost: part } of listSessions(store, { order: 'oldest' })) {
    if (identity?.attested['podUid'] !== podUid && !lost.has(session)) continue
    if (state === 'open' || state === 'killed') unfinished++
    missing += part?.missing?.statements ?? 0
    if (identity !== null) for await (const line of readStatements(store, session)) recorded.push(checkStatementLine(line).sql)
  }
  return { recorded, missing, unfinished, loss: losses[0] ?? null }
}
