// Goal: the copy is what the server has, whatever happened between. Method: a double of the API server that ends, mutes, refuses and forgets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resources } from './resources.ts'
import { startTestApi, type TestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'
import { watchResource, type Change, type WatchTiming } from './watch-resource.ts'

const timeout = 10_000
const timing = { retryMillisecondsFirst: 1, retryMillisecondsMost: 10 }
const at = (name: string): string => `/api/v1/namespaces/shop/pods/${name}`
const pod = (name: string, color = 'red') => ({ metadata: { name, namespace: 'shop', labels: { color } } })
type Seen = { metadata: { labels?: { color?: string } } }

function watchPods(
  api: TestApi,
  more: { timing?: Partial<WatchTiming>; labelSelector?: string; onChange?: (change: Change<string>) => void } = {},
) {
  const { log, lines } = testLog()
  const keep = (object: unknown): string => (object as Seen).metadata.labels?.color ?? ''
  const watch = watchResource<string>({
    cluster: api.client,
    resource: resources.pods,
    keep,
    log,
    ...more,
    timing: { ...timing, ...more.timing },
  })
  return Object.assign(watch, { lines, [Symbol.dispose]: () => watch.stop() })
}

test('what was there, came, changed and went is seen, each once', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('there'), pod('there'))
  const changes: Change<string>[] = []
  using watch = watchPods(api, { onChange: (change) => void changes.push(change) })
  await watch.synced
  await until(() => api.watchers === 1)
  api.put(at('came'), pod('came'))
  api.put(at('there'), pod('there', 'blue'))
  api.remove(at('came'))
  await until(() => changes.length === 4)
  assert.deepEqual(changes, [
    { key: 'shop/there', before: undefined, after: 'red' },
    { key: 'shop/came', before: undefined, after: 'red' },
    { key: 'shop/there', before: 'red', after: 'blue' },
    { key: 'shop/came', before: 'red', after: undefined },
  ])
  assert.equal(watch.size, 1)
})

for (const [how, breakIt] of [
  ['the server ends the watch', (api: TestApi) => api.endWatches()],
  [
    'the server has forgotten the version',
    (api: TestApi) => {
      api.faults.oldestVersion = 1_000_000
      api.endWatches()
    },
  ],
  [
    'the server refuses for a while',
    (api: TestApi) => {
      let refusals = 3
      api.faults.intercept = () => (refusals-- > 0 ? { status: 503, reason: 'ServiceUnavailable' } : null)
      api.endWatches()
    },
  ],
] as const) {
  test(`nothing is missed when ${how}`, { timeout }, async () => {
    await using api = await startTestApi()
    using watch = watchPods(api)
    await watch.synced
    await until(() => api.watchers === 1)
    breakIt(api)
    api.put(at('meanwhile'), pod('meanwhile'))
    await until(() => watch.get('shop/meanwhile') === 'red')
  })
}

test('a watch over a connection that died silently is begun again, without a list', { timeout }, async () => {
  await using api = await startTestApi()
  using watch = watchPods(api, { timing: { silenceMillisecondsMax: 30 } })
  await watch.synced
  await until(() => api.watchers === 1)
  api.faults.mutesWatches = true
  api.put(at('unheard'), pod('unheard'))
  api.faults.mutesWatches = false
  await until(() => watch.get('shop/unheard') === 'red')
  assert.deepEqual(watch.lines, [], 'a silence is no failure')
})

test('a full list finds what no watch told, and tells nothing of what is as it was', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('steady'), pod('steady'))
  api.put(at('gone'), pod('gone'))
  const changes: Change<string>[] = []
  using watch = watchPods(api, { timing: { listMilliseconds: 40 }, onChange: (change) => void changes.push(change) })
  await watch.synced
  api.faults.mutesWatches = true
  api.remove(at('gone'))
  await until(() => watch.get('shop/gone') === undefined)
  assert.deepEqual(changes.filter(({ key }) => key === 'shop/steady').length, 1)
})

test('an object that leaves the selection is gone', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('one'), pod('one'))
  api.put(at('other'), pod('other', 'blue'))
  using watch = watchPods(api, { labelSelector: 'color=red' })
  await watch.synced
  assert.equal(watch.size, 1)
})

test('a callback that throws is logged and stops nothing', { timeout }, async () => {
  await using api = await startTestApi()
  using watch = watchPods(api, {
    onChange: () => {
      throw new Error('a defect')
    },
  })
  await watch.synced
  await until(() => api.watchers === 1)
  api.put(at('first'), pod('first'))
  api.put(at('second'), pod('second'))
  await until(() => watch.size === 2)
  assert.deepEqual(
    watch.lines.map(({ level, error }) => [level, error]),
    [
      ['error', 'a defect'],
      ['error', 'a defect'],
    ],
  )
})

test('an object that makes no sense is left out and told of', { timeout }, async () => {
  await using api = await startTestApi()
  api.put(at('odd'), pod('odd'))
  api.put(at('fine'), pod('fine', 'blue'))
  const { log, lines } = testLog()
  const watch = watchResource<string>({
    ...{ cluster: api.client, resource: resources.pods, log, timing },
    keep(object) {
      if ((object as Seen).metadata.labels?.color === 'red') throw new Error('red is not known')
      return 'kept'
    },
  })
  await watch.synced
  watch.stop()
  assert.equal(watch.size, 1)
  assert.equal(lines[0]?.['error'], 'red is not known')
})

test('objects that are as large as they may be, and many, are all listed, in pages that are held one at a time', { timeout }, async () => {
  await using api = await startTestApi()
  const annotations = { text: 'x'.repeat(250_000) }
  for (let number = 0; number < 300; number++) {
    const { metadata } = pod(`pod-${number}`)
    api.put(at(`pod-${number}`), { metadata: { ...metadata, annotations } })
  }
  using watch = watchPods(api)
  await watch.synced
  assert.equal(watch.size, 300)
  await until(() => api.watchers === 1)
  api.put(at('later'), pod('later'))
  await until(() => watch.size === 301)
  assert.deepEqual(watch.lines, [])
})
