/** What a search has to say beside what it found, on standard error. */
import { KnownError } from '../../base/errors.ts'
import { counted, printableLine } from '../text.ts'
import type { Progress } from './progress.ts'
import type { ScanCounts } from './scan.ts'

export function reportDamage(progress: Progress, session: string, error: Error): void {
  progress.clear()
  const code = error instanceof KnownError ? ` (${error.code})` : ''
  process.stderr.write(`steno: session ${session} cannot be read to its end: ${printableLine(error.message)}${code}\n`)
}

/** Silence would say that nothing was there. */
export function reportCutShort({ cutShort }: Readonly<ScanCounts>): void {
  if (cutShort === 0) return
  const [are, their] = cutShort === 1 ? ['is', 'its'] : ['are', 'their']
  process.stderr.write(
    `steno: ${counted(cutShort, 'statement')} that did not fit ${are} longer than the index holds; only ${their} first 65,536 characters were searched\n`,
  )
}
