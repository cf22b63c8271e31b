/**
 * A terminal taken over for a full-screen program and given back as it was: raw keys, alternate screen, no cursor, no wrapping.
 *
 * Given back on `leave`, and when the process ends in any way that Node hears of (exit, uncaught error, SIGTERM, SIGHUP, SIGINT).
 * SIGKILL leaves a terminal as it is: `reset` repairs it.
 */
import type { Size } from './layout.ts'

/** What is needed of a terminal's input: `process.stdin` has it. */
export type TerminalInput = {
  readonly isTTY: boolean
  setRawMode(raw: boolean): unknown
  on(event: 'data', listener: (bytes: Buffer) => void): unknown
  on(event: 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'data', listener: (bytes: Buffer) => void): unknown
  off(event: 'end', listener: () => void): unknown
  pause(): unknown
  resume(): unknown
}

/** What is needed of a terminal's output: `process.stdout` has it. */
export type TerminalOutput = {
  readonly isTTY: boolean
  readonly columns: number
  readonly rows: number
  write(text: string): boolean
  on(event: 'resize' | 'drain', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'resize' | 'drain', listener: () => void): unknown
}

const alternateScreen = '\x1b[?1049h'
const mainScreen = '\x1b[?1049l'
const hideCursor = '\x1b[?25l'
const showCursor = '\x1b[?25h'
const noWrap = '\x1b[?7l'
const wrap = '\x1b[?7h'
const plainStyle = '\x1b[0m'
const clearAll = '\x1b[2J'

/** Used where a terminal does not know its size. */
const usualSize: Size = { columns: 80, rows: 24 }

export type Terminal = {
  readonly size: Size
  /** Enters. `onBytes` gets what is typed; `onEnd` is told when no more can come, or when a signal asks to end. */
  enter(): void
  /** Gives the terminal back; doing it twice is harmless. */
  leave(): void
  /** Stops the process as Ctrl-Z does, and goes on when the shell continues it. */
  suspend(): void
  write(text: string): void
  /** False while the terminal has not taken what was written. */
  readonly ready: boolean
}

export type TerminalEvents = {
  onBytes(bytes: Buffer): void
  onResize(): void
  /** The terminal takes output again. */
  onReady(): void
  /** The screen was somebody else's and has to be drawn whole. */
  onReturn(): void
  /** `signal` is null when the input ended. */
  onEnd(signal: NodeJS.Signals | null): void
}

const endingSignals = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const

export function openTerminal(input: TerminalInput, output: TerminalOutput, events: TerminalEvents): Terminal {
  let entered = false
  let left = false
  let ready = true
  const onDrain = (): void => {
    ready = true
    events.onReady()
  }
  const onEnd = (): void => events.onEnd(null)
  /** The screen was the shell's meanwhile, also when the stop came from elsewhere. */
  const onContinue = (): void => {
    if (left) return
    take()
    events.onReturn()
  }
  const signalHandlers = endingSignals.map((signal) => [signal, (): void => events.onEnd(signal)] as const)

  function write(text: string): void {
    if (text !== '') ready = output.write(text)
  }

  function take(): void {
    input.setRawMode(true)
    write(alternateScreen + hideCursor + noWrap + plainStyle + clearAll)
    entered = true
  }

  function giveBack(): void {
    if (!entered) return
    entered = false
    write(plainStyle + wrap + showCursor + mainScreen)
    input.setRawMode(false)
  }

  return {
    get size(): Size {
      const { columns, rows } = output
      return columns > 0 && rows > 0 ? { columns, rows } : usualSize
    },
    get ready() {
      return ready
    },
    write,
    enter() {
      process.on('exit', giveBack)
      for (const [signal, handler] of signalHandlers) process.on(signal, handler)
      // The window was closed. These stay: giving back a terminal that is gone fails once more.
      input.on('error', onEnd)
      output.on('error', onEnd)
      input.on('data', events.onBytes)
      input.on('end', onEnd)
      output.on('resize', events.onResize)
      output.on('drain', onDrain)
      process.on('SIGCONT', onContinue)
      take()
      input.resume()
    },
    leave() {
      left = true
      giveBack()
      process.off('exit', giveBack)
      for (const [signal, handler] of signalHandlers) process.off(signal, handler)
      input.off('data', events.onBytes)
      input.off('end', onEnd)
      output.off('resize', events.onResize)
      output.off('drain', onDrain)
      process.off('SIGCONT', onContinue)
      input.pause()
    },
    suspend() {
      giveBack()
      process.kill(process.pid, 'SIGTSTP')
      // Runs when the process is continued; at once where no shell could do that, and nothing stops therefore.
      setImmediate(() => {
        if (!entered) onContinue()
      })
    },
  }
}
