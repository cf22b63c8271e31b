// Goal: exactly what was asked for is shown, and following ends when it should. Method: the lines of a few statements under each filter.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventsAsJson } from '../../postgres/statement-event.ts'
import { createMemoryStore } from '../../session/memory-store.ts'
import { testEpoch } from '../../session/test-recording.ts'
import { command } from '../tail.ts'
import type { FilterOptions } from '../search/filters.ts'
import type { Followed } from './followed.ts'
import { followSession } from './follow-session.ts'
import { selectLines } from './select-lines.ts'
import { createTailRecorder } from './test-recorder.ts'

async function followedAll(): Promise<Followed[]> {
  const store = createMemoryStore()
  const session = createTailRecorder(store, 1).session({ user: 'shop' })
  await session.part([
    { sql: 'select * from orders' },
    { sql: 'insert into sales."Orders" values (1)' },
    {
      sql: 'delete from customers',
      outcome: 'failed',
      tag: null,
      error: { severity: 'ERROR', code: '23503', message: 'secret' },
      started: testEpoch + 60_000,
      finished: testEpoch + 60_001,
    },
    { sql: "select 'orders'" },
  ])
  await session.close()
  const all: Followed[] = []
  for await (const each of followSession(store, session.id, new AbortController().signal)) all.push(each)
  return all
}

type Limits = Partial<Parameters<typeof selectLines>[0]>

/** The numbers of the statements, and the events of sessions, that the arguments let through. */
async function shownBy(args: readonly string[], limits: Limits = {}): Promise<(number | string)[]> {
  const own = command()
  assert.deepEqual(own.parseOptions([...args]).unknown, [])
  const options = own.opts<FilterOptions & { readonly sql?: FilterOptions['regex']; readonly sessions?: true }>()
  const regex = options.sql ?? options.regex
  const filters = { ...options, ...(regex === undefined ? {} : { regex }) }
  const lines = selectLines({ filters, format: eventsAsJson, sqlCharacters: 1_000, sessions: options.sessions === true, ...limits })
  const shown: (number | string)[] = []
  for (const each of await followedAll()) {
    const line = each.kind === 'pause' || each.kind === 'problem' ? null : lines.lineOf(each)
    if (line !== null) {
      const { event, number } = JSON.parse(line) as { event: string; number?: number }
      shown.push(number ?? event)
    }
    if (lines.isDone(each)) break
  }
  return shown
}

test('each filter shows what it names', async () => {
  for (const [args, expected] of [
    [[], [1, 2, 3, 4]],
    [['--failed'], [3]],
    [
      ['--sql', '(?i)^SELECT'],
      [1, 4],
    ],
    [['--table', 'orders'], [1]],
    [['--table', '"Orders"'], [2]],
    [
      ['--table', 'sales."Orders"', '--table', 'customers'],
      [2, 3],
    ],
    [
      ['--user', 'shop'],
      [1, 2, 3, 4],
    ],
    [['--user', 'other'], []],
    [['--database', 'shop', '--application', 'test', '--sqlstate', '23'], [3]],
    [['--since', new Date(testEpoch + 30_000).toISOString()], [3]],
    [
      ['--sessions', '--failed'],
      ['session-opened', 3, 'session-closed'],
    ],
  ] as const)
    assert.deepEqual(await shownBy(args), expected, args.join(' '))
})

test('a count ends it behind so many statements that were shown', async () => {
  assert.deepEqual(await shownBy([], { count: 2 }), [1, 2])
  assert.deepEqual(await shownBy(['--table', 'orders'], { count: 1 }), [1])
})

test('being idle ends it only at a pause without news, after so long', () => {
  let now = 0
  const lines = selectLines({ filters: {}, format: eventsAsJson, sqlCharacters: 0, untilIdle: 1_000, now: () => now })
  const steps: [number, Followed, boolean][] = [
    [900, { kind: 'pause', news: false }, false],
    [1_100, { kind: 'pause', news: true }, false],
    [2_000, { kind: 'pause', news: false }, false],
    [2_050, { kind: 'problem', message: '' }, false],
    [3_000, { kind: 'pause', news: false }, false],
    [3_051, { kind: 'pause', news: false }, true],
  ]
  for (const [at, each, isDone] of steps) {
    now = at
    assert.equal(lines.isDone(each), isDone, `at ${at}`)
  }
})
