/**
 * A reporter for `node --test`: a line for every test that failed, with its file, its time and why. It is what is printed at the end of a run of
 * thousands, and what names the files for a second run.
 *
 * Whole files run again and not single tests, as `--test-rerun-failures` would: the last test of a file often looks at what those before it left.
 * Nothing is printed before the run is over: of one that was broken off nobody knows what would have failed, and it has no second run.
 * Causes are told down to the innermost, since the outer ones only say what was waited for; a line has at most 400 characters of them.
 * https://nodejs.org/api/test.html#custom-reporters
 */
import path from 'node:path'
import { inspect } from 'node:util'
import type { TestEvent } from 'node:test/reporters'

const reasonCharactersMax = 400
const causesMax = 5

/** What `node --test` was given, where `file` is where the test is written: a module that several files share holds no test by itself. */
type OfFile = { readonly entryFile?: string }

export default async function* failedTests(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failed: string[] = []
  let wasInterrupted = false
  for await (const event of events) {
    if (event.type === 'test:interrupted') wasInterrupted = true
    if (event.type !== 'test:fail' || (event.data.todo ?? false) !== false) continue
    const { name, file, details } = event.data
    const { entryFile } = event.data as OfFile
    const seconds = (details.duration_ms / 1000).toFixed(1)
    // A file that could not be loaded, or whose process died, is a failed test that is named after it.
    failed.push(`${path.relative('', entryFile ?? file ?? name)}: ${name} (${seconds} s): ${reasonOf(details.error)}\n`)
  }
  if (!wasInterrupted) yield* failed
}

/** What went wrong, in a line: each error that has another as its cause, shortened so that the innermost is read too. */
function reasonOf(error: unknown): string {
  const messages: string[] = []
  for (let at = error; at !== undefined && at !== null && messages.length < causesMax; at = at instanceof Error ? at.cause : undefined) {
    const message = (at instanceof Error ? at.message : typeof at === 'string' ? at : inspect(at)).replaceAll(/\s+/g, ' ').trim()
    // The runner wraps what a test threw in an error of the same words.
    if (message !== '' && message !== messages.at(-1)) messages.push(message)
  }
  const each = Math.floor(reasonCharactersMax / Math.max(1, messages.length))
  return messages.map((message) => (message.length > each ? `${message.slice(0, each - 1)}…` : message)).join(' <- ')
}
