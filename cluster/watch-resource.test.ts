// Goal: the copy is what the server has, whatever happened between. Method: a double of the API server that ends, mutes, refuses and forgets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resources } from './resources.ts'
import { startTestApi, type TestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'
import { watchResource, type Change, type WatchClock, type WatchTiming } from './watch-resource.ts'

const timeout = 120_000
const timing = { retryMillisecondsFirst: 1, retryMillisecondsMost: 10 }
const at = (name: string): string => `/api/v1/namespaces/shop/pods/${name}`
const pod = (name: string, color = 'red') => ({ metadata: { name, namespace: 'shop', labels: { color } } })
type Seen = { metadata: { labels?: { color?: string } } }

function watchPods(
  api: TestApi,
  more: { timing?: Partial<WatchTiming>; labelSelector?: string; onChange?: (change: Change<string>) => void; clock?: WatchClock } = {},
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

test('the copy is of one version: of a list in pages nothing is there before all of it is', { timeout }, async () => {
  await using api = await startTestApi()
  for (let number = 0; number < 300; number++) api.put(at(`pod-${number}`), pod(`pod-${number}`))
  const sizes: [number, string][] = []
  let release: () => void = () => undefined
  const held = new Promise<void>((resolve) => (release = resolve))
  let pages = 0
  const cluster = {
    ...api.client,
    async request<T>(request: Parameters<TestApi['client']['request']>[0]): Promise<T> {
      const page = await api.client.request<T>(request)
      if (++pages === 2) await held
      return page
    },
  }
  const { log } = testLog()
  const keep = (): string => ''
  const watch = watchResource<string>({
    cluster,
    resource: resources.pods,
    keep,
    log,
    onChange: () => void sizes.push([watch.size, watch.version]),
  })
  try {
    await until(() => pages === 2)
    assert.deepEqual([watch.size, watch.version, watch.isSynced()], [0, '', false])
    release()
    await watch.synced
    assert.equal(watch.size, 300)
    assert.ok(sizes.every(([, version]) => version === watch.version))
  } finally {
    watch.stop()
  }
})

test('who has heard of a later version has it listed at once, and not in a rush', { timeout }, async () => {
  await using api = await startTestApi()
  using watch = watchPods(api)
  await watch.synced
  await until(() => api.watchers === 1)
  api.faults.mutesWatches = true
  api.put(at('unheard'), pod('unheard'))
  const lists = (): number => api.requests.filter((request) => request === 'GET /api/v1/pods').length
  const asked = lists()
  await until(() => {
    watch.refresh()
    return watch.get('shop/unheard') === 'red'
  })
  for (let times = 0; times < 100; times++) watch.refresh()
  await until(() => lists() >= asked + 2) // The list and the watch after it.
  assert.equal(lists(), asked + 2)
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

test('a watch over a connection that died silently is listed again', { timeout }, async () => {
  await using api = await startTestApi()
  using watch = watchPods(api, { timing: { silenceMillisecondsMax: 30 } })
  await watch.synced
  await until(() => api.watchers === 1)
  api.faults.mutesWatches = true
  api.put(at('unheard'), pod('unheard'))
  await until(() => watch.get('shop/unheard') === 'red')
  assert.deepEqual(watch.lines, [], 'a silence is no failure')
})

/** Time passes when the test says so. */
function testClock() {
  const due = new Set<{ readonly at: number; readonly call: () => void }>()
  const clock = {
    time: 0,
    now: () => clock.time,
    after(milliseconds: number, call: () => void): () => void {
      const timer = { at: clock.time + milliseconds, call }
      due.add(timer)
      return () => void due.delete(timer)
    },
    pass(milliseconds: number): void {
      clock.time += milliseconds
      for (const timer of [...due].filter(({ at: moment }) => moment <= clock.time)) if (due.delete(timer)) timer.call()
    },
    get waiting() {
      return due.size
    },
  }
  return clock
}

/** Each list is followed by a watch, so the requests are lists and watches in turn. */
const asked = (api: TestApi): number => api.requests.filter((request) => request === 'GET /api/v1/pods').length

test('a watch that hears nothing for 100 s lists again by itself, and again after as long, and never sooner', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = testClock()
  using watch = watchPods(api, { clock })
  await until(() => api.watchers === 1)
  api.faults.mutesWatches = true
  for (const [nth, name] of ['first', 'second', 'third'].entries()) {
    api.put(at(name), pod(name))
    clock.pass(99_999)
    assert.deepEqual([asked(api), watch.silentMilliseconds()], [2 + 2 * nth, 99_999])
    clock.pass(10_001)
    await until(() => watch.get(`shop/${name}`) === 'red' && api.watchers === 1 && asked(api) === 4 + 2 * nth)
    assert.equal(watch.silentMilliseconds(), 0)
  }
  assert.deepEqual([clock.waiting, watch.lines], [1, []])
})

test('what is heard in time puts the list off', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = testClock()
  using watch = watchPods(api, { clock })
  await until(() => api.watchers === 1)
  for (const color of ['red', 'blue', 'green', 'white']) {
    clock.pass(90_000)
    api.put(at('loud'), pod('loud', color))
    await until(() => watch.get('shop/loud') === color)
  }
  assert.equal(asked(api), 2)
})

test('a server that ends every watch without a word is listed after 100 s all the same', { timeout }, async () => {
  await using api = await startTestApi()
  const clock = testClock()
  using watch = watchPods(api, { clock })
  await until(() => api.watchers === 1)
  api.faults.mutesWatches = true
  for (let nth = 0; nth < 2; nth++) {
    clock.pass(50_000)
    const before = asked(api)
    api.endWatches()
    await until(() => api.watchers === 1 && asked(api) === before + 1)
  }
  api.put(at('unheard'), pod('unheard'))
  clock.pass(10_001)
  await until(() => watch.get('shop/unheard') === 'red')
})

test(
  'a server that fails when it is listed after a silence is asked with growing pauses, and a watch that was stopped asks nothing',
  { timeout },
  async () => {
    await using api = await startTestApi()
    const clock = testClock()
    using watch = watchPods(api, { clock })
    await until(() => api.watchers === 1)
    api.faults.mutesWatches = true
    api.faults.intercept = () => ({ status: 503, reason: 'ServiceUnavailable' })
    clock.pass(110_001)
    await until(() => watch.lines.length === 5)
    assert.ok(asked(api) <= 8, `${asked(api)} requests for five failures`)
    api.faults.intercept = null
    api.put(at('unheard'), pod('unheard'))
    await until(() => watch.get('shop/unheard') === 'red' && api.watchers === 1)
    watch.stop()
    await until(() => api.watchers === 0)
    const before = asked(api)
    clock.pass(1_000_000)
    assert.deepEqual([clock.waiting, asked(api)], [0, before])
  },
)

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
