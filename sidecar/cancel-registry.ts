/**
 * The cancel keys that steno gives to agents, and what each stands for at the database.
 *
 * An agent learns only steno's own key, so it can cancel its own statements through steno and nothing else. Unknown keys are
 * dropped without an answer, as PostgreSQL does.
 */
import { randomBytes } from 'node:crypto'
import type { PinnedHost } from './upstream/dial.ts'

export type CancelTarget = { readonly host: PinnedHost; readonly processId: number; readonly key: Buffer }

export function createCancelRegistry() {
  const targets = new Map<string, CancelTarget>()
  const name = (processId: number, key: Buffer): string => `${processId}:${key.toString('hex')}`
  return {
    /**
     * A fresh key for an agent: 4 bytes under protocol 3.0, 32 under 3.2. The process id stays the database's, so that what
     * the client knows agrees with `pg_backend_pid()`. `release` when the session ends.
     */
    issue(target: CancelTarget, protocol: '3.0' | '3.2'): { readonly key: Buffer; release(): void } {
      let key: Buffer
      do key = randomBytes(protocol === '3.0' ? 4 : 32)
      while (targets.has(name(target.processId, key)))
      const registered = name(target.processId, key)
      targets.set(registered, target)
      return { key, release: () => void targets.delete(registered) }
    },
    find(processId: number, key: Buffer): CancelTarget | null {
      return targets.get(name(processId, key)) ?? null
    },
  }
}
export type CancelRegistry = ReturnType<typeof createCancelRegistry>
