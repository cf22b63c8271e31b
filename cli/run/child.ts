/**
 * The command as a process of its own: same terminal, same signals, same exit code.
 *
 * It stays in steno's process group, so that it can read from the terminal. What the terminal sends to the group (Ctrl-C, Ctrl-\) has
 * therefore reached it already and is not passed on a second time; every other signal is.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { CommandNotExecutable, CommandNotFound } from './errors.ts'

/** What the shell, `env` and `timeout` use. */
export const exitCodes = { stenoFailed: 125, notExecutable: 126, notFound: 127, signalled: 128 } as const

const passedOn = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
const fromTerminal: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT'])

/**
 * Runs the command to its end and gives its exit code, 128 and the signal's number when one ended it.
 * @throws CommandNotFound, CommandNotExecutable
 */
export async function runChild(command: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  let child: ChildProcess | null = null
  // Before the command exists: a signal must never end steno and leave the command alone. What comes while it is made is passed on then.
  const pass = (signal: NodeJS.Signals): void => {
    if (!(fromTerminal.has(signal) && isForeground())) child?.kill(signal)
  }
  for (const signal of passedOn) process.on(signal, pass)
  try {
    child = spawn(command, args, { stdio: 'inherit', env: environment })
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
    return code ?? exitCodes.signalled + (signal === null ? 0 : os.constants.signals[signal])
  } catch (error) {
    const name = JSON.stringify(command)
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new CommandNotFound(`there is no program ${name}`, { cause: error })
    throw new CommandNotExecutable(`${name} cannot be run: ${messageOf(error)}`, { cause: error })
  } finally {
    for (const signal of passedOn) process.off(signal, pass)
  }
}

/** Whether the terminal's keys send signals to this process's group, which is the command's as well. */
function isForeground(): boolean {
  const stat = foregroundStat()
  if (stat === null) return process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY
  return isForegroundStat(stat)
}

function foregroundStat(): string | null {
  try {
    return readFileSync('/proc/self/stat', 'utf8')
  } catch (error) {
    if (systemCodeOf(error) !== undefined) return null // Not Linux.
    throw error
  }
}

/** Source: proc(5): behind the name in parentheses stand state, parent, group, session, terminal, the terminal's foreground group. */
export function isForegroundStat(stat: string): boolean {
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return group !== undefined && group === foreground
}
