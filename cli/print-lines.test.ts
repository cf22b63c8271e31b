import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { printLines } from './print-lines.ts'

/** A stream that fails with `code` after so many writes. */
function failing(code: string, writesMax: number): Writable & { written: string } {
  let writes = 0
  const stream = new Writable({
    decodeStrings: false,
    write(piece: string, _encoding, done) {
      if (writes++ >= writesMax) return done(Object.assign(new Error(code), { code }))
      stream.written += piece
      done()
    },
  }) as Writable & { written: string }
  stream.written = ''
  return stream
}

function* numbers(onEach: () => void): Generator<string> {
  for (let number = 0; number < 1_000_000; number++) {
    onEach()
    yield `line ${number}`
  }
}

test('lines are printed in order and whole', async () => {
  const stream = failing('none', Infinity)
  await printLines(['a', '', 'b'], stream)
  assert.equal(stream.written, 'a\n\nb\n')
})

test('a reader that went away ends the printing quietly and at once', async () => {
  let made = 0
  await printLines(
    numbers(() => made++),
    failing('EPIPE', 1),
  )
  assert.ok(made < 10_000, `${made} lines were made`)
})

test('any other failure to print is an error', async () => {
  await assert.rejects(
    printLines(
      numbers(() => {}),
      failing('EIO', 1),
    ),
    { code: 'EIO' },
  )
})
