// Goal: a document can narrow and widen what new sessions may do within what the pod was made with, and nothing beyond. Method: one pod, a table of
// documents.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import type { SidecarConfig } from '../../../crds/sidecar-config.ts'
import type { PolicyDatabase, PolicyDocument } from '../../../session/policy-document.ts'
import { SessionRefused } from '../../session-refused.ts'
import type { PodEnvironment } from '../environment.ts'
import { podSettings } from '../settings.ts'
import { testConfig } from '../test-config.ts'
import { applyPolicy, refusing } from './apply-policy.ts'

const secret = 'orders-of-May'
const config: SidecarConfig = {
  ...testConfig,
  listeners: [
    {
      database: 'orders',
      localPort: 15_432,
      allowed: { hosts: ['db.example.com'], port: 5432, databaseNames: ['orders'] },
      tls: { mode: 'require', caVariable: null },
      source: { kind: 'url', variable: 'STENO_SOURCE_0_DATABASE_URL' },
    },
  ],
}
const pod: PodEnvironment = {
  config,
  attested: { podName: 'agent-0', podUid: 'uid' },
  values: new Map([['STENO_SOURCE_0_DATABASE_URL', `postgresql://orders:${secret}@db.example.com/orders`]]),
}
const settings = podSettings(pod, { storeUrl: null, spoolFolder: '/spool', log: createLog({ level: 'silent' }) })
const database: PolicyDatabase = { name: 'orders', hosts: ['db.example.com'], port: 5432, databaseNames: ['orders'], tlsMode: 'require' }
const document: PolicyDocument = {
  ...{ type: 'policy', version: 1, podUid: 'uid', podNamespace: 'shop', podName: 'agent-0', generation: '12', time: 1 },
  ...{ state: 'in-force', reason: '', policy: { names: ['a/b', 'c/d'], hash: 'f'.repeat(32) } },
  recording: config.recording,
  enforcement: config.enforcement,
  databases: [database],
}
const under = (change: Partial<PolicyDocument>) => applyPolicy(pod, settings, { ...document, ...change })
const ofDatabase = (change: Partial<PolicyDatabase>) => under({ databases: [{ ...database, ...change }] })

test('a policy like the admission’s changes nothing but its name', () => {
  const { update, refusals, withdrawn, stale } = under({})
  assert.deepEqual(update.listeners, settings.listeners)
  assert.deepEqual([refusals, withdrawn, stale], [[null], null, []])
  assert.deepEqual(update.surroundings, { policy: { name: 'a/b,c/d', hash: 'f'.repeat(32) }, attested: pod.attested })
  assert.equal(update.generation, '12')
})

test('more databases and hosts are allowed, and fewer', () => {
  const { update } = ofDatabase({ databaseNames: ['orders', 'stock'], hosts: ['*.example.com'] })
  assert.deepEqual(update.listeners[0]?.databases, ['orders', 'stock'])
  for (const [change, says] of [
    [{ hosts: ['other.example.com'] }, /the policy allows other\.example\.com/],
    [{ port: 6432 }, /the policy allows 6432/],
    [{ databaseNames: ['stock'] }, /the policy allows stock/],
  ] as const) {
    const [refusal] = ofDatabase(change).refusals
    assert.match(refusal?.message ?? '', says)
    assert.equal(refusal?.code, '42501')
    assert.notEqual(refusal.hint, '')
    assert.doesNotMatch(JSON.stringify(refusal), new RegExp(secret))
  }
})

for (const [tlsMode, expected, staleParts] of [
  ['disable', 'require', 1],
  ['require', 'require', 0],
  ['verify-full', 'verify-full', 0],
] as const) {
  test(`TLS goes up and never below the admission’s: ${tlsMode} becomes ${expected}`, () => {
    const { update, listeners, stale } = ofDatabase({ tlsMode })
    assert.equal(update.listeners[0]?.upstream.tls.mode, expected)
    assert.equal(listeners[0]?.tls.mode, expected)
    assert.equal(stale.length, staleParts)
  })
}

