/** Python's psycopg 3 does real work through steno: text and binary values, server-side cursors, COPY, pipelines, cancelling. */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { program } from '../../tools/debian-programs.ts'
import { runProgram } from '../support/run-program.ts'
import { libpqString, rowsRecorded, startWorld, statementsRecorded } from '../support/ways.ts'
import { psycopgProgram } from './psycopg-program.ts'

const [python, world] = await Promise.all([program('python3-psycopg'), startWorld()])
const folder = mkdtempSync(join(tmpdir(), 'steno-psycopg-'))
const file = join(folder, 'work.py')
await writeFile(file, psycopgProgram)
after(async () => {
  await world[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** Rows that the program was given, by application name. */
const rowsSeen = new Map<string, number>()

for (const [index, way] of world.ways.entries()) {
  test(`psycopg works: ${way.name}`, async () => {
    const application = `psycopg-${index}`
    const { status, stdout, stderr } = await runProgram(python, [file, libpqString(way.target, { application })])
    assert.equal(status, 0, stderr)
    const { rows, pipeline } = JSON.parse(stdout) as { rows: number; pipeline: boolean }
    assert.ok(pipeline)
    rowsSeen.set(application, rows)
  })
}

test('the recordings hold every statement that the server ran', async () => {
  const sessions = await world.finish()
  for (const [index, way] of world.ways.entries()) {
    const application = `psycopg-${index}`
    assert.equal(rowsRecorded(sessions, application), rowsSeen.get(application), way.name)
    const copies = statementsRecorded(sessions, application).filter(({ copy }) => copy !== undefined)
    assert.deepEqual(
      copies.map(({ copy, outcome }) => [copy?.direction, outcome]),
      ['text', 'binary'].flatMap(() => [
        ['in', 'completed'],
        ['out', 'completed'],
        ['in', 'failed'],
        ['in', 'failed'],
      ]),
    )
    const skipped = statementsRecorded(sessions, application).filter(({ outcome }) => outcome === 'skipped')
    // Whether it was sent depends on whether the error came back first.
    assert.ok(skipped.length <= 1 && skipped.every(({ sql }) => sql === "select 'never run'"))
  }
})
