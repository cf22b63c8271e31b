import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../../session/memory-store.ts'
import { manifestKey, statementIndexKey } from '../../session/object-keys.ts'
import { RecordingDamaged } from '../../session/read-session.ts'
import { findStatement, namesTable } from './find-statement.ts'
import { openStatementList } from './statement-list.ts'
import { writeTestSession } from './test-session.ts'

const never = new AbortController().signal

async function createWorld({ closed = true } = {}) {
  const store = createMemoryStore()
  const session = await writeTestSession(store, { statements: 95, failsEvery: 30, perSegment: 20, closed })
  return { store, session }
}

/** Puts other lines where an index of an open session, which no manifest vouches for, has its own. */
function rewrite({ store, session }: Awaited<ReturnType<typeof createWorld>>, change: (lines: string[]) => string[]): void {
  const key = statementIndexKey(session, 1)
  const lines = store.objects.get(key)!.toString().trimEnd().split('\n')
  store.objects.set(
    key,
    Buffer.from(
      change(lines)
        .map((line) => `${line}\n`)
        .join(''),
    ),
  )
}

test('every statement is found by its number, in any order', async () => {
  const { store, session } = await createWorld()
  const list = await openStatementList(store, session)
  assert.equal(list.count, 95)
  assert.equal(list.complete, true)
  for (const number of [95, 1, 40, 41, 2, 94]) assert.equal((await list.statement(number))?.number, number)
  for (const number of [0, 96, -1, 1e9]) assert.equal(await list.statement(number), null)
})

test('lines that stand in another order, or are written otherwise, are found all the same', async () => {
  const world = await createWorld({ closed: false })
  const longSql = 'x'.repeat(3_000_000)
  rewrite(world, (lines) => {
    const reordered = lines.toReversed().map((line) => JSON.stringify(JSON.parse(line)))
    const { number, segment, ...rest } = JSON.parse(reordered[5]!) as Record<string, unknown>
    reordered[5] = JSON.stringify({ ...rest, number, segment, sql: longSql })
    return reordered
  })
  const list = await openStatementList(world.store, world.session)
  assert.equal(list.complete, false)
  for (let number = 1; number <= 20; number++) {
    const statement = await list.statement(number)
    assert.equal(statement?.number, number)
    if (number === 15) assert.equal(statement.sql.length, longSql.length)
  }
})

test('an index that was changed, or is none, is a damaged recording', async () => {
  const closed = await createWorld()
  rewrite(closed, (lines) => lines.with(0, lines[0]!.replace('agent', 'anger')))
  await assert.rejects(openStatementList(closed.store, closed.session), RecordingDamaged)
  for (const change of [
    (lines: string[]) => [...lines, lines[3]!],
    (lines: string[]) => lines.with(3, '{}'),
    (lines: string[]) => lines.with(3, 'no json'),
    (lines: string[]) => lines.with(3, lines[3]!.replace('"number":4', '"number":4000000000')),
    (lines: string[]) => lines.with(3, lines[3]!.replace('"segment":1', '"segment":2')),
  ]) {
    const world = await createWorld({ closed: false })
    rewrite(world, change)
    await assert.rejects(openStatementList(world.store, world.session), RecordingDamaged, change.toString())
  }
  const world = await createWorld({ closed: false })
  rewrite(world, (lines) => lines.with(3, lines[3]!.replace('"outcome":"completed"', '"outcome":"lost"')))
  const list = await openStatementList(world.store, world.session)
  await assert.rejects(list.statement(4), RecordingDamaged)
})

test('a session that is being recorded grows, and ends when its manifest is there', async () => {
  const { store, session } = await createWorld()
  const held = new Map(
    [manifestKey(session), statementIndexKey(session, 4), statementIndexKey(session, 5)].map((key) => [key, store.objects.get(key)!]),
  )
  for (const key of held.keys()) store.objects.delete(key)
  const list = await openStatementList(store, session)
  assert.deepEqual([list.count, list.complete], [60, false])
  assert.equal(await list.refresh(), false)
  store.objects.set(statementIndexKey(session, 4), held.get(statementIndexKey(session, 4))!)
  assert.equal(await list.refresh(), true)
  assert.deepEqual([list.count, list.complete], [80, false])
  assert.equal((await list.statement(80))?.number, 80)
  for (const [key, bytes] of held) store.objects.set(key, bytes)
  assert.equal(await list.refresh(), true)
  assert.deepEqual([list.count, list.complete], [95, true])
})

test('failures, texts and tables are found forward and backward', async () => {
  const { store, session } = await createWorld()
  const list = await openStatementList(store, session)
  const found = (wanted: Parameters<typeof findStatement>[1], from: number, direction: 1 | -1 = 1) =>
    findStatement(list, wanted, { from, direction, signal: never })
  assert.equal(await found({ kind: 'failure' }, 1), 30)
  assert.equal(await found({ kind: 'failure' }, 30), 60)
  assert.equal(await found({ kind: 'failure' }, 60, -1), 30)
  assert.equal(await found({ kind: 'failure' }, 90), null)
  assert.equal(await found({ kind: 'text', text: 'WHERE id = 77 ' }, 1), null)
  assert.equal(await found({ kind: 'text', text: 'where id = 77 ' }, 1), 77)
  assert.equal(await found({ kind: 'table', name: 'audit' }, 1), 10)
  assert.equal(await found({ kind: 'table', name: 'audit' }, 10), 20)
  // It stands in every comment.
  assert.equal(await found({ kind: 'table', name: 'agent' }, 1), null)
})

test('a table is named by an identifier, not by a string, a comment or a longer name', () => {
  for (const [name, sql, named] of [
    ['orders', 'select * from orders', true],
    ['orders', 'select * from shop.ORDERS o', true],
    ['Orders', 'select * from orders', true],
    ['"Orders"', 'select * from orders', false],
    ['"Orders"', 'select * from "Orders"', true],
    ['orders', 'select * from "Orders"', false],
    ['shop.orders', 'select * from shop.orders', true],
    ['shop.orders', 'select * from shop . /* here */ orders', true],
    ['shop.orders', 'select shop, orders', false],
    ['shop.orders', 'select * from other.orders', false],
    ['orders', "select 'orders'", false],
    ['orders', 'select 1 -- orders', false],
    ['orders', 'select * from orders_old', false],
    ['', 'select 1', false],
  ] as const) {
    assert.equal(namesTable(name)(sql), named, `${name} in ${sql}`)
  }
})
