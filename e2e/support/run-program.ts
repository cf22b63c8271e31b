/** Runs a program of others to its end, with what it printed as text. Nothing here waits by time. */
import type { Program } from '../../tools/debian-programs.ts'
import { runToEnd } from '../../tools/run-to-end.ts'

export type ProgramResult = { readonly status: number; readonly stdout: string; readonly stderr: string }

export type RunOptions = {
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
  /** Told once the process runs, so that a test can interrupt it. */
  readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void
}

/** `status` is -1 when a signal ended it. */
export async function runProgram({ command, env }: Program, args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> {
  const { environment, ...rest } = options
  const { code, ...texts } = await runToEnd(command, args, { ...rest, env: { ...env, LC_ALL: 'C.UTF-8', ...environment } })
  return { status: code, ...texts }
}
