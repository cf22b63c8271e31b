// Goal: docs/failures.md and the tests say the same. Method: first columns against test titles, both ways.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const folder = new URL('./', import.meta.url)
const own = 'table.test.ts'

function rows(): string[][] {
  const text = readFileSync(new URL('../../docs/failures.md', import.meta.url), 'utf8')
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.slice(2, -2).split(' | '))
    .filter(([first]) => first !== 'what happens' && !first!.startsWith('---'))
}

/** Of what only whole pods can meet; tests there are more than rows. */
function titlesOfPods(): string[] {
  const text = readFileSync(new URL('../control/loss.test.ts', import.meta.url), 'utf8')
  return [...text.matchAll(/^test\('([^']+)',/gm)].map((match) => match[1]!)
}

function titles(): string[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.test.ts') && name !== own)
  const title = /^(?:test\(| {2}\[)'([^']+)',/gm
  return files.flatMap((name) => [...readFileSync(new URL(name, folder), 'utf8').matchAll(title)].map((match) => match[1]!))
}

test('every row of docs/failures.md is a test, and every test here is a row', () => {
  const documented = rows().map(([first]) => first!)
  assert.ok(documented.length > 20)
  assert.equal(new Set(documented).size, documented.length, 'each stands there once')
  const ofPods = documented.filter((row) => titlesOfPods().includes(row))
  assert.ok(ofPods.length > 0)
  assert.deepEqual(documented.toSorted(), [...titles(), ...ofPods].toSorted())
})

test('every row says what is seen, what is recorded and what to do', () => {
  for (const cells of rows()) assert.ok(cells.length === 4 && cells.every((cell) => cell.trim().length > 3), cells.join(' | '))
})
