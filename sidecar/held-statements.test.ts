/** The memory for long statements is one for all connections, and each statement counts until the database's socket has taken it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createHeldStatements } from './held-statements.ts'
import type { Peer } from './peer.ts'

const atOnce = (then: () => void): void => then()

/** A peer that has let go of everything before `letGo`; null: nothing was handed to it that it has not let go of. */
function upstream(mark: number | null): { readonly peer: Peer; letGo: number } {
  const state: { readonly peer: Peer; letGo: number } = {
    letGo: 0,
    peer: { mark: () => mark, hasLetGo: (at: number) => at <= state.letGo } as Peer,
  }
  return state
}

test('what one connection holds, another cannot have', () => {
  const held = createHeldStatements({ bytesMax: 100 })
  const [one, other] = [upstream(null), upstream(null)].map(({ peer }) => held.allowance(peer, atOnce))
  assert.equal(one!.take(60), true)
  assert.equal(other!.take(60), false)
  assert.equal(other!.take(40), true)
  one!.give(60)
  assert.equal(other!.take(60), true)
  assert.equal(one!.take(1), false)
})

test('a statement that was sent on counts until the database has taken it', () => {
  const held = createHeldStatements({ bytesMax: 100 })
  const busy = upstream(7)
  const [one, other] = [busy.peer, upstream(null).peer].map((peer) => held.allowance(peer, atOnce))
  assert.equal(one!.take(80), true)
  one!.give(80)
  assert.equal(other!.take(80), false)
  busy.letGo = 6
  assert.equal(other!.take(80), false)
  busy.letGo = 7
  assert.equal(other!.take(80), true)
  assert.equal(other!.take(80), false, 'it is not counted twice')
})

test('a statement counts while it waits for the spool', () => {
  const held = createHeldStatements({ bytesMax: 100 })
  const waiting: (() => void)[] = []
  const one = held.allowance(upstream(null).peer, (then) => void waiting.push(then))
  assert.equal(one.take(80), true)
  one.give(80)
  assert.equal(one.take(80), false)
  for (const then of waiting) then()
  assert.equal(one.take(80), true)
})
