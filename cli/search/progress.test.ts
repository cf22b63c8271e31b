import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createProgress } from './progress.ts'
import { emptyCounts } from './scan.ts'

const counts = { ...emptyCounts(), sessions: 1_200, matches: 3, reached: Date.UTC(2026, 10, 21, 9) }

function output(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, written, write: (text: string) => written.push(text) }
}

test('a terminal sees one line in place, and it is gone before anything else is printed', () => {
  const terminal = output(true)
  let time = 0
  const progress = createProgress(false, terminal, () => time)
  for (; time < 1_000; time += 50) progress.show(counts)
  assert.equal(terminal.written.length, 4)
  assert.equal(terminal.written[0], '\r\x1b[K1200 sessions read, at 2026-11-21, 3 found')
  progress.clear()
  progress.clear()
  assert.deepEqual(terminal.written.slice(4), ['\r\x1b[K'])
})

test('elsewhere nothing is said unless asked, and then in lines of their own', () => {
  for (const asked of [false, true]) {
    const pipe = output(false)
    let time = 0
    const progress = createProgress(asked, pipe, () => time)
    for (; time <= 4_000; time += 500) progress.show(counts)
    progress.clear()
    assert.deepEqual(pipe.written, asked ? Array<string>(2).fill('1200 sessions read, at 2026-11-21, 3 found\n') : [])
  }
})
