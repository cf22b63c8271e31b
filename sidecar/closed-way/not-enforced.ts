/** The closed way of a pod whose policy leaves its network alone (`CredentialsOnly`): nothing is measured, and nobody is kept out by it. */
import type { ClosedWay } from './closed-way.ts'

export function notEnforced(): ClosedWay {
  const since = Date.now()
  return {
    state: () => ({ state: 'Unknown', reason: 'NotEnforced', since, measured: 0, databases: [] }),
    onChange: () => () => undefined,
    admit: async () => undefined,
    reasonsNotStarted: () => [],
    reasonsNotReady: () => [],
    change: () => undefined,
    addMetrics: () => undefined,
    start: () => undefined,
    stop: () => undefined,
  }
}
