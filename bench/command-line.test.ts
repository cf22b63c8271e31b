// Goal: nobody starts a benchmark by asking how it is used, or by a mistake. Method: each as a process, as its user runs it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { wholeNumber } from './command-line.ts'

const readme = readFileSync(join(import.meta.dirname, 'README.md'), 'utf8')
/** Those of the table of commands, and the one that all of the rest is about. */
const programs = [...new Set([...readme.matchAll(/`(?:[\w/]+ )?node bench\/([\w-]+)\.ts/g)].map(([, name = '']) => name))].sort()

async function ran(program: string, ...parameters: string[]) {
  const child = spawn(process.execPath, [join(import.meta.dirname, `${program}.ts`), ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { status: child.exitCode, out, err }
}

test('the README names the benchmarks', () => {
  for (const name of ['admission', 'policy-change', 'reconcile', 'relay-tunnels', 'run', 'sidecar', 'whole-way'])
    assert.ok(programs.includes(name), name)
})

for (const program of programs.filter((name) => name !== 'table'))
  test(`bench/${program}.ts says how it is used, and refuses what it does not know`, { timeout: 120_000 }, async () => {
    const [help, unknown] = await Promise.all([ran(program, '--help'), ran(program, '--nonsense')])
    assert.equal(help.status, 0)
    assert.match(help.out, new RegExp(`^usage: .*node bench/${program}\\.ts`))
    assert.equal(unknown.status, 2)
    assert.equal(unknown.out, '')
    assert.match(unknown.err, /^[^\n]*--nonsense/)
    assert.match(unknown.err, /^usage: /m)
    assert.doesNotMatch(unknown.err, /^\s+at /m)
  })

test('a number is whole, and what is none is told by its name', () => {
  const options = { fallback: 7, name: '--rounds' }
  assert.equal(wholeNumber(undefined, options), 7)
  assert.equal(wholeNumber('12', options), 12)
  for (const bad of ['', '0', '-1', '1.5', '1e3', '0x10', 'NaN', ' 3', '99999999999999999999'])
    assert.throws(() => wholeNumber(bad, options), /^Error: --rounds takes a whole number from 1/)
})
