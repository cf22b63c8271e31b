/**
 * The failures an operator or a client may meet, each with a stable code and a remedy.
 *
 * Holds only the common shape; each folder defines its own beside the code that throws them.
 */

/** A failure with a known cause. `code` is stable and documented; the message may be reworded. */
export abstract class KnownError extends Error {
  abstract readonly code: string
  /** What the person who reads this can do about it, as a sentence. */
  abstract readonly remedy: string
  /** True when nothing reached the database, so a retry cannot run a statement twice. */
  abstract readonly safeToRetry: boolean
}

/** The text of any thrown value, without a stack trace. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The operating system's code of an error (`ENOSPC`, `ECONNREFUSED`), or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
