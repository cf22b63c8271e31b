/**
 * Goal: programs work under `steno run` as they are: psql, pgbench, Python, Node, Go; all they say is recorded, and it verifies.
 * Method: each finds its database the way it does anywhere, in its environment; none is told that steno is there.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { psycopgProgram } from '../clients/psycopg-program.ts'
import { rowsRecorded } from '../support/ways.ts'
import { goProgram, goModule, goSums } from './go-program.ts'
import { createRunWorld, textsOf, type Environment } from './world.ts'

const [psql, pgbench, python, server] = await Promise.all([
  program('psql'),
  program('pgbench'),
  program('python3-psycopg'),
  startPostgres({ version: 15, tls: true }),
])
after(() => server.stop())
await server.query('create table customers (id int primary key, name text)')
await server.query("insert into customers select g, 'name ' || g from generate_series(1, 1000) g")

const project = fileURLToPath(new URL('../..', import.meta.url))
const url = `postgresql://${server.superuser}:${server.password}@${server.host}:${server.port}/postgres`
const variables = {
  ...{ PGHOST: server.host, PGPORT: String(server.port), PGUSER: server.superuser, PGPASSWORD: server.password },
  PGDATABASE: 'postgres',
}

/** The ways in which a program may be told of its database; all lead to the same. */
const ways: readonly { readonly name: string; readonly environment: Environment }[] = [
  { name: 'DATABASE_URL', environment: { DATABASE_URL: url } },
  { name: 'PG variables', environment: variables },
  { name: 'STENO_UPSTREAM', environment: { STENO_UPSTREAM: `${url}?sslmode=verify-full&sslrootcert=${server.certificates!.ca}` } },
]

for (const { name, environment } of ways) {
  test(`psql works unchanged, with standard input and output its own: ${name}`, async () => {
    using world = createRunWorld()
    const script = 'select name from customers where id = 7;\n\\echo between\nselect count(*) from customers;\nselect nothing;\n'
    const args = ['--no-psqlrc', '--tuples-only', '--no-align', '--file=-']
    const { status, stdout, stderr } = await world.run([psql.command, ...args], { ...psql.env, ...environment }, [], script)
    assert.equal(status, 0, stderr)
    assert.equal(stdout, 'name 7\nbetween\n1000\n')
    assert.match(stderr, /ERROR: {2}column "nothing" does not exist/)
    assert.match(stderr, /steno: recorded 1 session, 3 statements, 1 failed, 2 rows\n/)
    const sessions = await world.recorded()
    assert.deepEqual(textsOf(sessions), ['select name from customers where id = 7', 'select count(*) from customers', 'select nothing'])
    assert.ok(stderr.includes(`steno show ${sessions[0]!.id} --store ${world.storeUrl}\n`), stderr)
  })
}

test('pgbench works in its three modes, with several clients and a connection per transaction', async () => {
  using world = createRunWorld()
  await server.query('create database bench')
  const environment = { ...pgbench.env, ...variables, PGDATABASE: 'bench' }
  const bench = async (args: readonly string[], more: Environment = {}): Promise<string> => {
    const { status, stdout, stderr } = await world.run([pgbench.command, ...args], { ...environment, ...more }, ['--quiet'])
    assert.equal(status, 0, stderr)
    return stdout
  }
  await bench(['--initialize', '--quiet', '--scale=1', '--init-steps=dtgp'])
  for (const mode of ['simple', 'extended', 'prepared']) {
    const printed = await bench(['--no-vacuum', `--protocol=${mode}`, '--client=3', '--transactions=10'])
    assert.match(printed, /number of transactions actually processed: 30\/30/)
  }
  assert.match(await bench(['--no-vacuum', '--connect', '--client=2', '--transactions=5']), /processed: 10\/10/)
  // Another database than the environment's: what the credential opens is open, as without steno.
  assert.match(await bench(['--no-vacuum', '--select-only', '--transactions=3', 'bench'], { PGDATABASE: 'postgres' }), /processed: 3\/3/)
  const texts = textsOf(await world.recorded())
  assert.equal(texts.filter((text) => text.startsWith('UPDATE pgbench_branches')).length, 100)
})

