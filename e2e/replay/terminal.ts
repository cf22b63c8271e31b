/**
 * A program in a pseudo-terminal, and a terminal emulator that shows what a person would see.
 *
 * Waiting is for something to appear, never for time; what does not appear within `waitMillisecondsMax` fails with the screen in
 * the message. The program is ended on disposal.
 */
import { spawn, type IPty } from '@lydell/node-pty'
import headless from '@xterm/headless'

const waitMillisecondsMax = 120_000

export type TerminalProgram = AsyncDisposable & {
  readonly pid: number
  /** The emulator, for those who want cells and colours. */
  readonly emulator: InstanceType<typeof headless.Terminal>
  /** The screen's lines, without the spaces behind them. */
  screen(): string[]
  /** All that the program wrote, escape sequences included. */
  written(): string
  type(text: string): void
  resize(columns: number, rows: number): void
  /** Waits until the screen is as wanted. */
  until(wanted: string | RegExp | ((screen: string) => boolean)): Promise<void>
  kill(signal: NodeJS.Signals): void
  /** Waits for the end; all that was written is then on the screen. */
  ended(): Promise<{ readonly exitCode: number; readonly signal: number | undefined }>
}

export type TerminalProgramOptions = {
  readonly command: string
  readonly arguments: readonly string[]
  readonly columns: number
  readonly rows: number
  readonly environment?: Readonly<Record<string, string>>
}

export function startInTerminal(options: TerminalProgramOptions): TerminalProgram {
  const { columns, rows } = options
  const inherited = Object.entries(process.env).filter(([name]) => !/^(NO_COLOR|FORCE_COLOR|LC_|LANG$|PAGER$|STENO_)/.test(name))
  const pty: IPty = spawn(options.command, [...options.arguments], {
    name: options.environment?.['TERM'] ?? 'xterm-256color',
    cols: columns,
    rows,
    env: { ...Object.fromEntries(inherited), LANG: 'C.UTF-8', ...options.environment },
  })
  const emulator = new headless.Terminal({ cols: columns, rows, allowProposedApi: true, scrollback: 0 })
  let written = ''
  let parsing = 0
  let exit: { exitCode: number; signal: number | undefined } | null = null
  const listeners = new Set<() => void>()
  const tell = (): void => {
    for (const listener of [...listeners]) listener()
  }
  pty.onData((text) => {
    written += text
    parsing++
    emulator.write(text, () => {
      parsing--
      tell()
    })
  })
  pty.onExit(({ exitCode, signal }) => {
    exit = { exitCode, signal }
    tell()
  })

  function screen(): string[] {
    const { active } = emulator.buffer
    return Array.from({ length: emulator.rows }, (_, row) => active.getLine(active.viewportY + row)?.translateToString(true) ?? '')
  }

  async function waitFor(holds: () => boolean, what: string): Promise<void> {
    if (holds()) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const check = (): void => {
      if (holds()) resolve()
      else if (exit !== null && parsing === 0 && what !== 'the end')
        reject(new Error(`the program ended before ${what}:\n${screen().join('\n')}`))
    }
    const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}:\n${screen().join('\n')}`)), waitMillisecondsMax)
    listeners.add(check)
    try {
      await promise
    } finally {
      listeners.delete(check)
      clearTimeout(timer)
    }
  }

  return {
    pid: pty.pid,
    emulator,
    screen,
    written: () => written,
    type: (text) => pty.write(text),
    resize(newColumns, newRows) {
      emulator.resize(newColumns, newRows)
      pty.resize(newColumns, newRows)
    },
    until(wanted) {
      const holds = (): boolean => {
        const shown = screen().join('\n')
        return typeof wanted === 'string' ? shown.includes(wanted) : typeof wanted === 'function' ? wanted(shown) : wanted.test(shown)
      }
      return waitFor(holds, String(wanted))
    },
    kill: (signal) => pty.kill(signal),
    async ended() {
      await waitFor(() => exit !== null && parsing === 0, 'the end')
      return exit!
    },
    async [Symbol.asyncDispose]() {
      if (exit === null) pty.kill('SIGKILL')
      await waitFor(() => exit !== null && parsing === 0, 'the end')
      emulator.dispose()
    },
  }
}
