/**
 * What do a thousand connections cost that are open and say nothing? Budget: 150 MB resident in all, plain.
 *
 * With TLS to the database no budget is set: OpenSSL's state of a thousand connections takes the bare copy loop, printed beside, past it.
 */
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isTls } from '../contestants.ts'
import { startProgram } from '../processes.ts'
import { readMemory } from '../proc.ts'
import { sampleMemory } from '../slot.ts'
import { budgetOf, measuredForms, withContestant, type Measure } from './measure.ts'

const residentMegabytesMax = 150
const connections = 1000
const smokeConnections = 50
const settleMilliseconds = 3_000
const openMillisecondsMax = 120_000
const idleProgram = fileURLToPath(new URL('../clients/idle.ts', import.meta.url))

export const idleConnections: Measure = {
  name: 'idle-connections',
  peers: ['node-copy', 'node-copy-tls'],
  contestants: measuredForms,
  take: (contestant, context) =>
    withContestant(contestant, context, 'idle-connections', async ({ target }, pid, folder) => {
      const count = context.smoke ? smokeConnections : connections
      const logFile = join(folder, 'idle-client.log')
      closeSync(openSync(logFile, 'w'))
      const sampler = sampleMemory(pid)
      const client = await startProgram([process.execPath, idleProgram, String(target.port), target.user, 'postgres', String(count)], {
        logFile,
        environment: { PGPASSWORD: target.password },
      })
      try {
        const giveUpAt = performance.now() + openMillisecondsMax
        while ((await readFile(logFile, 'utf8')) !== 'ready\n') {
          if (client.hasEnded()) throw new Error(`the idle client ended: ${await readFile(logFile, 'utf8')}`)
          if (performance.now() > giveUpAt) throw new Error(`${count} connections were not open after ${openMillisecondsMax} ms`)
          await sleep(100)
        }
        await sleep(settleMilliseconds)
        if (client.hasEnded()) throw new Error('connections were lost while they were idle')
        const { residentBytes, anonymousBytes } = readMemory(pid)
        return [
          {
            name: `${count} idle connections, resident`,
            contestant,
            value: residentBytes / 1e6,
            unit: 'MB',
            budget: isTls(contestant) ? null : budgetOf(contestant, residentMegabytesMax, context),
            note: `own ${(anonymousBytes / 1e6).toFixed(0)} MB; at most ${(sampler.peak().residentBytesPeak / 1e6).toFixed(0)} MB resident while they opened`,
          },
        ]
      } finally {
        sampler.stop()
        await client.stop()
      }
    }),
}
