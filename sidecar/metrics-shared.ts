/** What the sealing thread adds up for the connection thread to show; made only where somebody asks for metrics. */
import { createSharedStoreState, type SharedStoreState } from './metrics-store.ts'
import { createSharedStatementCounts, type SharedStatementCounts } from './statements/counts.ts'

export type SharedCounts = { readonly statements: SharedStatementCounts; readonly store: SharedStoreState }

/** `storeProvenAt`: when the store was last known to take something, in milliseconds since the epoch. */
export function createSharedCounts({ storeProvenAt }: { readonly storeProvenAt: number }): SharedCounts {
  return { statements: createSharedStatementCounts(), store: createSharedStoreState({ provenAt: storeProvenAt }) }
}
