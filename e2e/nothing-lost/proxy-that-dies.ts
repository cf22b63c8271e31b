/**
 * A real proxy in a process of its own that kills itself with SIGKILL at a chosen write to the spool: before it, when half of it
 * is written, or right after it. For `every-write-point.test.ts`.
 *
 * Arguments: which write (from 1; 0 for none), `before`, `middle` or `after`, and the folder of store and spool. The upstream comes
 * from STENO_UPSTREAM.
 */
import { writeSync } from 'node:fs'
import { createLog } from '../../base/log.ts'
import { startProxy } from '../../sidecar/main.ts'
import { testSettings } from './test-settings.ts'

export type WritePoint = 'before' | 'middle' | 'after'

const [, , wanted, point, folder] = process.argv as [string, string, string, WritePoint, string]
const dieAt = Number(wanted)
let writes = 0

function die(): never {
  process.kill(process.pid, 'SIGKILL')
  for (;;); // Nothing runs behind the signal, also when it takes a moment to arrive.
}

const write: typeof writeSync = ((descriptor: number, bytes: Buffer, offset: number, length: number, position: number): number => {
  if (++writes !== dieAt) return writeSync(descriptor, bytes, offset, length, position)
  if (point === 'middle') writeSync(descriptor, bytes, offset, length >> 1, position)
  if (point === 'after') writeSync(descriptor, bytes, offset, length, position)
  return die()
}) as typeof writeSync

const log = createLog({ level: 'info' })
const settings = testSettings(process.env['STENO_UPSTREAM']!, folder)
const proxy = await startProxy(
  // Without the reserve every write to the spool is a record's; small files are followed by others within the conversation.
  {
    ...settings,
    spoolLimits: { ...settings.spoolLimits, reserveBytes: 0, fileBytesMax: 100_000 },
    segment: { ...settings.segment, ageMilliseconds: 50 },
  },
  log,
  { spoolWrite: write },
)
process.on('SIGTERM', () => {
  void proxy.stop().then(() => process.exit(0))
})
process.stdout.write(`${proxy.port}\n`)
