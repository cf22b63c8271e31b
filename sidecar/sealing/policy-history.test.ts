// Goal: each statement is named the policy that was in force when it began, also after a crash. Method: the history alone, and a spool that is sealed
// and recovered at every place.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readStatements, sessionIds } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import { payloadOf, queryFrame } from '../../session/test-recording.ts'
import type { PolicyChange } from '../../session/identity.ts'
import { createPolicyHistory, policyChangesMax } from './policy-history.ts'
import { createSealingWorld } from './test-world.ts'

const epoch = Date.UTC(2026, 10, 21, 9)

test('a record is judged by the last change before it, and by the opening’s policy before the first', () => {
  const history = createPolicyHistory('first')
  history.changed(3, 'second')
  history.changed(7, 'third')
  assert.deepEqual(
    [0, 2, 3, 6, 7, 100].map((place) => history.at(place)),
    ['first', 'first', 'second', 'second', 'third', 'third'],
  )
  assert.equal(createPolicyHistory(null).at(0), null)
})

test('of endless changes the last are known, and what was before them is not guessed', () => {
  const history = createPolicyHistory('first')
  for (let place = 1; place <= 2 * policyChangesMax; place++) history.changed(place, String(place))
  assert.equal(history.at(2 * policyChangesMax + 5), String(2 * policyChangesMax))
  assert.equal(history.at(policyChangesMax + 1), String(policyChangesMax + 1))
  assert.equal(history.at(5), null)
})

test('index lines name the policy of their statement wherever the process is killed', async (t) => {
  const hashes = ['a', 'b'].map((letter) => letter.repeat(32))
  for (let killedAfter = 1; ; killedAfter++) {
    const world = createSealingWorld(t)
    const spool = world.spool(epoch)
    spool.open(1)
    spool.statement(1, 'select 1')
    for (const [index, hash] of hashes.entries()) {
      const change: PolicyChange = { changed: epoch, before: null, policy: { name: 'shop/orders', hash }, generation: String(index) }
      spool.append(1, recordType.policyChange, payloadOf(change))
      spool.statement(1, `select '${hash}'`)
      spool.statement(1, `select 'still ${hash}'`)
    }
    spool.close(1)
    const { ends } = spool
    // Each step is sealed alone, so that a change and the statements behind it stand in different segments.
    await world.follow(epoch, ends.slice(0, killedAfter))
    assert.ok(await world.recover(epoch))
    const [session = ''] = await Array.fromAsync(sessionIds(world.kept, 'oldest'))
    const policies = (await Array.fromAsync(readStatements(world.kept, session))).map(({ policy }) => policy)
    assert.deepEqual(policies, [undefined, hashes[0], hashes[0], hashes[1], hashes[1]], `killed after ${killedAfter}`)
    assert.deepEqual(await world.verifyErrors(), [])
    if (killedAfter >= ends.length) return
  }
})

test('a statement under way when the policy changes is judged by the one before', async (t) => {
  const world = createSealingWorld(t)
  const spool = world.spool(epoch)
  const hash = 'c'.repeat(32)
  const change: PolicyChange = { changed: epoch, before: null, policy: { name: 'shop/orders', hash }, generation: '1' }
  spool.open(1)
  spool.append(1, recordType.frontend, queryFrame('select pg_sleep(1)'))
  spool.append(1, recordType.policyChange, payloadOf(change))
  spool.append(1, recordType.backend, Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1'))
  spool.statement(1, 'select 2')
  spool.close(1)
  await world.follow(epoch, spool.ends)
  const [session = ''] = await Array.fromAsync(sessionIds(world.kept, 'oldest'))
  assert.deepEqual(
    (await Array.fromAsync(readStatements(world.kept, session))).map(({ policy }) => policy),
    [undefined, hash],
  )
})
