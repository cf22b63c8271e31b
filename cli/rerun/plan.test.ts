/** Goal: whatever depends on a message that cannot be sent again is not sent either, and nothing else is kept back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeMessage } from '../../postgres/startup-messages.ts'
import { createJudge } from './plan.ts'

/** Names behind a letter: `P s`, `B portal s`, `D Ss`; with `!` in front the message was redacted. */
function withheld(...requests: readonly string[]): boolean[] {
  const judge = createJudge()
  return requests.map((request, number) => {
    const [letter = '', ...names] = request.replace('!', '').split(' ')
    const bytes = encodeMessage(letter, Buffer.from(`${names.join('\0')}\0`))
    return judge({
      ...{ type: letter, number, bytes, first: true, last: true, wholeBytes: bytes.length },
      redacted: request.startsWith('!'),
    })
  })
}

test('a redacted query is withheld, its neighbours are not', () => {
  assert.deepEqual(withheld('Q x', '!Q x', 'Q x', 'S'), [false, true, false, false])
})

test('a redacted prepared statement takes its Bind, Execute, Describe and Close along, until its name means another', () => {
  assert.deepEqual(withheld('!P s', 'B p s', 'E p', 'D Ss', 'D Pp', 'S'), [true, true, true, true, true, false])
  assert.deepEqual(withheld('!P s', 'P other', 'B p other', 'E p'), [true, false, false, false])
  assert.deepEqual(withheld('!P s', 'C Ss', 'P s', 'B p s', 'E p'), [true, true, false, false, false])
  assert.deepEqual(withheld('!P ', 'B  ', 'E ', 'P ', 'B  ', 'E '), [true, true, true, false, false, false])
})

test('redacted values take their own executions along, not the statement', () => {
  assert.deepEqual(withheld('P s', '!B p s', 'E p', 'B p s', 'E p'), [false, true, true, false, false])
})
