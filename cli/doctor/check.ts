/**
 * What a check of `steno doctor` is: a name, what it looks at, and a finding with a remedy when there is something to do.
 *
 * Every check has a limit of time and turns whatever it meets into a finding, so that one that fails or hangs never hides the others.
 */
import { KnownError, messageOf } from '../../base/errors.ts'

export type Status = 'ok' | 'warning' | 'failed' | 'skipped'

export type Finding = {
  readonly status: Status
  readonly message: string
  /** What to do about it; always there for a warning or a failure. */
  readonly remedy?: string
  /** The code of docs/errors.md, where the failure has one. */
  readonly code?: string
}

/** A finding with its place. `target` is the host, folder or address that was looked at. */
export type CheckResult = Finding & { readonly check: string; readonly target: string | null; readonly milliseconds: number }

export const ok = (message: string): Finding => ({ status: 'ok', message })
export const skipped = (message: string): Finding => ({ status: 'skipped', message })
export const warning = (message: string, remedy: string): Finding => ({ status: 'warning', message, remedy })
export const failed = (message: string, remedy: string): Finding => ({ status: 'failed', message, remedy })

/** What an error says, as a finding; `remedy` is for errors that bring none. */
export function failedBy(error: unknown, remedy: string): Finding {
  if (!(error instanceof KnownError)) return failed(messageOf(error), remedy)
  return { ...failed(error.message, error.remedy), code: error.code }
}

export type CheckOptions = { readonly target?: string; readonly millisecondsMax: number; readonly remedy: string }

/** Runs one check to its finding. `remedy` is what to do when it throws what steno does not know, or does not end in time. */
export async function check(
  name: string,
  { target, millisecondsMax, remedy }: CheckOptions,
  run: (signal: AbortSignal) => Promise<Finding>,
): Promise<CheckResult> {
  const started = performance.now()
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<Finding>((resolve) => {
    timer = setTimeout(() => {
      late.abort(new Error('the check took too long'))
      resolve(failed(`no answer within ${millisecondsMax / 1000} s`, remedy))
    }, millisecondsMax)
  })
  const found = run(late.signal).catch((error: unknown) => failedBy(error, remedy))
  const finding = await Promise.race([found, timedOut])
  clearTimeout(timer)
  return { check: name, target: target ?? null, ...finding, milliseconds: Math.round(performance.now() - started) }
}
