/**
 * Goal: auditors of a cluster think in namespaces and pods, and every command that filters takes them. Method: one store with sessions of
 * pods and of a laptop, and the commands as a person runs them.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { steno } from '../support/proxy.ts'
import { eventsAsJson, eventsAsText } from '../../postgres/statement-event.ts'
import { testEpoch, testIdentity, testSessionId } from '../../session/test-recording.ts'
import { selectLines } from '../../cli/tail/select-lines.ts'
import { isFiltered, sessionPasses, type FilterOptions } from '../../cli/search/filters.ts'
import { addSession } from '../../cli/search/test-store.ts'

let folder = ''
let laptop = ''
let agent = ''
let other = ''
const statements = [{ sql: 'select 1' }]

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'steno-pods-'))
  agent = addSession(folder, 1, { opened: testEpoch, pod: 'shop/agent-0', statements })
  other = addSession(folder, 2, { opened: testEpoch + 1_000, pod: 'payments/agent-0', statements })
  laptop = addSession(folder, 3, { opened: testEpoch + 2_000, statements })
})
after(() => rmSync(folder, { recursive: true }))

async function run(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await steno(args, { environment: { STENO_STORE: pathToFileURL(folder).href, TZ: 'UTC' } })
  assert.ok(status === 0 || (status === 1 && args[0] === 'search'), stderr)
  return stdout
}

const sessionsIn = (text: string): string[] => [laptop, other, agent].filter((session) => text.includes(session))

for (const [what, filter, wanted] of [
  ['a namespace', ['--namespace', 'shop'], () => [agent]],
  ['a namespace by its short name', ['-n', 'payments'], () => [other]],
  ['a pod in any namespace', ['--pod', 'agent-0'], () => [other, agent]],
  ['a pod by both names', ['--pod', 'shop/agent-0'], () => [agent]],
  ['a pod as kubectl prints it', ['--pod', 'pod/agent-0', '-n', 'shop'], () => [agent]],
  ['the pods whose names begin so', ['--pod', 'agent*'], () => [other, agent]],
  ['such pods of one namespace', ['--pod', 'shop/ag*'], () => [agent]],
  ['a workload', ['--owner', 'statefulset/agent'], () => [other, agent]],
  ['a workload of one namespace', ['--owner', 'sts/agent', '-n', 'shop'], () => [agent]],
  ['another kind of workload', ['--owner', 'deployment/agent'], () => []],
  ['several namespaces', ['-n', 'shop', '-n', 'payments'], () => [other, agent]],
  ['nobody', ['-n', 'sho'], () => []],
] as const) {
  test(`sessions, search, export and query find the sessions of ${what}`, async () => {
    for (const command of [['sessions', '--json'], ['search', '--text', 'select'], ['export']])
      assert.deepEqual(sessionsIn(await run(...command, ...filter)), wanted(), command.join(' '))
    assert.deepEqual(sessionsIn(await run('query', 'select distinct session from statements', '--format', 'csv', ...filter)), wanted())
    assert.deepEqual(sessionsIn(await run('query', 'select session from sessions', '--format', 'csv', ...filter)), wanted())
  })
}

test('tail prints the statements of the pods that were asked for', () => {
  const session = testSessionId(testEpoch, 1)
  const identity = { ...testIdentity(session, testEpoch, 'r'), attested: { podNamespace: 'shop', podName: 'agent-0' } }
  const wants = (filters: FilterOptions): boolean => selectLines({ filters, format: eventsAsText, sqlCharacters: 10 }).wants(identity)
  assert.ok(wants({ namespace: ['shop'] }))
  assert.ok(!wants({ namespace: ['payments'] }))
  assert.ok(!wants({ pod: ['agent-1'] }))
})

test('a filter by pod is a filter, and a session outside a cluster never passes it', () => {
  assert.ok(isFiltered({ namespace: ['shop'] }) && isFiltered({ pod: ['x'] }) && !isFiltered({}))
  const outside = testIdentity(testSessionId(testEpoch, 1), testEpoch, 'r')
  assert.ok(!sessionPasses({ namespace: ['shop'] }, outside))
  assert.ok(sessionPasses({}, outside))
})

test('sessions shows the pod in a column of its own once there is one, and none before', async () => {
  const lines = (await run('sessions')).trimEnd().split('\n')
  assert.match(lines[0]!, /^SESSION .* DATABASE +APPLICATION$/)
  assert.ok(lines[1]!.startsWith(laptop) && !lines[1]!.includes('/'))
  assert.match(lines[2]!, /^SESSION .* DATABASE +POD +APPLICATION$/)
  assert.ok(lines[3]!.startsWith(other) && /shop +payments\/agent-0 +test$/.test(lines[3]!), lines[3])
  assert.ok(lines[4]!.startsWith(agent))
  assert.equal(lines.length, 5)
  const ofPods = (await run('sessions', '-n', 'shop')).trimEnd().split('\n')
  assert.equal(ofPods.length, 2)
  assert.match(ofPods[0]!, /POD/)
})

test('exported rows and tables have the pod', async () => {
  const query = 'select pod_namespace, pod_name from statements union select pod_namespace, pod_name from sessions order by 1, 2'
  assert.equal(
    await run('query', query, '--format', 'csv', '--pod', 'agent-0'),
    'pod_namespace,pod_name\r\npayments,agent-0\r\nshop,agent-0\r\n',
  )
})

test('search and tail say which pod a statement is of, since all pods share the database user', async () => {
  const lines = (await run('search', '--text', 'select')).trimEnd().split('\n')
  assert.match(lines[1]!, new RegExp(`^${other}  payments/agent-0 +1  2026-`))
  assert.match(lines[0]!, new RegExp(`^${laptop} +1  2026-`))
  const identity = { ...testIdentity(agent, testEpoch, 'r'), attested: { podNamespace: 'shop', podName: 'agent-0' } }
  const lineOf = (format: typeof eventsAsText): string =>
    selectLines({ filters: {}, format, sqlCharacters: 10, sessions: true }).lineOf({ kind: 'opened', identity }) ?? ''
  assert.match(lineOf(eventsAsText), /^2026-\S+ {2}[0-9a-f-]{18} {2}shop\/agent-0 {2}agent@shop \(test\) {2}opened/)
  const { podNamespace, podName } = JSON.parse(lineOf(eventsAsJson)) as Record<string, unknown>
  assert.deepEqual([podNamespace, podName], ['shop', 'agent-0'])
})

test('--pod says how the pods of a workload are asked for', async () => {
  const { status, stderr } = await steno(['sessions', '--pod', 'deployment/worker'])
  assert.equal(status, 2)
  assert.match(stderr, /--owner deployment\/worker/)
})

for (const name of ['', 'a/b/c', '/x', 'shop/', 'a*b', '**'])
  test(`--pod refuses ${JSON.stringify(name)}`, async () => {
    const { status } = await steno(['sessions', '--pod', name], { environment: { STENO_STORE: pathToFileURL(folder).href } })
    assert.equal(status, 2)
  })
