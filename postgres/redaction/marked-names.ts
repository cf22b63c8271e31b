/**
 * The names of a session's credential-bearing prepared statements: Parse and SQL's PREPARE share one name space, as in the server.
 *
 * Names are found again without regard to case and beyond the length at which the server cuts them, so one too many is found rather than
 * one too few. Bounded: beyond 1,000 names every name counts as marked.
 */

const namesMax = 1_000
/** The server keeps 63 bytes, and of a name in SQL no broken letter. */
const foundCharacters = 60

export function createMarkedNames() {
  /** By what they are found by. */
  const names = new Map<string, Set<string>>()
  let count = 0
  let all = false
  const key = (name: string): string => name.slice(0, foundCharacters).toLowerCase()
  return {
    /** Undefined stands for a name that was too long to keep. */
    add(name: string | undefined): void {
      if (name === undefined || count >= namesMax) {
        all = true
        return
      }
      const alike = names.get(key(name)) ?? new Set()
      if (!alike.has(name)) count++
      names.set(key(name), alike.add(name))
    },
    has: (name: string): boolean => all || names.has(key(name)),
    /** Takes away this very name, not the others that are found by it. */
    delete(name: string): void {
      const alike = names.get(key(name))
      if (alike?.delete(name) !== true) return
      count--
      if (alike.size === 0) names.delete(key(name))
    },
    /** True when SQL's EXECUTE may name one. */
    mayBeExecuted: (): boolean => all || names.size > (names.has('') ? 1 : 0),
  }
}
