/**
 * Which policy was in force at each record of a session: the one it opened under, and the changes since.
 *
 * Holds so many changes at most; what stands before the oldest of them is then not known, and is not guessed.
 */

/** A statement is rarely under way for as long as a policy stays, let alone for so many. */
export const policyChangesMax = 1_000

/** Hashes; null where no policy is in force. */
export function createPolicyHistory(opened: string | null) {
  const changes: { readonly place: number; readonly hash: string | null }[] = [{ place: 0, hash: opened }]
  return {
    /** From record `place` on. Places only rise. */
    changed(place: number, hash: string): void {
      changes.push({ place, hash })
      if (changes.length > policyChangesMax) changes.shift()
    },
    /** What was in force at record `place`; null also when that is not known any more. */
    at(place: number): string | null {
      return changes.findLast((change) => change.place <= place)?.hash ?? null
    },
  }
}
