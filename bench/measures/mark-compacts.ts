/**
 * Does the thread that moves the bytes ever stop for a mark-compact collection under steady small queries? Budget: none.
 *
 * Each is a pause of milliseconds for every connection, and a sign of buffers that are allocated anew each turn. Start-up and warm-up may
 * collect; only what falls into the steady window counts.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runPgbench } from '../pgbench.ts'
import { budgetOf, measuredForms, withContestant, type Measure } from './measure.ts'

const clients = 8
const observer = new URL('collection-observer.ts', import.meta.url).href

export const markCompacts: Measure = {
  name: 'mark-compacts',
  peers: ['node-copy', 'node-copy-tls'],
  contestants: [...measuredForms, 'steno-pass-through', 'steno-pass-through-tls'],
  async take(contestant, context) {
    const [warmUpSeconds, windowSeconds] = context.smoke ? [1, 2] : [5, 10]
    const { folder } = context
    const environment = { NODE_OPTIONS: `--import=${observer}`, BENCH_COLLECTIONS: folder }
    return withContestant(
      contestant,
      context,
      'mark-compacts',
      async ({ target }, pid) => {
        const login = { PGUSER: target.user, PGPASSWORD: target.password, PGSSLMODE: 'disable', PGGSSENCMODE: 'disable' }
        const load = {
          command: context.pgbench.command,
          environment: { ...context.pgbench.environment, ...login },
          port: target.port,
          clients,
          protocol: 'prepared',
          script: 'key',
          reconnect: false,
          folder,
        } as const
        await runPgbench({ ...load, seconds: warmUpSeconds })
        const from = Date.now()
        const { transactions } = await runPgbench({ ...load, seconds: windowSeconds })
        const seen = parseCollections(await readFile(join(folder, `collections-${pid}`), 'utf8'))
        const inWindow = seen.filter(({ atMilliseconds }) => atMilliseconds >= from && atMilliseconds <= Date.now())
        return [
          {
            name: 'mark-compacts, steady queries',
            contestant,
            value: inWindow.filter(({ isMarkCompact }) => isMarkCompact).length,
            unit: 'collections',
            budget: budgetOf(contestant, 0, context),
            note: `${transactions} queries in ${windowSeconds} s, ${inWindow.length} collections of all kinds`,
          },
        ]
      },
      environment,
    )
  },
}

/** What the observer wrote. Throws when it wrote nothing: without it, no collection would be seen, and none would seem to happen. */
export function parseCollections(text: string): { readonly atMilliseconds: number; readonly isMarkCompact: boolean }[] {
  const seen = text.split('\n').flatMap((line) => {
    const found = /^(\d+) (mark-compact|other)$/.exec(line)
    return found === null ? [] : [{ atMilliseconds: Number(found[1]), isMarkCompact: found[2] === 'mark-compact' }]
  })
  if (seen.length === 0) throw new Error('the observer saw no collection at all, so it does not work')
  return seen
}
