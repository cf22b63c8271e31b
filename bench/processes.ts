/**
 * Programs that the benchmark starts, and the promise that each is stopped by its process id, also when the run is cut short.
 *
 * Output goes to a file per program, so that a full pipe never slows what is measured. Holds one entry per living program.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemCodeOf } from '../base/errors.ts'

const living = new Set<ChildProcess>()
const stopMillisecondsMax = 10_000

export type Program = {
  readonly pid: number
  readonly logFile: string
  /** Resolves when the program has ended: its exit status, or 1 after a signal. */
  readonly ended: Promise<number>
  /** True once the program has ended. */
  hasEnded(): boolean
  /** Asks the program to end (SIGTERM), insists after ten seconds (SIGKILL), and returns when it has ended. */
  stop(): Promise<void>
}

export type StartOptions = {
  readonly logFile: string
  readonly environment?: NodeJS.ProcessEnv
  readonly directory?: string
}

/** Starts a program with its output in `logFile`. Throws when there is no such program. */
export async function startProgram(command: readonly string[], options: StartOptions): Promise<Program> {
  const [file, ...parameters] = command
  if (file === undefined) throw new Error('a command has a program')
  const log = openSync(options.logFile, 'a')
  const child = spawn(file, parameters, {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...options.environment },
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  })
  closeSync(log)
  const ended = new Promise<number>((resolve) => {
    child.once('exit', (status) => {
      living.delete(child)
      resolve(status ?? 1)
    })
  })
  living.add(child)
  await once(child, 'spawn')
  const pid = child.pid
  if (pid === undefined) throw new Error(`${file} started without a process id`)
  return {
    pid,
    logFile: options.logFile,
    ended,
    hasEnded: () => child.exitCode !== null || child.signalCode !== null,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      using insist = disposableTimeout(() => child.kill('SIGKILL'), stopMillisecondsMax)
      void insist
      await ended
    },
  }
}

/** Runs a program to its end and returns its standard output. Throws, with the end of its error output, on failure or past the deadline. */
export async function runProgram(
  command: readonly string[],
  options: { readonly environment?: NodeJS.ProcessEnv; readonly directory?: string; readonly millisecondsMax: number },
): Promise<string> {
  const [file, ...parameters] = command
  if (file === undefined) throw new Error('a command has a program')
  const child = spawn(file, parameters, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.environment },
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  })
  living.add(child)
  let output = ''
  let complaint = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-2000)))
  let late = false
  using deadline = disposableTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, options.millisecondsMax)
  void deadline
  try {
    const [status] = (await once(child, 'close')) as [number | null]
    if (late) throw new Error(`${file} was not done after ${options.millisecondsMax} ms: ${complaint}`)
    if (status !== 0) throw new Error(`${file} failed with status ${status}: ${complaint}`)
    return output
  } finally {
    living.delete(child)
  }
}

/** Ends everything that still runs, at once: for the way out when there is no time to ask. */
export function killEverything(): void {
  for (const child of living) child.kill('SIGKILL')
}

/** Returns when `port` on 127.0.0.1 accepts a connection. Throws, with the end of the program's log, when it ends before or takes too long. */
export async function waitUntilListening(program: Program, port: number, millisecondsMax = 20_000): Promise<void> {
  const giveUpAt = performance.now() + millisecondsMax
  while (!(await accepts(port))) {
    const log = readFileSync(program.logFile, 'utf8').slice(-2000)
    if (program.hasEnded()) throw new Error(`the program that should listen on port ${port} ended: ${log}`)
    if (performance.now() > giveUpAt) throw new Error(`nothing listens on port ${port} after ${millisecondsMax} ms: ${log}`)
    await sleep(50)
  }
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    if (systemCodeOf(error) === 'ECONNREFUSED') return false
    throw error
  } finally {
    socket.destroy()
  }
}

function disposableTimeout(action: () => void, milliseconds: number): Disposable {
  const timer = setTimeout(action, milliseconds)
  return { [Symbol.dispose]: () => clearTimeout(timer) }
}
