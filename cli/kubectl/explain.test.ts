// Goal: the first line about a running pod is the one that matters most. Method: the verdict's table; pods as the API server shows them.
// What the plugin says of a pod as the webhook made it is in e2e/kubectl.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import type { InjectionExplanation } from '../../injection/explain-injection.ts'
import { verdictOf } from './explain.ts'
import { sidecarFactsOf, type SidecarFacts } from './sidecar-facts.ts'

const sidecar: SidecarFacts = {
  ...{ state: 'running since 2026-11-21T09:00:00Z', isRunning: true, restarts: 0, lastEnd: null, image: 'steno:now' },
  ...{ policies: 'shop/orders', hash: 'now', version: '0.1.0', uses: [] },
}
const explanation = (outcome: InjectionExplanation['outcome'], hash = 'now'): InjectionExplanation => ({
  outcome,
  exemption: outcome === 'exempt' ? { by: 'ClusterSessionPolicy/floor', reason: 'because' } : null,
  policy: {
    sources: [],
    hash,
    store: 'default',
    onRecordingFailure: 'block',
    enforcement: { mode: 'Relay', onOpenPath: 'Block' },
    databases: ['orders'],
  },
  ...{ listeners: [], moved: [], refusals: [], warnings: [] },
})

/** Of a pod that no SessionPolicy matches. */
function unmatched(outcome: InjectionExplanation['outcome'], warnings: readonly string[] = []): InjectionExplanation {
  const { policy, ...rest } = explanation(outcome)
  return { ...rest, policy: policy === null ? null : { ...policy, databases: [] }, warnings }
}
const used = { ...sidecar, uses: [{ container: 'agent', variable: 'DATABASE_URL', localPort: 15432 }] }

for (const [what, found, severity, text] of [
  [
    'without a policy',
    { optedIn: true, sidecar, explanation: unmatched('unchanged') },
    'warning',
    /^NOT RECORDED: no SessionPolicy matches/,
  ],
  ['with a credential and no policy', { optedIn: true, sidecar, explanation: unmatched('unchanged', ['it keeps it']) }, 'bad', /^NOT REC/],
  [
    'whose policy was deleted',
    { optedIn: true, sidecar: used, explanation: unmatched('injected') },
    'bad',
    /^safe as it is.*credential back.*make the policy first$/,
  ],

  ['as it should be', { optedIn: true, sidecar, explanation: explanation('unchanged') }, 'good', /^current/],
  ['without a sidecar', { optedIn: true, sidecar: null, explanation: explanation('injected') }, 'bad', /^BARE.*rollout restart/],
  ['without a sidecar, refused', { optedIn: true, sidecar: null, explanation: explanation('refused') }, 'bad', /^BARE/],
  ['exempt', { optedIn: true, sidecar: null, explanation: explanation('exempt') }, 'warning', /^exempt/],
  ['exempt since', { optedIn: true, sidecar, explanation: explanation('exempt') }, 'warning', /exempt now/],
  ['with earlier policies', { optedIn: true, sidecar, explanation: explanation('injected', 'then') }, 'warning', /^stale/],
  ['of another release', { optedIn: true, sidecar, explanation: explanation('injected') }, 'warning', /another release/],
  ['refused by now', { optedIn: true, sidecar, explanation: explanation('refused') }, 'bad', /refused now/],
  ['whose policies may not be read', { optedIn: true, sidecar, explanation: null }, 'warning', /cannot be said/],
  ['in a namespace of others', { optedIn: false, sidecar: null, explanation: null }, 'warning', /not opted in/],
  ['left over', { optedIn: false, sidecar, explanation: null }, 'warning', /no longer/],
  [
    'whose sidecar does not run',
    { optedIn: true, sidecar: { ...sidecar, isRunning: false, state: 'waiting: ImagePullBackOff' }, explanation: explanation('unchanged') },
    'bad',
    /does not run: waiting: ImagePullBackOff/,
  ],
] as const) {
  test(`a pod ${what} is said to be so`, () => {
    const verdict = verdictOf(found)
    assert.equal(verdict.severity, severity)
    assert.match(verdict.text, text)
  })
}

function podOf(state: object, status: object = {}): V1Pod {
  const initContainerStatuses = [{ name: 'steno', ready: true, restartCount: 0, image: 'steno:now', imageID: '', state, ...status }]
  const initContainers = [{ name: 'steno', image: 'steno:now', env: [{ name: 'STENO_SIDECAR_CONFIG', value: 'of another release' }] }]
  return { spec: { containers: [{ name: 'agent' }], initContainers }, status: { initContainerStatuses } }
}

test('a sidecar that ended says how, and what it said cannot act on the terminal', () => {
  const terminated = { exitCode: 78, reason: 'Error', message: 'host\u001b[2J does not fit\n', finishedAt: '2026-11-21T09:00:05Z' }
  const facts = sidecarFactsOf(podOf({ waiting: { reason: 'CrashLoopBackOff' } }, { restartCount: 3, lastState: { terminated } }))
  assert.deepEqual([facts?.isRunning, facts?.restarts, facts?.state], [false, 3, 'waiting: CrashLoopBackOff'])
  assert.match(facts?.lastEnd ?? '', /^Error with exit code 78 at 2026-11-21T09:00:05Z: host/)
})

for (const [state, text] of [
  [{ running: { startedAt: '2026-11-21T09:00:04Z' } }, 'running since 2026-11-21T09:00:04Z'],
  [{ waiting: { reason: 'ImagePullBackOff', message: 'no such image' } }, 'waiting: ImagePullBackOff: no such image'],
  [{}, 'not started yet'],
] as const) {
  test(`a sidecar is said to be ${text}`, () => assert.equal(sidecarFactsOf(podOf(state))?.state, text))
}

test('a pod without a sidecar has no facts of one, and a configuration of another release hides nothing', () => {
  assert.equal(sidecarFactsOf({ spec: { containers: [] } }), null)
  assert.deepEqual(sidecarFactsOf(podOf({}))?.uses, [])
})
