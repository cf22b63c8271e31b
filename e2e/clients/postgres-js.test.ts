/** npm `postgres` does real work through steno: pipelining, cursors, COPY streams, cancelling, notifications, long texts. */
import assert from 'node:assert/strict'
import type { Readable, Writable } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { after, test } from 'node:test'
import postgres from 'postgres'
import { untilSleeping } from '../support/sleepers.ts'
import { rowsRecorded, startWorld, statementsRecorded, type Way } from '../support/ways.ts'

const world = await startWorld()
after(() => world[Symbol.asyncDispose]())

/** Rows that the clients were given, by application name. */
const rowsSeen = new Map<string, number>()
const longText = 20_000_000

function connect({ target }: Way, application: string, options: postgres.Options<Record<string, never>> = {}): postgres.Sql {
  const { host, port, user, password, database, sslmode } = target
  return postgres({
    ...{ host, port, user, database, ssl: sslmode === 'disable' ? false : 'require', connection: { application_name: application } },
    ...(password === undefined ? {} : { password }),
    ...{ max: 1, fetch_types: false, onnotice: () => undefined },
    ...options,
  })
}

for (const [index, way] of world.ways.entries()) {
  const application = `postgres-${index}`
  test(`postgres works: ${way.name}`, async () => {
    const notices: string[] = []
    const sql = connect(way, application, { onnotice: ({ message }) => notices.push(message ?? '') })
    let rows = 0
    const count = <Row>(answer: readonly Row[]): Row[] => {
      rows += answer.length
      return [...answer]
    }
    try {
      await sql`create table visit (id serial primary key, who text not null, amount numeric, tags text[])`
      await sql`insert into visit ${sql([
        { who: 'Ada', amount: '1.50', tags: null },
        { who: 'Žofie', amount: null, tags: null },
      ])}`
      assert.deepEqual(count(await sql`select who, amount, tags from visit order by id`), [
        { who: 'Ada', amount: '1.50', tags: null },
        { who: 'Žofie', amount: null, tags: null },
      ])
      // Pipelined on one connection, an error among them.
      const settled = await Promise.allSettled(
        Array.from({ length: 60 }, (_, at) => (at === 30 ? sql`select 1 / ${at - 30}::int as at` : sql`select ${at}::int as at`)),
      )
      assert.deepEqual(
        settled.flatMap((answer, at) => (answer.status === 'rejected' ? [at] : [])),
        [30],
      )
      rows += 59
      // A cursor in portions of 7.
      const portions: number[] = []
      await sql`select g from generate_series(1, 30) g`.cursor(7, (portion) => void portions.push(count(portion).length))
      assert.deepEqual(portions, [7, 7, 7, 7, 2])
      // A cursor that is left early: the portal stays suspended and is closed.
      for await (const portion of sql`select g from generate_series(1, 1000) g`.cursor(4)) {
        assert.equal(count(portion).length, 4)
        break
      }
      // Transactions with savepoints.
      await sql.begin(async (transaction) => {
        await transaction`insert into visit (who) values ('kept')`
        await assert.rejects(
          transaction.savepoint(async (inner) => {
            await inner`insert into visit (who) values ('undone')`
            await inner`insert into visit (who) values (${null})`
          }),
          { code: '23502', column_name: 'who' },
        )
      })
      await assert.rejects(
        sql.begin('isolation level serializable', async (transaction) => transaction`select * from nowhere`),
        { code: '42P01' },
      )
      assert.equal(count(await sql`select who from visit where who in ('kept', 'undone')`).length, 1)
      count((await sql.unsafe('select 1 as a; select 2 as b').simple()).flat())
      await sql`do $$ begin raise notice 'noticed'; end $$`
      assert.deepEqual(notices, ['noticed'])

      // COPY by streams, both ways.
      const writable: Writable = await sql`copy visit (who, amount) from stdin`.writable()
      await pipeline(function* () {
        for (let at = 0; at < 5000; at++) yield `guest ${at}\t${at}\n`
      }, writable)
      const readable: Readable = await sql`copy (select who, amount from visit where who like 'guest%' order by id) to stdout`.readable()
      assert.equal(await textOf(readable), Array.from({ length: 5000 }, (_, at) => `guest ${at}\t${at}\n`).join(''))
    } finally {
      await sql.end()
    }
    rowsSeen.set(application, rows)
  })

  test(`postgres is told of notifications and cancels a query: ${way.name}`, async () => {
    const sql = connect(way, `postgres-cancel-${index}`)
    try {
      const heard = new Promise<string>((resolve) => {
        void sql.listen('news', resolve).then(async () => sql.notify('news', 'a payload, ž'))
      })
      assert.equal(await heard, 'a payload, ž')
      const sleeping = sql`select pg_sleep(120)`.execute()
      const refused = assert.rejects(sleeping, { code: '57014' })
      await untilSleeping(world.server, `postgres-cancel-${index}`)
      sleeping.cancel()
      await refused
      assert.deepEqual([...(await sql`select 1 as still`)], [{ still: 1 }])
    } finally {
      await sql.end()
    }
  })
}

// Longer than what steno holds of a statement while it judges it.
for (const way of [world.ways[1]!, world.ways[4]!]) {
  test(`postgres sends and gets a text of 20 MB: ${way.name}`, async () => {
    const sql = connect(way, 'postgres-long')
    try {
      const value = 'long text '.repeat(longText / 10)
      const [answer] = await sql.unsafe(`select '${value}' as value, 'the end' as last`).simple()
      assert.equal(answer?.['value'], value)
      const [bound] = await sql`select ${value}::text as value`
      assert.ok(bound?.['value'] === value)
    } finally {
      await sql.end()
    }
  })
}

test('the recordings hold every statement that the server ran', async () => {
  const sessions = await world.finish()
  for (const [application, rows] of rowsSeen) assert.equal(rowsRecorded(sessions, application), rows, application)
  const long = statementsRecorded(sessions, 'postgres-long').filter(({ kind }) => kind === 'query')
  assert.ok(long.length === 2 && long.every(({ sqlBytes }) => sqlBytes > longText))
  for (const index of world.ways.keys()) {
    const copies = statementsRecorded(sessions, `postgres-${index}`).filter(({ copy }) => copy !== undefined)
    assert.deepEqual(
      copies.map(({ copy, tag }) => [copy?.direction, tag, copy?.bytes]),
      [
        ['in', 'COPY 5000', copies[1]?.copy?.bytes],
        ['out', 'COPY 5000', copies[1]?.copy?.bytes],
      ],
    )
  }
})
