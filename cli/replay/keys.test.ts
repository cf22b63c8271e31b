import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKeyReader, type Key } from './keys.ts'

const names = (keys: readonly Key[]): string[] => keys.map((key) => (key.kind === 'text' ? key.text : key.kind))

const typed = 'jé日\x1b[A\x1bOB\x1b[5~\x1b[1;5C\x1b[200~\r\x7f\t\x03'
const expected = ['j', 'é', '日', 'up', 'down', 'pageUp', 'enter', 'backspace', 'tab', 'interrupt']

test('keys are the same wherever the terminal cuts their bytes', () => {
  const bytes = Buffer.from(typed)
  for (let at = 0; at <= bytes.length; at++) {
    const reader = createKeyReader()
    assert.deepEqual(names([...reader.push(bytes.subarray(0, at)), ...reader.push(bytes.subarray(at))]), expected, `cut at ${at}`)
    assert.equal(reader.waiting, false)
  }
})

test('an escape is the key only when nothing follows', () => {
  const reader = createKeyReader()
  assert.deepEqual(reader.push(Buffer.from('\x1b')), [])
  assert.equal(reader.waiting, true)
  assert.deepEqual(names(reader.flush()), ['escape'])
  assert.deepEqual(names(reader.push(Buffer.from('\x1bq'))), ['escape', 'q'])
  assert.deepEqual(names(reader.push(Buffer.from('\x1b\x1b[A'))), ['escape', 'up'])
})

test('no sequence, known or not, leaves its tail behind as typed text', () => {
  const reader = createKeyReader()
  for (const sequence of ['\x1b[<0;10;10M', '\x1b[?1;2c', '\x1b[15~', '\x1bOP', '\x1b[I']) {
    assert.deepEqual(reader.push(Buffer.from(sequence)), [], JSON.stringify(sequence))
  }
})

test('a sequence without an end does not swallow what is typed for ever', () => {
  const reader = createKeyReader()
  assert.ok(names(reader.push(Buffer.from(`\x1b[${'1'.repeat(100)}`))).length > 0)
})
