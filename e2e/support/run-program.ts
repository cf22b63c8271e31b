/** Runs a program of others to its end, with what it printed as text. Nothing here waits by time. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Program } from '../../tools/debian-programs.ts'

export type ProgramResult = { readonly status: number; readonly stdout: string; readonly stderr: string }

export type RunOptions = {
  readonly input?: string
  readonly environment?: Readonly<Record<string, string>>
  /** Told once the process runs, so that a test can interrupt it. */
  readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void
}

/** `status` is -1 when a signal ended it. */
export async function runProgram({ command, env }: Program, args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...env, LC_ALL: 'C.UTF-8', ...options.environment } })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => undefined) // A program may end before it has read its input.
  child.stdin.end(options.input ?? '')
  options.onStart?.((signal) => child.kill(signal))
  await once(child, 'close')
  return { status: child.exitCode ?? -1, stdout, stderr }
}
