/** npm `pg` does real work through steno: prepared statements, portals fetched in parts, pools, notifications, values of every size. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { after, test } from 'node:test'
import pg from 'pg'
import { rowsRecorded, startWorld, type Way } from '../support/ways.ts'

const world = await startWorld()
after(() => world[Symbol.asyncDispose]())

const mebibyte = 1024 * 1024
/** Rows that the clients were given, by application name. */
const rowsSeen = new Map<string, number>()

function settingsOf({ target }: Way, application: string): pg.PoolConfig {
  const { sslmode, ...rest } = target
  return { ...rest, application_name: application, ssl: sslmode === 'disable' ? false : { rejectUnauthorized: false } }
}

async function connect(way: Way, application: string): Promise<pg.Client> {
  const client = new pg.Client(settingsOf(way, application))
  await client.connect()
  return client
}

for (const [index, way] of world.ways.entries()) {
  const application = `pg-${index}`
  test(`pg works: ${way.name}`, async () => {
    const client = await connect(way, application)
    let rows = 0
    async function run<Row extends pg.QueryResultRow>(text: string | pg.QueryConfig, values?: unknown[]): Promise<Row[]> {
      const answer = await client.query<Row>(text, values)
      rows += answer.rows.length
      return answer.rows
    }
    try {
      await run('create table item (id serial primary key, name text, price numeric, tags text[], data bytea, at timestamptz)')
      const insert = 'insert into item (name, price, tags, data) values ($1, $2, $3, $4) returning id'
      for (let at = 0; at < 20; at++)
        await run({ name: 'insert-item', text: insert, values: [`item ${at}`, at / 4, ['a', null, 'b"c'], randomBytes(at)] })
      assert.deepEqual(await run('select id, name, price, tags from item where id = any($1) order by id', [[1, 20]]), [
        { id: 1, name: 'item 0', price: '0', tags: ['a', null, 'b"c'] },
        { id: 20, name: 'item 19', price: '4.75', tags: ['a', null, 'b"c'] },
      ])
      assert.deepEqual(await run('select $1::int as n, $2::text as t', [null, null]), [{ n: null, t: null }])
      // A portal fetched ten rows at a time: nine times suspended.
      const inParts = { text: 'select g from generate_series(1, 95) g', rows: 10 }
      assert.equal((await run(inParts)).length, 95)

      // Transactions, savepoints, errors in the middle of them, and going on.
      await run('begin')
      await run('update item set price = price + 1')
      await run('savepoint before')
      await assert.rejects(run('insert into item (id) values (1)'), { code: '23505', constraint: 'item_pkey' })
      await assert.rejects(run('select 1'), { code: '25P02' })
      await run('rollback to before')
      await run('commit')
      await assert.rejects(run('select $1::int', ['no number']), { code: '22P02' })
      await assert.rejects(run('selec $1', [1]), { code: '42601', position: '1' })
      await assert.rejects(run({ name: 'insert-item', text: insert, values: ['x', 'not a number', [], null] }), { code: '22P02' })
      assert.equal((await run({ name: 'insert-item', text: insert, values: ['after errors', 1, [], null] })).length, 1)

      // Several statements in one simple query, all of which ran or none.
      const several = (await client.query(
        "select 1 as a; select 2 as b union select 3; insert into item (name) values ('both;')",
      )) as unknown as pg.QueryResult[]
      assert.deepEqual(
        several.map(({ rowCount }) => rowCount),
        [1, 2, 1],
      )
      rows += 3
      await assert.rejects(client.query("insert into item (name) values ('undone'); select 1/0; select 4"), { code: '22012' })
      assert.deepEqual(await run("select count(*)::int as n from item where name = 'undone'"), [{ n: 0 }])

      const noticed = once(client, 'notice')
      await run("do $$ begin raise warning 'careful with %', 'ž' using hint = 'a hint'; end $$")
      const [notice] = (await noticed) as [{ message: string; hint: string; severity: string }]
      assert.deepEqual([notice.message, notice.hint, notice.severity], ['careful with ž', 'a hint', 'WARNING'])

      await run('listen news')
      const notified = once(client, 'notification')
      await run('select pg_notify($1, $2)', ['news', 'from outside, ž'])
      const [news] = (await notified) as [{ channel: string; payload: string }]
      assert.deepEqual([news.channel, news.payload], ['news', 'from outside, ž'])
    } finally {
      await client.end()
    }
    rowsSeen.set(application, rows)
  })

  test(`pg gets many rows on thirty connections at once: ${way.name}`, async () => {
    const pool = new pg.Pool({ ...settingsOf(way, `pg-pool-${index}`), max: 30 })
    try {
      const answers = await Promise.all(
        Array.from({ length: 60 }, async (_, at) =>
          pool.query('select $1::int as at, g, md5(g::text) from generate_series(1, 500) g', [at]),
        ),
      )
      assert.deepEqual(
        answers.map(({ rows }) => rows.length),
        Array.from({ length: 60 }, () => 500),
      )
      assert.ok(answers.every(({ rows }, at) => (rows as { at: number }[]).every((row) => row.at === at)))
      assert.ok(pool.totalCount > 20)
    } finally {
      await pool.end()
    }
    rowsSeen.set(`pg-pool-${index}`, 60 * 500)
  })
}

// Both modes, with and without TLS; the rest of the path is the same for every way.
for (const way of world.ways.filter(({ target }, index) => target.sslmode === 'require' || index === world.ways.length - 1).slice(-2)) {
  test(`pg sends and gets a value of 64 MiB: ${way.name}`, async () => {
    const client = await connect(way, 'pg-large')
    try {
      const block = randomBytes(mebibyte)
      const value = Buffer.concat(Array.from({ length: 64 }, () => block))
      await client.query('create table large (data bytea)')
      await client.query('insert into large values ($1)', [value])
      const { rows } = await client.query<{ data: Buffer }>({ text: 'select data from large', binary: true } as pg.QueryConfig)
      assert.ok(rows[0]?.data.equals(value))
    } finally {
      await client.end()
    }
  })
}

test('the recordings hold every statement that the server ran', async () => {
  const sessions = await world.finish()
  for (const [application, rows] of rowsSeen) assert.equal(rowsRecorded(sessions, application), rows, application)
})
