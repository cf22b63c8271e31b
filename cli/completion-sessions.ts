/** The ids that a shell offers: the newest sessions of a store, quickly, and nothing at all when anything is wrong. */
import { sessionIds } from '../session/read-session.ts'
import { openStoreFromOptions, type StoreOptions } from './store-option.ts'
import { printLines } from './print-lines.ts'

const sessionsMax = 50
/** Somebody waits with a finger on the tab key. */
const millisecondsMax = 1_500

export async function printSessionIds(options: StoreOptions): Promise<void> {
  const late = setTimeout(() => process.exit(0), millisecondsMax)
  try {
    const found: string[] = []
    for await (const session of sessionIds(await openStoreFromOptions(options), 'newest')) {
      if (found.push(session) >= sessionsMax) break
    }
    await printLines(found)
  } catch {
    // A message would be written into the line that somebody types.
  } finally {
    clearTimeout(late)
  }
}
