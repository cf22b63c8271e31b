// Goal: what was lost is said with its size, and what is not known is said not to be. Method: each kind of loss, in the list and in the session's view.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testEpoch, testIdentity, testSessionId } from '../session/test-recording.ts'
import { lostText } from './lost-text.ts'
import { cellsOf } from './sessions.ts'
import { sessionLines } from './show-session.ts'

const missing = { records: 4, bytes: 1234, statements: 1 }
const lost = { why: 'pod-deleted', stated: testEpoch, missing } as const

test('a loss is told with its counts, or with what is not known', () => {
  assert.equal(lostText(lost), 'lost with its recorder (its pod was deleted): 4 records (1234 bytes) and 1 statement are missing')
  assert.match(lostText({ ...lost, missing: { ...missing, bytes: null } }), /: 4 records and 1 statement are missing$/)
  assert.match(lostText({ ...lost, missing: null }), /nobody knows how much/)
  assert.match(lostText({ ...lost, missing: { records: 0, bytes: 0, statements: 0 } }), /nothing that it claimed is missing/)
})

test('the list and the view of a session say that it is lost, and how much of it', () => {
  const session = testSessionId(testEpoch, 1)
  const identity = testIdentity(session, testEpoch, 'ab'.repeat(16))
  const summary = {
    session,
    state: 'lost',
    opened: testEpoch,
    closed: null,
    identity,
    close: null,
    statements: 2,
    segments: null,
    gaps: null,
    lost,
  } as const
  const cells = cellsOf(summary, true)
  assert.equal(cells[2], 'lost')
  assert.equal(cells.at(-1), `test ${lostText(lost)}`)
  assert.equal(cellsOf({ ...summary, identity: null }, true).at(-1), lostText(lost))
  assert.ok(sessionLines(identity, { close: null, gaps: [], lost }).includes(`ended      ${lostText(lost)}`))
  assert.ok(sessionLines(identity, { close: null, gaps: [] }).includes('ended      not yet, or not yet stored'))
})
