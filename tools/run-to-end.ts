/** Runs a program to its end, with what it printed as text. Nothing here waits by time, and nothing bounds what is printed: it is for tests. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

export type RunToEndOptions = {
  /** All of the environment; the caller's own unless told. */
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly input?: string
  /** Told once the process runs, so that a test can interrupt it. */
  readonly onStart?: (kill: (signal: NodeJS.Signals) => void) => void
}

/** `code` is -1 when a signal ended it. @throws what spawn says of a program that cannot be started */
export async function runToEnd(
  command: string,
  args: readonly string[],
  { env = process.env, cwd, input = '', onStart }: RunToEndOptions = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const child = spawn(command, args, { stdio: 'pipe', env, cwd })
  const texts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (texts.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (texts.stderr += text))
  child.stdin.on('error', () => undefined) // A program may end before it has read its input.
  child.stdin.end(input)
  onStart?.((signal) => child.kill(signal))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code: code ?? -1, ...texts }
}
