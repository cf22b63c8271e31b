// Goal: of each pod only what questions need, however large it is, and never anything of pods without the label. Method: a double of the API server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isWatchedPod, judgedAnew, watchedPod, watchInjectedPods, type WatchedPod } from './pod-watch.ts'
import { startTestApi } from './test-api.ts'
import { testLog, until } from './test-support.ts'
import type { Change } from './watch-resource.ts'

const pod = (name: string, labels: Record<string, string> = { 'steno.dev/injected': 'true' }) => ({
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, labels, annotations: { text: 'x'.repeat(100_000) } },
  spec: { containers: [{ name: 'agent', env: [{ name: 'TEXT', value: 'x'.repeat(100_000) }] }] },
  status: {
    phase: 'Running',
    podIPs: [{ ip: '10.42.0.7' }, { ip: 'fd00::7' }],
    conditions: [
      { type: 'Ready', status: 'True' },
      {
        type: 'steno.dev/EgressClosed',
        status: 'False',
        reason: 'Open',
        message: 'x'.repeat(10_000),
        lastProbeTime: '2026-11-21T20:00:00Z',
      },
    ],
  },
})

test('pods with the label are kept, each as little as is asked for', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  const { log } = testLog()
  api.put('/api/v1/namespaces/shop/pods/agent', pod('agent'))
  api.put('/api/v1/namespaces/shop/pods/other', pod('other', {}))
  const changes: Change<WatchedPod>[] = []
  const watch = watchInjectedPods({ cluster: api.client, log, onChange: (change) => void changes.push(change) })
  await watch.synced
  assert.deepEqual([watch.size, changes.length], [1, 1])
  const claimed = { podUid: 'uid-agent', podName: 'agent', podNamespace: 'shop' }
  const claims = [claimed, { ...claimed, podUid: 'guessed' }, { ...claimed, podNamespace: 'other' }, { ...claimed, podName: 'other' }]
  assert.deepEqual(
    claims.map((each) => isWatchedPod(watch, each)),
    [true, false, false, false],
  )
  const kept = watch.get('shop/agent')
  assert.ok(JSON.stringify(kept).length < 1_024)
  assert.deepEqual([kept?.uid, kept?.podIPs, kept?.phase], ['uid-agent', ['10.42.0.7', 'fd00::7'], 'Running'])
  assert.deepEqual([kept?.egress?.status, kept?.egress?.reason, kept?.egress?.lastProbeTime], ['False', 'Open', '2026-11-21T20:00:00Z'])
  await until(() => api.watchers === 1)
  api.remove('/api/v1/namespaces/shop/pods/agent')
  await until(() => watch.size === 0)
  watch.stop()
})

test('a change concerns who judges only when it is of what pods are judged by', { timeout: 120_000 }, async (t) => {
  await using api = await startTestApi()
  const { log } = testLog()
  const concerned: string[] = []
  let changes = 0
  const onChange = (change: Change<WatchedPod>): void => {
    changes++
    concerned.push(...judgedAnew(change))
  }
  const path = '/api/v1/namespaces/shop/pods/agent'
  const watch = watchInjectedPods({ cluster: api.client, log, onChange })
  t.after(() => watch.stop())
  await until(() => api.watchers === 1)
  const base = pod('agent')
  const written: readonly (readonly [string, object, string[]])[] = [
    ['it appears', base, ['uid-agent']],
    [
      'a condition is written',
      { ...base, status: { ...base.status, conditions: [{ type: 'steno.dev/RecordingStored', status: 'True' }] } },
      [],
    ],
    ['the kubelet says something', { ...base, status: { ...base.status, phase: 'Failed', containerStatuses: [{ restartCount: 7 }] } }, []],
    ['it has other labels', { ...base, metadata: { ...base.metadata, labels: { ...base.metadata.labels, app: 'x' } } }, ['uid-agent']],
    ['as before', base, ['uid-agent']],
    ['it has another address', { ...base, status: { ...base.status, podIPs: [{ ip: '10.42.0.9' }] } }, ['uid-agent']],
    ['another has its name', { ...base, metadata: { ...base.metadata, uid: 'uid-next' } }, ['uid-agent', 'uid-next']],
  ]
  for (const [at, [what, object, expected]] of written.entries()) {
    concerned.length = 0
    api.put(path, object as typeof base)
    await until(() => changes === at + 1)
    assert.deepEqual(concerned, expected, what)
  }
  concerned.length = 0
  api.remove(path)
  await until(() => watch.size === 0)
  assert.deepEqual(concerned, ['uid-next'])
})

test('a pod whose labels are larger than any that means something is left out', () => {
  assert.equal(watchedPod(pod('agent')).egress?.message.length, 512)
  const labels = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`example.com/label-${index}`, 'x'.repeat(63)]))
  assert.throws(() => watchedPod(pod('agent', labels)), RangeError)
})

test('a pod that says nothing yet is kept as such', () => {
  const kept = watchedPod({ metadata: { name: 'agent', namespace: 'shop', uid: 'u', resourceVersion: '7' } })
  const { judged, ...told } = kept
  assert.notEqual(judged, '')
  assert.deepEqual(told, {
    ...{ uid: 'u', name: 'agent', namespace: 'shop', labels: {}, podIPs: [], phase: 'Unknown' },
    ...{ resourceVersion: '7', deletionTimestamp: null, egress: null },
  })
})