test('recording and enforcement follow, the spool never beyond what its volume was made for', () => {
  const recording = { level: 'results', onFailure: 'continue', spoolBytesMax: 500, spoolAgeMillisecondsMax: 9_000 } as const
  const { update, enforcement } = under({ recording, enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Block' } })
  assert.equal(update.onRecordFailure, 'continue')
  assert.deepEqual(update.spoolLimits, { unshippedBytesMax: 500, unshippedMillisecondsMax: 9_000 })
  assert.equal(enforcement.onOpenPath, 'Block')
  const larger = under({ recording: { ...recording, spoolBytesMax: 5_000 } })
  assert.equal(larger.update.spoolLimits.unshippedBytesMax, 1_000)
  assert.match(larger.stale.join(), /spoolBytesMax stays 1000 and should be 5000/)
})

test('what a running pod cannot follow is named and left', () => {
  const { update, stale } = under({
    recording: { ...config.recording, level: 'stored' },
    enforcement: { mode: 'Relay', onOpenPath: 'Report' },
    databases: [database, { ...database, name: 'stock' }],
  })
  assert.equal(stale.length, 3)
  assert.match(stale.join(), /recording\.level .*enforcement\.mode .*database stock has no listener/)
  assert.equal(update.listeners.length, 1)
})

test('what a later release alone knows is named; the rest is followed, never less strictly', () => {
  const { update, enforcement, stale, refusals } = under({
    ...{ recording: { ...config.recording, level: 'stored', onFailure: 'block' }, enforcement: { mode: 'Relay', onOpenPath: 'Block' } },
    databases: [{ ...database, databaseNames: ['orders', 'stock'], tlsMode: 'verify-full' }],
    unknown: [
      { field: 'recording.level', value: 'verbatim', takenAs: 'stored' },
      { field: 'recording.onFailure', value: 'ask', takenAs: 'block' },
      { field: 'enforcement.mode', value: 'Mesh', takenAs: 'Relay' },
      { field: 'enforcement.onOpenPath', value: 'Ask', takenAs: 'Block' },
      { field: 'tls.mode of orders', value: 'pinned', takenAs: 'verify-full' },
    ],
  })
  assert.deepEqual(
    stale.map((each) => each.replace(', which the release of this sidecar does not know,', '')),
    [
      'recording.level should be verbatim and stays results',
      'recording.onFailure should be ask and is taken as block, the strictest',
      'enforcement.mode should be Mesh and stays CredentialsOnly',
      'enforcement.onOpenPath should be Ask and is taken as Block, the strictest',
      'tls.mode of orders should be pinned and is taken as verify-full, the strictest',
    ],
  )
  assert.deepEqual([update.onRecordFailure, enforcement, refusals], ['block', { mode: 'CredentialsOnly', onOpenPath: 'Block' }, [null]])
  assert.deepEqual([update.listeners[0]?.databases, update.listeners[0]?.upstream.tls.mode], [['orders', 'stock'], 'verify-full'])
})

test('a database that no policy names is refused for itself', async () => {
  const { refusals, update } = under({ databases: [{ ...database, name: 'stock' }] })
  assert.match(refusals[0]?.message ?? '', /"orders" is in no policy of this pod any more/)
  const listener = refusing(update.listeners[0]!, refusals[0] ?? null)
  await assert.rejects(
    async () => listener.admit?.({ signal: new AbortController().signal }),
    (error: unknown) => error instanceof SessionRefused && error.sqlState === '42501',
  )
  assert.equal(refusing(settings.listeners[0]!, null), settings.listeners[0])
})

test('a withdrawn policy refuses everything and changes nothing else', () => {
  const { withdrawn, refusals, update } = under({ state: 'withdrawn', reason: 'it is gone', databases: [] })
  assert.deepEqual([withdrawn?.code, withdrawn?.message], ['57P01', 'the policy of this pod was withdrawn: it is gone'])
  assert.deepEqual(refusals, [withdrawn])
  assert.equal(update.onRecordFailure, settings.onRecordFailure)
})
