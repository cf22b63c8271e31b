// Goal: of each pod only what questions need, however large it is, and never anything of pods without the label. Method: a double of the API server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { watchedPod, watchInjectedPods, type WatchedPod } from './pod-watch.ts'
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

test('pods with the label are kept, each as little as is asked for', { timeout: 20_000 }, async () => {
  await using api = await startTestApi()
  const { log } = testLog()
  api.put('/api/v1/namespaces/shop/pods/agent', pod('agent'))
  api.put('/api/v1/namespaces/shop/pods/other', pod('other', {}))
  const changes: Change<WatchedPod>[] = []
  const watch = watchInjectedPods({ cluster: api.client, log, onChange: (change) => void changes.push(change) })
  await watch.synced
  assert.deepEqual([watch.size, changes.length], [1, 1])
  const kept = watch.get('shop/agent')
  assert.ok(JSON.stringify(kept).length < 1_024)
  assert.deepEqual([kept?.uid, kept?.podIPs, kept?.phase], ['uid-agent', ['10.42.0.7', 'fd00::7'], 'Running'])
  assert.deepEqual([kept?.egress?.status, kept?.egress?.reason, kept?.egress?.lastProbeTime], ['False', 'Open', '2026-11-21T20:00:00Z'])
  await until(() => api.watchers === 1)
  api.remove('/api/v1/namespaces/shop/pods/agent')
  await until(() => watch.size === 0)
  watch.stop()
})

test('a pod whose labels are larger than any that means something is left out', () => {
  assert.equal(watchedPod(pod('agent')).egress?.message.length, 512)
  const labels = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`example.com/label-${index}`, 'x'.repeat(63)]))
  assert.throws(() => watchedPod(pod('agent', labels)), RangeError)
})

test('a pod that says nothing yet is kept as such', () => {
  const kept = watchedPod({ metadata: { name: 'agent', namespace: 'shop', uid: 'u', resourceVersion: '7' } })
  assert.deepEqual(kept, {
    ...{ uid: 'u', name: 'agent', namespace: 'shop', labels: {}, podIPs: [], phase: 'Unknown' },
    ...{ resourceVersion: '7', deletionTimestamp: null, egress: null },
  })
})
