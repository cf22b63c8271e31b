// Goal: what people read of the log says what its JSON says, and acts on nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { prettyLogLine } from './pretty-log.ts'

test('a line of the log for people has time, level, message and each field', () => {
  const json = JSON.stringify({ level: 'warn', time: '2026-11-21T09:00:00.123Z', code: 'X', count: 3, why: 'a b', msg: 'it failed' })
  assert.equal(prettyLogLine(json), '2026-11-21T09:00:00.123Z  warn   it failed  code=X  count=3  why="a b"\n')
})

test('a message of several lines is set in, and controls in message and fields are shown', () => {
  const json = JSON.stringify({ level: 'error', time: 't', msg: 'one\ntwo\x1b[31m', name: 'a\nb\x1b\u2028' })
  assert.equal(prettyLogLine(json), 't  error  one\n    two\\x1B[31m  name="a\\nb\\u001b\\u2028"\n')
})
