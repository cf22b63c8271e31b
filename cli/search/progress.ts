/** Says on standard error how far a long search has come: in place on a terminal, a line every few seconds elsewhere. */
import { counted } from '../text.ts'
import type { ScanCounts } from './scan.ts'

const terminalMilliseconds = 200
const lineMilliseconds = 2_000

export type Progress = {
  show(counts: Readonly<ScanCounts>): void
  /** Takes the line away, before something else is printed to the same terminal, or at the end. */
  clear(): void
}

type Output = { readonly isTTY?: boolean; write(text: string): unknown }

/** With `asked`, also where there is no terminal. `now` is in milliseconds and only ever grows. */
export function createProgress(asked: boolean, output: Output = process.stderr, now: () => number = () => performance.now()): Progress {
  const onTerminal = output.isTTY === true
  let last = now()
  let shown = false
  if (!onTerminal && !asked) return { show: () => undefined, clear: () => undefined }
  return {
    show(counts) {
      if (now() - last < (onTerminal ? terminalMilliseconds : lineMilliseconds)) return
      last = now()
      shown = onTerminal
      output.write(onTerminal ? `\r\x1b[K${progressText(counts)}` : `${progressText(counts)}\n`)
    },
    clear() {
      if (!shown) return
      shown = false
      output.write('\r\x1b[K')
    },
  }
}

export function progressText({ sessions, matches, reached }: Readonly<ScanCounts>): string {
  const at = reached === null ? '' : `, at ${new Date(reached).toISOString().slice(0, 10)}`
  return `${counted(sessions, 'session')} read${at}, ${matches} found`
}
