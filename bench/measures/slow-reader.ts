/**
 * Does memory grow when a client reads slower than the database sends? Budget: 120 MB resident while 1 GB passes.
 *
 * The client takes 4 MiB, rests for 50 ms, and so on: about 60 MB/s, far below what the database could send.
 */
import { runBulk } from '../loads.ts'
import { sampleMemory } from '../slot.ts'
import { budgetOf, measuredForms, withContestant, type Measure } from './measure.ts'

const residentMegabytesMax = 120
const bytesTotal = 1_000_000_000

export const slowReader: Measure = {
  name: 'slow-reader',
  peers: ['node-copy', 'node-copy-tls'],
  contestants: measuredForms,
  take: (contestant, context) =>
    withContestant(contestant, context, 'slow-reader', async ({ target }, pid) => {
      const passes = context.smoke ? 1 : Math.ceil(bytesTotal / context.bulkBytes)
      const sampler = sampleMemory(pid)
      const result = await runBulk(target, 'slow-result', context.bulkBytes, { passes }).finally(() => sampler.stop())
      const { residentBytesPeak, anonymousBytesPeak } = sampler.peak()
      const passed = `${(result.bytes / 1e6).toFixed(0)} MB at ${(result.bytes / 1e6 / result.seconds).toFixed(0)} MB/s`
      return [
        {
          name: 'slow reader, peak resident',
          contestant,
          value: residentBytesPeak / 1e6,
          unit: 'MB',
          budget: budgetOf(contestant, residentMegabytesMax, context),
          note: `${passed}; own at most ${(anonymousBytesPeak / 1e6).toFixed(0)} MB`,
        },
      ]
    }),
}
