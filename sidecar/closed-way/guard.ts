/**
 * What an open way means for the agent under `onOpenPath: Block`: its way is closed at once, and opened again when each database that was
 * found open was measured Closed twice in a row.
 *
 * Under `Report` nothing is closed; what was found is remembered all the same, for a policy may change to `Block`.
 */
import type { Refusal } from '../session-refused.ts'
import type { Measured } from './measure.ts'

/** The name of the reason, beside others that may close the way. */
export const openPathReason = 'open-path'

const closedInARow = 2

export type OnOpenPath = 'Block' | 'Report'

export function createGuard({
  onOpenPath,
  setWay,
}: {
  onOpenPath: OnOpenPath
  readonly setWay: (name: string, refusal: Refusal | null) => void
}) {
  /** Databases that were found open: through what, and how often in a row they were Closed since. */
  const open = new Map<string, { readonly through: string; closed: number }>()
  let mode = onOpenPath
  let isClosed = false

  function apply(): void {
    const [first] = open
    if (first === undefined || mode === 'Report') {
      if (isClosed) setWay(openPathReason, null)
      isClosed = false
    } else if (!isClosed) {
      isClosed = true
      setWay(openPathReason, refusalOf(first[0], first[1].through))
    }
  }

  return {
    foundOpen(database: string, through: string): void {
      open.set(database, { through, closed: 0 })
      apply()
    },
    measured(database: string, { state }: Pick<Measured, 'state'>): void {
      const found = open.get(database)
      if (found === undefined || state === 'Open') return
      found.closed = state === 'Closed' ? found.closed + 1 : 0
      if (found.closed >= closedInARow) open.delete(database)
      apply()
    },
    /** Databases that a policy no longer has. */
    forget(database: string): void {
      open.delete(database)
      apply()
    },
    setOnOpenPath(changed: OnOpenPath): void {
      mode = changed
      apply()
    },
    get mode(): OnOpenPath {
      return mode
    },
    /** Whether the agent's way is closed by this. */
    get isClosed(): boolean {
      return isClosed
    },
  }
}

/** SQLSTATE 57P01, admin_shutdown: what PostgreSQL itself ends sessions with that an operator does not want. */
export function refusalOf(database: string, through: string): Refusal {
  return {
    code: '57P01',
    message: `database ${database} can be reached past the recording: a direct connection from this pod to ${through} succeeded`,
    hint:
      "A human must close that way: look at the NetworkPolicies of the pod's namespace and whether the cluster's network enforces them. " +
      'Sessions are let in again when two measurements in a row find it closed; retrying before that does not help.',
  }
}
