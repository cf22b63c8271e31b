/**
 * Goal: `make demo` works, cleans up behind itself, and the README shows what it really prints.
 * Method: runs it once; ids, times, ports and the columns that depend on them are compared by their shape.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const project = fileURLToPath(new URL('..', import.meta.url))
const temporary = mkdtempSync(path.join(tmpdir(), 'demo-'))
let result: { status: number | null; stdout: string; stderr: string }

before(async () => {
  const child = spawn(process.execPath, ['examples/demo.ts'], {
    cwd: project,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  await once(child, 'close')
  result = { status: child.exitCode, stdout, stderr }
})
after(() => rmSync(temporary, { recursive: true, force: true }))

test('the demo finds everything as it should be', () => {
  assert.equal(result.stderr, '')
  assert.equal(result.status, 0, result.stdout)
  const lines = [
    'Only steno has the password',
    'new row for relation "orders" violates check constraint "orders_cents_check"',
    '$1  text  text  Riga',
    '  1 | Anna Berzina | Riga | 2026-01-01',
    "create role reporting login password '[redacted]'",
    ': sound',
    'error OBJECT_DIGEST: segment 1 is not the one that was recorded',
    'Everything was as it should be.',
  ]
  for (const line of lines) assert.ok(result.stdout.includes(line), `missing: ${line}\n${result.stdout}`)
})

test('the demo leaves nothing behind, and prints plain text where nobody looks at a terminal', () => {
  assert.deepEqual(readdirSync(temporary), [])
  assert.doesNotMatch(result.stdout, /\u001B/)
})

test('the README shows what the demo prints', () => {
  const readme = readFileSync(path.join(project, 'README.md'), 'utf8')
  const excerpts = [...readme.matchAll(/<!-- from the demo -->\n```text\n([\s\S]*?)\n```/g)].map(([, text = '']) => text)
  assert.ok(excerpts.length > 0)
  const printed = new Set(result.stdout.split('\n').map(shape))
  for (const line of excerpts.flatMap((text) => text.split('\n'))) {
    if (line === '…') continue
    assert.ok(printed.has(shape(line)), `the demo prints no line like: ${line}\n${result.stdout}`)
  }
})

/** A line without what is different each time. */
function shape(line: string): string {
  return line
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replace(/[0-9a-f]{32}/g, '<recorder>')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?/g, '<time>')
    .replace(/ *[+]?\d+(\.\d+)? m?s\b/g, ' <duration>')
    .replace(/127\.0\.0\.1:\d+/g, '<address>')
    .replace(/prepared statement "\w+"/, 'prepared statement <name>')
    .replace(/byte \d+ of \d+/, 'byte <n> of <n>')
    .replace(/PostgreSQL \d+\.\d+/, 'PostgreSQL <version>')
    .replace(/steno \d+\.\d+\.\d+, Node v[\d.]+/, '<versions>')
    .trimEnd()
}
