/**
 * Goal: end-to-end tests get real foreign programs on any Debian. Method: pretend that nothing is on PATH, and run what was fetched.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { program } from './debian-programs.ts'
import type { ProgramName } from './debian-programs.ts'

const run = promisify(execFile)
const isDebian = existsSync('/etc/debian_version')

const says: Record<ProgramName, { arguments: string[]; pattern: RegExp }> = {
  psql: { arguments: ['--version'], pattern: /^psql \(PostgreSQL\)/ },
  pg_dump: { arguments: ['--version'], pattern: /^pg_dump \(PostgreSQL\)/ },
  pg_restore: { arguments: ['--version'], pattern: /^pg_restore \(PostgreSQL\)/ },
  pgbench: { arguments: ['--version'], pattern: /^pgbench \(PostgreSQL\)/ },
  'python3-psycopg': { arguments: ['-c', 'import asyncio, ssl, psycopg; print(psycopg.pq.version())'], pattern: /^\d{6}/ },
  haproxy: { arguments: ['-v'], pattern: /^HAProxy version/ },
  pgbouncer: { arguments: ['--version'], pattern: /^PgBouncer/ },
}

for (const name of Object.keys(says) as ProgramName[]) {
  test(`${name} runs where nothing is installed`, { skip: !isDebian }, async () => {
    const { command, env } = await program(name, { path: '' })
    const { stdout } = await run(command, says[name].arguments, { env })
    assert.match(stdout, says[name].pattern)
  })
}

test('a program on PATH is taken as it is, and PG variables do not reach it', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-programs-'))
  context.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'psql'), '#!/bin/sh\necho "[$PGPASSWORD]"\n')
  chmodSync(join(folder, 'psql'), 0o755)
  process.env['PGPASSWORD'] = 'somebody-else'
  context.after(() => delete process.env['PGPASSWORD'])
  const { command, env } = await program('psql', { path: folder })
  assert.equal(command, join(folder, 'psql'))
  assert.equal((await run(command, [], { env })).stdout, '[]\n')
})
