/** What a start may find in the index of a segment that a process sealed whose memory was scarce, and what it may not. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createScarceMemory, forgetScarceMemory, isIndexOfScarceMemory } from './scarce-memory.ts'

const much = 64 * 1024 * 1024

test('that memory was scarce is known to the next start for this process alone, until its recordings are sealed', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-scarce-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const memory = createScarceMemory(folder, 1)
  memory.weigh(1_000)
  assert.deepEqual([memory.isScarce, memory.wasScarce, readdirSync(folder)], [false, false, []])
  memory.weigh(much)
  assert.deepEqual([memory.isScarce, memory.wasScarce], [true, true])
  memory.weigh(0)
  assert.deepEqual([memory.isScarce, memory.wasScarce], [false, true])
  assert.equal(createScarceMemory(folder, 1).wasScarce, true)
  assert.equal(createScarceMemory(folder, 2).wasScarce, false)
  createScarceMemory(folder, 3).weigh(much)
  forgetScarceMemory(folder, 3)
  assert.deepEqual(readdirSync(folder), ['scarce-3'])
})

test('a folder that takes no file ends nothing', () => {
  const memory = createScarceMemory('/nowhere/at/all', 1)
  memory.weigh(much)
  assert.equal(memory.isScarce, true)
})

const index = (...statements: readonly object[]): Buffer => Buffer.from(statements.map((each) => `${JSON.stringify(each)}\n`).join(''))
const leftOut = '(its text is not kept: too much was sent ahead of the answers)'
const whole = index({ number: 1, sql: 'select 1' }, { number: 2, sql: 'select 2; drop table t' })

for (const [what, found, expected] of [
  ['texts left out', index({ number: 1, sql: 'select 1' }, { number: 2, sql: leftOut }), true],
  ['several statements that became one', index({ number: 1, sql: leftOut }), true],
  ['a text that was cut', index({ number: 1, sql: 'select 1' }, { number: 2, sql: 'select 2', sqlTruncated: true }), true],
  ['another text', index({ number: 1, sql: 'select 1' }, { number: 2, sql: 'select 3' }), false],
  ['a text that claims to be cut', index({ number: 1, sql: 'select 1' }, { number: 2, sql: 'select 3', sqlTruncated: true }), false],
  ['the beginning of a text that does not say so', index({ number: 1, sql: 'select 1' }, { number: 2, sql: 'select 2' }), false],
  ['no text', index({ number: 1 }), false],
  ['no JSON', Buffer.from('{\n'), false],
] as const) {
  test(`an index with ${what} ${expected ? 'can' : 'cannot'} come of scarce memory`, () => {
    assert.equal(isIndexOfScarceMemory(found, whole), expected)
  })
}
