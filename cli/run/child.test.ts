/** Goal: what the terminal has sent to the command already is told from what was sent to steno alone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isForegroundStat } from './child.ts'

test('the foreground group is told by /proc, also of a program whose name has spaces and parentheses', () => {
  assert.ok(isForegroundStat('12 (node) S 11 12 10 34816 12 4194304 1 2'))
  assert.ok(!isForegroundStat('12 (node) S 11 12 10 34816 10 4194304 1 2'))
  assert.ok(!isForegroundStat('12 (node) S 11 12 10 0 -1 4194304 1 2'))
  assert.ok(isForegroundStat('12 (a) b (c)) S 11 12 10 34816 12 4194304 1 2'))
})
