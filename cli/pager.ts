/**
 * Long output on a terminal goes through a pager, as with git and man; into a pipe or a file it goes as it is.
 *
 * `$STENO_PAGER`, else `$PAGER`, else `less -FRX`; empty or `cat` means none. Whoever leaves the pager early ends the output, not the
 * command's exit code. While it is open, Ctrl-C belongs to it.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { printLines } from './print-lines.ts'

/** Options of a command that pages, as `main.ts` adds them; `pager` is false after `--no-pager`. */
export type PagerOptions = { readonly pager?: boolean; readonly json?: boolean }

type Environment = Readonly<Record<string, string | undefined>>

const standardPager = 'less -FRX'

/** The command line of the pager to be used, or null for none. */
export function pagerCommand({ pager, json }: PagerOptions, stream: { readonly isTTY?: boolean }, environment: Environment): string | null {
  if (pager === false || json === true || stream.isTTY !== true || environment['TERM'] === 'dumb') return null
  const named = environment['STENO_PAGER'] ?? environment['PAGER']
  const command = (named ?? standardPager).trim()
  if (command === '' || command === 'cat') return null
  // A machine without less is no reason to show nothing; a pager that somebody chose says itself what is wrong with it.
  if (named === undefined && !isOnPath('less', environment['PATH'] ?? '')) return null
  return command
}

function isOnPath(name: string, searched: string): boolean {
  return searched.split(path.delimiter).some((folder) => {
    const file = path.join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return statSync(file).isFile()
    } catch {
      return false // Not there, or not for us: the search goes on.
    }
  })
}

/** Prints lines as `printLines` does, through a pager where one is wanted. @throws whatever `lines` throw, after the pager was left */
export function printPaged(lines: AsyncIterable<string> | Iterable<string>, options: PagerOptions): Promise<void> {
  return withPager(options, (output) => printLines(lines, output))
}

/**
 * Gives `print` the pager's input where a pager is wanted, else standard output; returns when the pager was left.
 * A pager that was left early fails writes with EPIPE, which `printLines` takes for the end.
 * @throws what `print` throws, after the pager was left
 */
export async function withPager<Result>(options: PagerOptions, print: (output: Writable) => Promise<Result>): Promise<Result> {
  const command = pagerCommand(options, process.stdout, process.env)
  if (command === null) return print(process.stdout)
  const child = spawn('/bin/sh', ['-c', command], {
    stdio: ['pipe', 'inherit', 'inherit'],
    // As git does it: quit when all fits on a screen, show colours, leave the text on the screen. The user's own settings win.
    env: { LESS: 'FRX', LV: '-c', ...process.env },
  })
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
    child.once('error', () => resolve())
  })
  const ignoreInterrupt = (): void => undefined
  process.on('SIGINT', ignoreInterrupt)
  try {
    return await print(child.pid === undefined ? process.stdout : child.stdin)
  } finally {
    await endInput(child.stdin)
    await ended
    process.off('SIGINT', ignoreInterrupt)
  }
}

/** The pager may have gone already, and then does not take the end either. */
function endInput(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    stream.once('error', () => resolve())
    stream.end(() => resolve())
    if (stream.destroyed) resolve()
  })
}
