/**
 * The memory that long statements may take together, over all connections of the process: `heldStatementBytesMax`.
 *
 * A statement counts from its first byte until the database's socket has taken its last one. Who finds nothing left holds 16 KiB and judges what
 * is longer as it streams by (`postgres/redaction/oversized.ts`): it is recorded and sent on like any other, and slowed down by a
 * database that does not read. So an agent that begins many long statements, or sends them to a database that is busy, cannot exhaust the memory.
 */
import type { HoldingAllowance } from '../postgres/frontend-scanner.ts'
import type { Peer } from './peer.ts'

/** Fits, with all else, into a pod's sidecar with as many connections as that takes (`pod/settings.ts`). */
const heldStatementBytesMax = 16 * 1024 * 1024

export type HeldStatements = {
  /** The allowance of one connection. `afterGathered` calls back once everything that was gathered has gone on to `upstream`. */
  allowance(upstream: Peer, afterGathered: (then: () => void) => void): HoldingAllowance
}

type Sent = { readonly upstream: Peer; readonly mark: number; readonly bytes: number }

export function createHeldStatements({ bytesMax = heldStatementBytesMax }: { readonly bytesMax?: number } = {}): HeldStatements {
  let takenBytes = 0
  /** Handed to a socket that had not let go of it then. Looked through when room is wanted. */
  let sent: Sent[] = []

  function collect(): void {
    sent = sent.filter(({ upstream, mark, bytes }) => {
      if (!upstream.hasLetGo(mark)) return true
      takenBytes -= bytes
      return false
    })
  }

  return {
    allowance: (upstream, afterGathered) => ({
      take(bytes) {
        if (takenBytes + bytes > bytesMax) collect()
        if (takenBytes + bytes > bytesMax) return false
        takenBytes += bytes
        return true
      },
      give(bytes) {
        afterGathered(() => {
          const mark = upstream.mark()
          if (mark === null) takenBytes -= bytes
          else sent.push({ upstream, mark, bytes })
        })
      },
    }),
  }
}
