/**
 * How much memory does a proxy hold that nobody uses yet? Budget: 80 MB resident, 35 MB of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { readMemory } from '../proc.ts'
import { budgetOf, measuredForms, withContestant, type Measure } from './measure.ts'

const residentMegabytesMax = 80
const anonymousMegabytesMax = 35
const settleMilliseconds = 3_000

export const idleMemory: Measure = {
  name: 'idle-memory',
  peers: ['node-copy', 'haproxy', 'pgbouncer'],
  contestants: measuredForms,
  take: (contestant, context) =>
    withContestant(contestant, context, 'idle-memory', async (_running, pid) => {
      await sleep(settleMilliseconds)
      const { residentBytes, anonymousBytes } = readMemory(pid)
      const common = { contestant, unit: 'MB' as const }
      return [
        {
          ...common,
          name: 'idle, resident',
          value: residentBytes / 1e6,
          budget: budgetOf(contestant, residentMegabytesMax, context),
          note: 'VmRSS, pages of the binary included',
        },
        {
          ...common,
          name: 'idle, own',
          value: anonymousBytes / 1e6,
          budget: budgetOf(contestant, anonymousMegabytesMax, context),
          note: 'RssAnon',
        },
      ]
    }),
}
