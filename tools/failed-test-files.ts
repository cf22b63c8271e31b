/**
 * A reporter for `node --test`: prints the file of every test that failed, one a line, each once, for a second run of these files alone.
 *
 * Whole files and not single tests, as `--test-rerun-failures` would: the last test of a file often looks at what those before it left.
 * Nothing is printed before the run is over: of one that was broken off nobody knows what would have failed, and it has no second run.
 * https://nodejs.org/api/test.html#custom-reporters
 */
import path from 'node:path'
import type { TestEvent } from 'node:test/reporters'

/** What `node --test` was given, where `file` is where the test is written: a module that several files share holds no test by itself. */
type OfFile = { readonly entryFile?: string }

export default async function* failedTestFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failed = new Set<string>()
  let wasInterrupted = false
  for await (const event of events) {
    if (event.type === 'test:interrupted') wasInterrupted = true
    if (event.type !== 'test:fail' || (event.data.todo ?? false) !== false) continue
    const { entryFile } = event.data as OfFile
    // A file that could not be loaded, or whose process died, is a failed test that is named after it.
    failed.add(path.relative('', entryFile ?? event.data.file ?? event.data.name))
  }
  if (!wasInterrupted) for (const file of failed) yield `${file}\n`
}
