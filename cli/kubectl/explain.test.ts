// Goal: the first line about a running pod is the one that matters most. Method: the verdict's table; pods as the API server shows them.
// What the plugin says of a pod as the webhook made it is in e2e/kubectl.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import type { InjectionExplanation } from '../../injection/explain-injection.ts'
import { policyMessage } from '../../cluster/pod-watch.ts'
import { sidecarLines } from './describe.ts'
import { verdictOf } from './explain.ts'
import { sidecarFactsOf, type SidecarFacts } from './sidecar-facts.ts'

const sidecar: SidecarFacts = {
  ...{ state: 'running since 2026-11-21T09:00:00Z', isRunning: true, restarts: 0, lastEnd: null, image: 'steno:now' },
  ...{ policies: 'shop/orders', hash: 'now', version: '0.1.0', uses: [], recorded: null, followed: null },
}
const explanation = (outcome: InjectionExplanation['outcome'], hash = 'now'): InjectionExplanation => ({
  outcome,
  exemption: outcome === 'exempt' ? { by: 'ClusterSessionPolicy/floor', reason: 'because' } : null,
  policy: {
    sources: [],
    hash,
    store: 'default',
    recordingLevel: 'results',
    onRecordingFailure: 'block',
    enforcement: { mode: 'Relay', onOpenPath: 'Block' },
    databases: ['orders'],
  },
  ...{ listeners: [], moved: [], refusals: [], warnings: [] },
})

function said(status: 'True' | 'False' | 'Unknown', reason: string) {
  return { status, reason, message: `${reason} it is`, lastProbeTime: '2026-11-21T09:10:00Z', lastTransitionTime: '2026-11-21T09:05:00Z' }
}
const followed = (status: 'True' | 'False', reason: string, hash: string | null): SidecarFacts => ({
  ...sidecar,
  followed: { ...said(status, reason), hash },
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
  [
    'being deleted',
    { optedIn: true, sidecar, explanation: explanation('unchanged'), terminatesAt: '2026-11-21T09:00:30Z' },
    'warning',
    /^TERMINATING: it is being deleted, and gone by 2026-11-21T09:00:30Z; until then: current: [^;]*$/,
  ],
  [
    'being deleted, whose sidecar has ended',
    {
      optedIn: true,
      sidecar: { ...sidecar, isRunning: false },
      explanation: explanation('unchanged'),
      terminatesAt: '2026-11-21T09:00:30Z',
    },
    'warning',
    /^TERMINATING: .*until then: current/,
  ],
  [
    'being deleted, without a sidecar',
    { optedIn: true, sidecar: null, explanation: null, terminatesAt: 'x' },
    'bad',
    /^TERMINATING: .*BARE/,
  ],
  ['without a sidecar', { optedIn: true, sidecar: null, explanation: explanation('injected') }, 'bad', /^BARE.*rollout restart/],
  ['without a sidecar, refused', { optedIn: true, sidecar: null, explanation: explanation('refused') }, 'bad', /^BARE/],
  ['exempt', { optedIn: true, sidecar: null, explanation: explanation('exempt') }, 'warning', /^exempt/],
  ['exempt since', { optedIn: true, sidecar, explanation: explanation('exempt') }, 'warning', /exempt now/],
  [
    'whose recordings are not stored',
    { optedIn: true, sidecar: { ...sidecar, recorded: said('False', 'StoreRefuses') }, explanation: explanation('unchanged') },
    'bad',
    /^NOT STORED: .*\(StoreRefuses\)/,
  ],
  [
    'of which nobody knows what becomes of its recordings',
    { optedIn: true, sidecar: { ...sidecar, recorded: said('Unknown', 'NotReported') }, explanation: explanation('unchanged') },
    'good',
    /^current/,
  ],
  [
    'that took the policy of now from control',
    { optedIn: true, sidecar: followed('True', 'Followed', 'then'), explanation: explanation('injected', 'then') },
    'good',
    /^current policy, made by an earlier one: .*nothing is to be done/,
  ],
  [
    'that goes by neither',
    { optedIn: true, sidecar: followed('True', 'Followed', 'between'), explanation: explanation('injected', 'then') },
    'warning',
    /^stale/,
  ],
  [
    'that cannot follow all of it',
    { optedIn: true, sidecar: followed('False', 'NeedsNewPod', 'then'), explanation: explanation('injected', 'then') },
    'warning',
    /^stale: .*NeedsNewPod it is.*rollout restart/,
  ],
  [
    'whose policy was withdrawn',
    { optedIn: true, sidecar: followed('False', 'Withdrawn', null), explanation: explanation('unchanged') },
    'bad',
    /opens no session/,
  ],
  ['with earlier policies', { optedIn: true, sidecar, explanation: explanation('injected', 'then') }, 'warning', /^stale/],
  ['of another release', { optedIn: true, sidecar, explanation: explanation('injected') }, 'warning', /another release/],
  ['refused by now', { optedIn: true, sidecar, explanation: explanation('refused') }, 'bad', /refused now/],
  ['whose policies may not be read', { optedIn: true, sidecar, explanation: null }, 'warning', /cannot be said/],
  ['in a namespace of others', { optedIn: false, sidecar: null, explanation: null }, 'warning', /not opted in/],
  ['left over', { optedIn: false, sidecar, explanation: null }, 'warning', /no longer/],
  [
    'that has ended',
    { optedIn: true, sidecar: { ...sidecar, isRunning: false, state: 'Completed' }, explanation: explanation('unchanged'), hasEnded: true },
    'good',
    /^current: .*; it has ended$/,
  ],
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

test('what control wrote of recordings and policy is shown with since when, and its remedy', () => {
  const conditions = [
    { type: 'steno.dev/RecordingStored', ...said('False', 'SpoolFull') },
    { type: 'steno.dev/PolicyFollowed', ...said('True', 'Followed'), message: policyMessage('a'.repeat(32)) },
  ]
  const pod = podOf({ running: { startedAt: '2026-11-21T09:00:04Z' } })
  Object.assign(pod.status ?? {}, { conditions })
  const facts = sidecarFactsOf(pod)
  assert.equal(facts?.followed?.hash, 'a'.repeat(32))
  const lines = sidecarLines(facts).join('\n')
  assert.match(lines, /Recorded: +NO, SpoolFull since 2026-11-21T09:05:00Z: SpoolFull it is \(said last at 2026-11-21T09:10:00Z\)/)
  assert.match(lines, /Goes by: +the sidecar goes by policy a+/)
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
