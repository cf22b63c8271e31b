import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryStore } from '../session/memory-store.ts'
import { RecordingDamaged, stateWithoutEnd } from '../session/read-session.ts'
import { createTestRecorder, testEpoch, testIdentity, testSessionId } from '../session/test-recording.ts'
import { sessionLines } from './show-session.ts'
import { show } from './show.ts'

const identity = testIdentity(testSessionId(testEpoch, 1), testEpoch, 'r')
const pod = { podUid: 'u-1', podName: 'agent-0', podNamespace: 'shop', serviceAccount: 'agent', nodeName: 'node-1' }

function shown(attested: Readonly<Record<string, string>>): string[] {
  return sessionLines({ ...identity, attested }, { close: null, gaps: [] }).filter((line) => /^(pod|attested) /.test(line))
}

test('the pod stands in a line of its own, and what else was attested behind it', () => {
  assert.deepEqual(shown(pod), ['pod        shop/agent-0, ServiceAccount agent, node node-1, UID u-1'])
  assert.deepEqual(shown({ ...pod, image: 'x@sha256:1' }).at(-1), 'attested   image=x@sha256:1')
  assert.deepEqual(shown({ podNamespace: 'shop', podName: 'agent-0' }), ['pod        shop/agent-0'])
})

test('outside a cluster there is no such line, and half a pod hides nothing', () => {
  assert.deepEqual(shown({}), [])
  assert.deepEqual(shown({ podName: 'agent-0', serviceAccount: 'agent' }), ['attested   podName=agent-0 serviceAccount=agent'])
})

test('a name cannot act on the terminal', () => {
  assert.deepEqual(shown({ podNamespace: 'shop', podName: 'a\u001b[2J\n' }), ['pod        shop/a\\x1B[2J\\n'])
})

test('results that went on before the store had them are said, with from when, how long and how many', () => {
  const from = testEpoch + 1_000
  const deliveredUnstored = [
    { from, to: from + 3_000, bytes: 500 },
    { from: from + 9_000, to: null, bytes: 7 },
  ]
  const lines = sessionLines(identity, { close: null, gaps: [], deliveredUnstored })
  assert.deepEqual(lines.slice(-2), [
    'unstored   2026-11-21 09:00:01.000 UTC, for 3.00 s: 500 bytes of results went on to the agent before the store had them (level stored, onFailure: continue); they are recorded',
    '           2026-11-21 09:00:10.000 UTC, with no end on record: at least 7 bytes of results went on to the agent before the store had them (level stored, onFailure: continue); they are recorded',
  ])
  assert.ok(!sessionLines(identity, { close: null, gaps: [] }).some((line) => line.startsWith('unstored')))
})

/** As far as it comes: the statements of such a recording hold nothing that can be shown. */
async function firstOf(all: AsyncGenerator<string>, count: number): Promise<string[]> {
  const lines: string[] = []
  try {
    for await (const line of all) if (lines.push(line) >= count) break
  } catch (error) {
    assert.ok(error instanceof RecordingDamaged)
  }
  return lines
}

test('a session without an end says whether it goes on, for people and for programs', async () => {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  await recorder.record([{ statements: 2 }], { close: false })
  const ended = (await firstOf(show(store, 'last', { null: '' }), 20)).filter((line) => line.startsWith('ended '))
  assert.match(ended.join(), /^ended {6}not recorded: its recorder was killed; what its spool holds is stored/)
  const [first = ''] = await firstOf(show(store, 'last', { null: '', json: true }), 1)
  const { state, close } = JSON.parse(first) as { state: string; close: unknown }
  assert.deepEqual([state, close], ['killed', null])
  assert.equal(await stateWithoutEnd(store, recorder.key.id, testEpoch + 60_000), 'open')
  const open = sessionLines(identity, { state: 'open', close: null, gaps: [] })
  assert.ok(open.includes('ended      not yet: it is still recorded, and this is what the store has so far'))
})

test('a level other than the standard one is said', () => {
  const level = (name: 'statements' | 'results' | 'stored'): string | undefined =>
    sessionLines({ ...identity, level: name }, { close: null, gaps: [] }).find((line) => line.startsWith('level '))
  assert.match(level('statements') ?? '', /^level {6}statements: rows/)
  assert.match(level('stored') ?? '', /^level {6}stored: results were withheld/)
  assert.equal(level('results'), undefined)
})

test('what agent and operator asked for at the start is said, once', () => {
  const startup = {
    agent: { application_name: 'test', options: '-c role=boss -c search_path=shadow', DateStyle: 'ISO' },
    operator: { options: '-c\u001bx' },
  }
  const lines = sessionLines({ ...identity, startup }, { close: null, gaps: [] })
  const at = lines.findIndex((line) => line.startsWith('start-up '))
  assert.deepEqual(lines.slice(at - 1, at + 2), [
    'asserted   application_name=test',
    'start-up   options="-c role=boss -c search_path=shadow", DateStyle=ISO',
    'operator   options=-c\\x1Bx',
  ])
  for (const none of [undefined, { agent: { application_name: 'test' }, operator: {} }])
    assert.ok(
      !sessionLines({ ...identity, ...(none && { startup: none }) }, { close: null, gaps: [] }).some((line) =>
        /^(start-up|operator) /.test(line),
      ),
    )
})
