/** Goal: whichever databases the environment names, each is reached as it was before, by the command alone, and what was said is told apart. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, test } from 'node:test'
import pg from 'pg'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRunWorld, textsOf, untilPrinted } from './world.ts'

const [psql, first, second, trusting] = await Promise.all([
  program('psql'),
  startPostgres(),
  startPostgres({ version: 15 }),
  startPostgres({ authentication: 'trust' }),
])
after(() => Promise.all([first.stop(), second.stop(), trusting.stop()]))
const query = (sql: string, where = ''): string => `"${psql.command}" --no-psqlrc -Atc "${sql}" ${where}`

test('two databases are recorded side by side, each session under the variable that led to it', async () => {
  using world = createRunWorld()
  const script = [
    query("select 'first', current_setting('port')", '"$DATABASE_URL"'),
    query("select 'second', current_setting('port')", '"$REPORTS_URL"'),
  ]
  const environment = { ...psql.env, DATABASE_URL: first.url, REPORTS_URL: second.url }
  const { result, summary } = await world.runForSummary(['sh', '-c', script.join('; ')], environment)
  assert.equal(result.stdout, `first|${first.port}\nsecond|${second.port}\n`)
  assert.deepEqual(
    summary.sessions.map(({ variables, statements }) => [variables, statements]),
    [
      [['DATABASE_URL'], 1],
      [['REPORTS_URL'], 1],
    ],
  )
  assert.deepEqual(
    textsOf(await world.recorded()).map((text) => text.slice(0, 14)),
    ["select 'first'", "select 'second"],
  )
})

test('nobody without the run’s token gets through the proxy', async () => {
  using world = createRunWorld()
  const started = world.start(['sh', '-c', 'echo "$PGPORT:$PGPASSWORD:ready"; read -r _'], { DATABASE_URL: first.url })
  await untilPrinted(started, ':ready')
  const [port = '', token = ''] = started.stdout().split(':')
  const connect = async (password?: string): Promise<string> => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: Number(port),
      user: 'postgres',
      database: 'postgres',
      password: password ?? '',
    })
    try {
      await client.connect()
      return (await client.query("select 'in'")).command
    } catch (error) {
      return (error as { code?: string }).code ?? String(error)
    } finally {
      await client.end().catch(() => undefined)
    }
  }
  assert.match(await connect(), /28P01|password/)
  assert.equal(await connect('guessed'), '28P01')
  assert.equal(await connect(first.password), '28P01')
  assert.equal(await connect(token), 'SELECT')
  started.child.stdin!.end('\n')
  await started.ended
  assert.equal((await world.recorded()).length, 1)
})

test('each run has a token of its own', async () => {
  using world = createRunWorld()
  const token = async (): Promise<string> =>
    (await world.run(['sh', '-c', 'echo "$PGPASSWORD"'], { DATABASE_URL: first.url })).stdout.trim()
  const [one, other] = [await token(), await token()]
  assert.match(one, /^[\w-]{32}$/)
  assert.notEqual(one, other)
})

test('without a password anywhere the command signs in by itself, and its own password works', async () => {
  using world = createRunWorld()
  const environment = { ...psql.env, DATABASE_URL: `postgresql://postgres@${first.host}:${first.port}/postgres` }
  // A program that has its password from elsewhere.
  const own = await world.run(['sh', '-c', `PGPASSWORD=${first.password} ${query('select 1', '"$DATABASE_URL"')}`], environment)
  assert.deepEqual([own.status, own.stdout], [0, '1\n'], own.stderr)
  const none = await world.run(['sh', '-c', query('select 2', '"$DATABASE_URL"')], { ...environment, PGPASSWORD: undefined }, ['--quiet'])
  assert.match(none.stderr, /no password supplied/)
  const trusted = await world.run(['sh', '-c', query('select 3')], {
    ...psql.env,
    PGHOST: trusting.host,
    PGPORT: String(trusting.port),
    PGUSER: 'postgres',
  })
  assert.deepEqual([trusted.status, trusted.stdout], [0, '3\n'], trusted.stderr)
  const sessions = await world.recorded()
  assert.deepEqual(
    sessions.map(({ identity }) => identity.mode),
    ['pass-through', 'pass-through'],
  )
})

test('a wrong password in the environment is the database’s own error to the command', async () => {
  using world = createRunWorld()
  const { status, stderr } = await world.run(['sh', '-c', query('select 1')], {
    ...psql.env,
    DATABASE_URL: `postgresql://postgres:wrong@${first.host}:${first.port}/postgres`,
  })
  assert.equal(status, 2)
  assert.match(stderr, /password authentication failed for user "postgres"/)
})

test('runs at the same time share a store, each with a spool of its own, and the next one takes the first again', async () => {
  using world = createRunWorld()
  const environment = { ...psql.env, DATABASE_URL: first.url }
  const command = ['sh', '-c', `${query('select 1')}; echo ready; read -r _; ${query('select 2')}`]
  const [one, other] = [world.start(command, environment), world.start(command, environment)]
  await Promise.all([untilPrinted(one, 'ready'), untilPrinted(other, 'ready')])
  for (const { child } of [one, other]) child.stdin!.end('\n')
  for (const { ended } of [one, other]) assert.match((await ended).stderr, /recorded 2 sessions, 2 statements, 2 rows/)
  assert.ok(existsSync(`${world.spoolFolder}-2`))
  await world.run(['sh', '-c', query('select 3')], environment)
  assert.ok(!existsSync(`${world.spoolFolder}-3`))
  const sessions = await world.recorded()
  assert.equal(sessions.length, 5)
  assert.equal(new Set(sessions.map(({ identity }) => identity.recorder)).size, 2)
})

test('a spool that belongs to another store is left to it', async () => {
  using world = createRunWorld()
  using elsewhere = createRunWorld()
  const environment = { ...psql.env, DATABASE_URL: first.url }
  await world.run(['sh', '-c', query('select 1')], environment)
  const other = await world.run(['sh', '-c', query('select 2')], environment, ['--store', elsewhere.storeUrl])
  assert.match(other.stderr, /recorded 1 session/)
  assert.deepEqual(textsOf(await elsewhere.recorded()), ['select 2'])
  assert.deepEqual(textsOf(await world.recorded()), ['select 1'])
})

test('what a killed run leaves behind is stored by the next one, which does not count it as its own', async () => {
  using world = createRunWorld()
  const environment = { ...psql.env, DATABASE_URL: first.url }
  const killed = world.start(['sh', '-c', query("select 'before'", "-c 'select pg_sleep(300)'")], environment, [
    '--segment-milliseconds',
    '600000',
  ])
  await untilPrinted(killed, 'before')
  killed.child.kill('SIGKILL')
  await killed.ended
  const { summary } = await world.runForSummary(['sh', '-c', query("select 'after'")], environment)
  assert.equal(summary.totals.sessions, 1)
  const sessions = await world.recorded(['recovered', 'closed'])
  assert.equal(textsOf(sessions)[0], "select 'before'")
  assert.equal(textsOf(sessions).at(-1), "select 'after'")
})
