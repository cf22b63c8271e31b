// Goal: an agent whose statement was not recorded learns that it was not executed, and goes on only where both sides still agree
// about where they are. Method: whole batches of each kind, and everything else.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refuseUnrecorded } from './refuse-unrecorded.ts'

function message(type: string, body = ''): Buffer {
  const bytes = Buffer.alloc(5 + body.length)
  bytes.write(type + '\0\0\0\0' + body, 'latin1')
  bytes.writeUInt32BE(4 + body.length, 1)
  return bytes
}

const refusal = { code: 'ENOSPC', message: 'the spool cannot be written: no space left on device' }
const query = message('Q', 'select 1\0')
const extended = Buffer.concat([
  message('P', '\0select 1\0\0\0'),
  message('B', '\0\0\0\0\0\0\0\0'),
  message('E', '\0\0\0\0\0'),
  message('S'),
])

/** Types of the frames. */
function types(bytes: Buffer): string {
  let found = ''
  for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt32BE(at + 1)) found += String.fromCharCode(bytes[at]!)
  return found
}

for (const [name, batch, answersOwed, framesOpen] of [
  ['a simple query', query, 1, 1],
  ['an extended batch', extended, 1, 4],
  ['a function call', message('F', '\0\0\0\0'), 1, 1],
  ['a pipeline of whole batches', Buffer.concat([extended, query, extended]), 3, 9],
] as const) {
  test(`${name} that was not recorded fails with 53100 and the session lives on`, () => {
    const answer = refuseUnrecorded({ batch, answersOwed, framesOpen, refusal })
    assert.equal(answer.kind, 'answered')
    assert.equal(types(answer.bytes), 'EZ'.repeat(answersOwed))
    const text = answer.bytes.toString('latin1')
    assert.match(text, /SERROR\0/)
    assert.match(text, /C53100\0/)
    assert.match(text, /it was not executed/)
    assert.equal(answer.bytes.at(-1), 'I'.charCodeAt(0))
  })
}

for (const [name, batch, answersOwed, framesOpen] of [
  ['in a transaction or within a message', null, 1, 1],
  ['behind a statement that is still being answered', query, 2, 2],
  ['when the end of a batch was not sent yet', message('P', '\0select 1\0\0\0'), 0, 1],
  ['when the beginning of a batch went on already', message('S'), 1, 4],
  ['when a message is cut', query.subarray(0, query.length - 1), 1, 1],
  ['when a header is cut', query.subarray(0, 3), 1, 1],
  ['when the agent says goodbye', Buffer.concat([query, message('X')]), 1, 2],
  ['when nothing was held back', Buffer.alloc(0), 0, 0],
] as const) {
  test(`only the end of the session tells the truth ${name}`, () => {
    const answer = refuseUnrecorded({ batch, answersOwed, framesOpen, refusal })
    assert.equal(answer.kind, 'ended')
    assert.match(answer.bytes.toString('latin1'), /SFATAL\0/)
  })
}

test('a spool that is broken rather than full is an input/output error', () => {
  const answer = refuseUnrecorded({ batch: query, answersOwed: 1, framesOpen: 1, refusal: { code: 'EIO', message: 'input/output error' } })
  assert.match(answer.bytes.toString('latin1'), /C58030\0/)
})
