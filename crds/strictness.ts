/**
 * Which choice is stricter than which: the one place that orders them, for policies against each other and against the cluster's floor.
 */
import type { TlsMode } from './session-policy.ts'

/** From weak to strict. */
export const levels = ['statements', 'results', 'stored'] as const
export const failures = ['continue', 'block'] as const
export const modes = ['CredentialsOnly', 'Relay'] as const
export const answers = ['Report', 'Block'] as const
export const tlsModes: readonly TlsMode[] = ['disable', 'require', 'verify-ca', 'verify-full']

/** The strictest of `given` by `order`, or `otherwise` when none is given. */
export function strictest<T>(order: readonly T[], given: readonly (T | undefined)[], otherwise: T): T {
  const rank = Math.max(-1, ...given.map((value) => (value === undefined ? -1 : order.indexOf(value))))
  return order[rank] ?? otherwise
}