test('a Python program with psycopg works: cursors, COPY, pipelines, cancelling, threads', async () => {
  using world = createRunWorld()
  const file = join(world.folder, 'agent.py')
  await writeFile(file, psycopgProgram)
  const { status, stdout, stderr } = await world.run([python.command, file, 'application_name=agent'], { ...python.env, DATABASE_URL: url })
  assert.equal(status, 0, stderr)
  const { rows } = JSON.parse(stdout) as { rows: number }
  assert.equal(rowsRecorded(await world.recorded(), 'agent'), rows)
})

const nodeProgram = `
import pg from 'pg'
import postgres from 'postgres'
const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
await client.connect()
const one = await client.query('select name from customers where id = $1', [1])
await client.end()
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 })
const many = await Promise.all(Array.from({ length: 20 }, (_, n) => pool.query('select $1::int as n, pg_sleep(0.01)', [n])))
await pool.end()
const ambient = new pg.Client() // From the PG variables.
await ambient.connect()
const user = await ambient.query('select current_user as user')
await ambient.end()
const sql = postgres(process.env.DATABASE_URL, { max: 3 })
const names = await Promise.all([2, 3, 4, 5].map((id) => sql\`select name from customers where id = \${id}\`))
await sql.end()
console.log(JSON.stringify([one.rows[0].name, many.map(({ rows }) => rows[0].n), user.rows[0].user, names.map(([row]) => row.name)]))
`

test('a Node program works with a client, a pool and postgres.js', async () => {
  using world = createRunWorld()
  const { status, stdout, stderr } = await world.run(
    [process.execPath, '--input-type=module', '--eval', nodeProgram],
    { DATABASE_URL: url, NODE_PATH: undefined },
    [],
  )
  assert.equal(status, 0, stderr)
  const numbers = Array.from({ length: 20 }, (_, n) => n)
  assert.deepEqual(JSON.parse(stdout), ['name 1', numbers, server.superuser, ['name 2', 'name 3', 'name 4', 'name 5']])
  const texts = textsOf(await world.recorded())
  assert.equal(texts.filter((text) => text === 'select $1::int as n, pg_sleep(0.01)').length, 20)
  assert.equal(texts.filter((text) => text === 'select name from customers where id = $1').length, 5)
})

test('a Go program works with lib/pq, which demands TLS unless told otherwise', async (t) => {
  const go = await promisify(execFile)('go', ['version']).catch(() => null)
  if (go === null) return t.skip('there is no go on this machine')
  using world = createRunWorld()
  const folder = join(world.folder, 'agent')
  await mkdir(folder)
  for (const [name, text] of Object.entries({ 'main.go': goProgram, 'go.mod': goModule, 'go.sum': goSums }))
    await writeFile(join(folder, name), text)
  // Modules are fetched into the test's folder; -modcacherw lets them be removed. Compiled packages are kept where Go keeps them.
  const build = {
    ...process.env,
    CGO_ENABLED: '0',
    GOMODCACHE: join(world.folder, 'modules'),
    GOFLAGS: '-modcacherw -buildvcs=false -mod=readonly',
  }
  try {
    await promisify(execFile)('go', ['mod', 'download'], { cwd: folder, env: build })
  } catch (error) {
    return t.skip(`lib/pq cannot be fetched: ${(error as Error).message}`)
  }
  await promisify(execFile)('go', ['build', '-o', 'agent', '.'], { cwd: folder, env: build })
  const { status, stdout, stderr } = await world.run([join(folder, 'agent')], { DATABASE_URL: url })
  assert.equal(status, 0, stderr)
  assert.deepEqual(JSON.parse(stdout), { names: ['name 1', 'name 2', 'name 3'], ambient: server.superuser, code: '22012' })
  const sessions = await world.recorded()
  assert.equal(textsOf(sessions).filter((text) => text === 'select name from customers where id = $1').length, 3)
  await rm(join(world.folder, 'modules'), { recursive: true })
})

test('npm scripts and shells pass what steno gave them on to what they start', async () => {
  using world = createRunWorld()
  const script = `"${psql.command}" --no-psqlrc -Atc 'select 1' "$DATABASE_URL"; "${psql.command}" --no-psqlrc -Atc 'select 2'`
  const { status, stdout, stderr } = await world.run(['sh', '-c', script], { ...psql.env, DATABASE_URL: url, PWD: project })
  assert.equal(status, 0, stderr)
  assert.equal(stdout, '1\n2\n')
  assert.equal((await world.recorded()).length, 2)
})
