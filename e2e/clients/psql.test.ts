/** The programs that come with PostgreSQL, as they are, do real work through steno: psql, pgbench, pg_dump. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, test } from 'node:test'
import { program } from '../../tools/debian-programs.ts'
import { runProgram, type ProgramResult, type RunOptions } from '../support/run-program.ts'
import { untilSleeping } from '../support/sleepers.ts'
import { libpqString, rowsRecorded, statementsRecorded, startWorld, type Target } from '../support/ways.ts'
import { psqlScript } from './psql-script.ts'

const [psql, pgbench, pgDump, world] = await Promise.all([program('psql'), program('pgbench'), program('pg_dump'), startWorld()])
after(() => world[Symbol.asyncDispose]())

const quiet = ['--no-psqlrc', '--quiet']
const rowsPrinted = 12_345

async function runPsql(target: Target, application: string, args: readonly string[], options: RunOptions = {}): Promise<ProgramResult> {
  return runProgram(psql, [...quiet, ...args, libpqString(target, { application })], options)
}

/** Process and object ids are the server's own choice each time. */
function settled(text: string): string {
  return text.replaceAll(/(PID|lo_import|lo_unlink) \d+/g, '$1 #')
}

const direct = runPsql(world.direct, 'direct', ['--echo-all'], { input: psqlScript })
// What follows says nothing unless the script works as such.
test('the script for psql reaches its end', async () => {
  const { stdout, stderr, status } = await direct
  assert.equal(status, 0)
  assert.match(stdout, /longlonglong/)
  assert.match(stderr, /ERROR: {2}22012: division by zero/)
  assert.match(stdout, /Asynchronous notification "news" with payload "payload with 'quotes' and ž"/)
})

for (const [index, way] of world.ways.entries()) {
  test(`psql prints through steno what it prints without: ${way.name}`, async () => {
    const expected = await direct
    const application = `psql-${index}`
    const through = await runPsql(way.target, application, ['--echo-all'], { input: psqlScript })
    assert.equal(settled(through.stdout), settled(expected.stdout))
    assert.equal(settled(through.stderr), settled(expected.stderr))
    assert.equal(through.status, expected.status)
  })

  test(`psql prints every row of a large result: ${way.name}`, async () => {
    const command = `select g, repeat('x', g % 100) from generate_series(1, ${rowsPrinted}) g`
    const { stdout } = await runPsql(way.target, `psql-rows-${index}`, ['--tuples-only', '--no-align', '--command', command])
    assert.equal(stdout.split('\n').length, rowsPrinted + 1)
  })

  test(`Ctrl-C in psql cancels the statement: ${way.name}`, async () => {
    const application = `psql-cancel-${index}`
    const { stderr, status } = await runPsql(way.target, application, ['--command', 'select pg_sleep(120)'], {
      onStart: (kill) => void untilSleeping(world.server, application).then(() => kill('SIGINT')),
    })
    assert.match(stderr, /canceling statement due to user request/)
    assert.notEqual(status, 0)
  })

  test(`pgbench works in its three modes: ${way.name}`, async () => {
    const connection = libpqString(way.target, { application: `pgbench-${index}` })
    const made = await runProgram(pgbench, ['--initialize', '--quiet', '--scale=1', '--init-steps=dtgp', connection])
    assert.equal(made.status, 0, made.stderr)
    for (const mode of ['simple', 'extended', 'prepared']) {
      const args = ['--no-vacuum', `--protocol=${mode}`, '--client=3', '--transactions=12', connection]
      const { status, stdout, stderr } = await runProgram(pgbench, args)
      assert.equal(status, 0, stderr)
      assert.match(stdout, /number of transactions actually processed: 36\/36/)
      assert.match(stdout, /number of failed transactions: 0 /)
    }
  })

  test(`pg_dump into psql copies a database: ${way.name}`, async () => {
    const source = libpqString(way.target, { application: 'pg_dump' })
    const dumped = await runProgram(pgDump, [source])
    assert.equal(dumped.status, 0, dumped.stderr)
    const args = ['--set', 'ON_ERROR_STOP=1', '--output=/dev/null']
    const restored = await runPsql({ ...way.target, database: way.copyDatabase }, 'psql-restore', args, { input: dumped.stdout })
    assert.equal(restored.status, 0, restored.stderr)
    assert.equal(await digestDirectly(way.copyDatabase), await digestDirectly(way.target.database))
    assert.match(dumped.stdout, /COPY public\.pgbench_accounts/)
    assert.match(dumped.stdout, /CREATE TYPE shop\.mood/)
  })
}

test('the recordings hold every statement that the server ran', async () => {
  const sessions = await world.finish()
  for (const [index, { name, target, copyDatabase }] of world.ways.entries()) {
    assert.equal(rowsRecorded(sessions, `psql-rows-${index}`), rowsPrinted, name)
    assert.equal(rowsRecorded(sessions, `pgbench-${index}`, 'SELECT abalance'), 3 * 36, name)
    for (const [application, database] of [
      ['pg_dump', target.database],
      ['psql-restore', copyDatabase],
    ] as const) {
      const copies = statementsRecorded(
        sessions.filter(({ identity }) => identity.database === database),
        application,
      ).filter(({ sql }) => sql.includes('pgbench_accounts') && sql.startsWith('COPY'))
      assert.deepEqual(
        copies.map(({ tag }) => tag),
        ['COPY 100000'],
        `${application}, ${name}`,
      )
    }
  }
})

/** The digest of a dump, but for the key that pg_dump makes up each time. */
async function digestDirectly(database: string): Promise<string> {
  const { status, stdout, stderr } = await runProgram(pgDump, [libpqString(world.direct, { application: 'steno-tools', database })])
  assert.equal(status, 0, stderr)
  return createHash('sha256')
    .update(stdout.replaceAll(/^\\(un)?restrict .*$/gm, ''))
    .digest('hex')
}
