/**
 * Goal: no credential of the database is in the command's environment or arguments, in steno's arguments, or in anything steno writes.
 * Method: the environment has the password in every place that steno knows; the command shows all that it can see of itself and of its
 * parent's arguments; then the store, the spool and all output are searched.
 */
import assert from 'node:assert/strict'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { program } from '../../tools/debian-programs.ts'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { createRunWorld } from './world.ts'

const [psql, server] = await Promise.all([program('psql'), startPostgres()])
after(() => server.stop())
const { host, port, password } = server
const place = `${host}:${port}`

/** The environment as the kernel has it, then as the command's own children get it; the arguments of both processes. */
const tell = `cat /proc/$$/environ /proc/$$/cmdline /proc/$PPID/cmdline | tr '\\0' '\\n'; env; "$0" --no-psqlrc -Atc "select 'told'"`

test('the password is nowhere that the command is given, and nowhere that steno writes', async () => {
  using world = createRunWorld()
  const passwordFile = join(world.folder, 'passwords')
  writeFileSync(passwordFile, `${host}:${port}:*:postgres:${password}\n`, { mode: 0o600 })
  const { status, stdout, stderr } = await world.run(['sh', '-c', tell, psql.command], {
    ...psql.env,
    DATABASE_URL: `postgresql+psycopg://postgres:${password}@${place}/postgres`,
    APP_DSN: `host=${host} port=${port} user=postgres password=${password} dbname=postgres`,
    JDBC_URL: `jdbc:postgresql://${place}/postgres?user=postgres&password=${password}`,
    SPRING_DATASOURCE_URL: `jdbc:postgresql://${place}/postgres`,
    ...{ SPRING_DATASOURCE_USERNAME: 'postgres', SPRING_DATASOURCE_PASSWORD: password },
    ...{ PGHOST: host, PGPORT: String(port), PGUSER: 'postgres', PGDATABASE: 'postgres', PGPASSWORD: password, PGPASSFILE: passwordFile },
    STENO_UPSTREAM: `postgresql://postgres:${password}@${place}/postgres`,
  })
  assert.equal(status, 0, stderr)
  assert.match(stdout, /told\n$/)
  assert.ok(stdout.includes('DATABASE_URL=postgresql+psycopg://postgres:'), stdout)
  assert.ok(!stdout.includes(password), 'the command sees the password')
  assert.ok(!stdout.includes(passwordFile), 'the command is led to the password file')
  assert.ok(!stdout.includes('STENO_UPSTREAM'), stdout)
  assert.ok(!stderr.includes(password), stderr)
  const token = /^PGPASSWORD=(.+)$/m.exec(stdout)?.[1] ?? ''
  for (const folder of ['store', 'spool']) {
    for (const entry of readdirSync(join(world.folder, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const bytes = readFileSync(join(entry.parentPath, entry.name))
      assert.ok(!bytes.includes(password) && !bytes.includes(token), entry.name)
    }
  }
})

test('a variable that steno cannot place and that holds the password is named, without its value', async () => {
  using world = createRunWorld()
  const { stderr } = await world.run(['true'], { DATABASE_URL: server.url, MY_SECRET: `x${password}` }, ['--quiet'])
  assert.match(stderr, /"variable":"MY_SECRET"/)
  assert.ok(!stderr.includes(password))
})

test('a connection string with a password as an argument of the command is refused, one without is pointed out', async () => {
  using world = createRunWorld()
  const refused = await world.run([psql.command, server.url], { DATABASE_URL: server.url })
  assert.equal(refused.status, 1)
  assert.match(refused.stderr, /\(PASSWORD_IN_ARGUMENT\)/)
  assert.ok(!refused.stderr.includes(password))
  const noticed = await world.run(['true', `postgresql://${place}/postgres`], { DATABASE_URL: server.url }, ['--quiet'])
  assert.match(noticed.stderr, /passes steno by/)
})
