/** Statements that sleep in a server, for tests that cancel or kill what is under way. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'

const waitMillisecondsMax = 120_000

/** How many sessions are in `pg_sleep`: of this application, or at all. */
export async function countSleeping(server: EmbeddedPostgres, application?: string): Promise<number> {
  const rows = await server.query("select application_name as name from pg_stat_activity where wait_event = 'PgSleep'")
  return rows.filter(({ name }) => application === undefined || name === application).length
}

/** Returns once a session of this application is in `pg_sleep`. */
export async function untilSleeping(server: EmbeddedPostgres, application: string): Promise<void> {
  const until = Date.now() + waitMillisecondsMax
  while ((await countSleeping(server, application)) === 0) {
    if (Date.now() > until) throw new Error(`no statement of ${application} sleeps`)
    await sleep(10)
  }
}
