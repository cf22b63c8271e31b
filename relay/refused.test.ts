// Goal: nobody gets a tunnel who may not, each refusal says why, and the database sees nothing of it. Method: the real server over real sockets;
// the cluster's part (tokens, verdicts, names) is the test's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NotIdentified } from '../cluster/identity/not-identified.ts'
import { nextChunk, startTcp, startTestRelay, testDatabase } from './test-relay.ts'

const refusedCases: readonly (readonly [
  string,
  string,
  number,
  (relay: Awaited<ReturnType<typeof startTestRelay>>, port: number) => Parameters<typeof relay.connect>[0],
])[] = [
  ['a token that the API server refuses', 'TOKEN_UNFIT', 407, () => ({ headers: { 'proxy-authorization': 'Bearer stolen' } })],
  ['no token', 'TOKEN_UNFIT', 407, () => ({ headers: { 'proxy-authorization': '' } })],
  [
    'a pod whose sidecar is not exact',
    'POD_UNFIT',
    403,
    (relay) => (relay.verdicts.set('agent', { kind: 'unfit', reason: 'it has no steno sidecar' }), {}),
  ],
  [
    'another pod’s token, from an address that is not that pod’s',
    'SOURCE_UNFIT',
    403,
    (relay, port) => (
      relay.verdicts.set('other', { kind: 'fit', podIPs: ['10.1.2.3'], databases: [testDatabase({ port })], ceilings: [] }),
      { pod: 'other' }
    ),
  ],
  [
    'a pod without an address',
    'SOURCE_UNFIT',
    403,
    (relay, port) => (relay.verdicts.set('agent', { kind: 'fit', podIPs: [], databases: [testDatabase({ port })], ceilings: [] }), {}),
  ],
  ['a host that no policy names', 'TARGET_NOT_ALLOWED', 403, (_, port) => ({ target: `other.test:${port}` })],
  ['a port that no policy names', 'TARGET_NOT_ALLOWED', 403, () => ({ target: 'db.test:1' })],
  ['a database that no policy names', 'TARGET_NOT_ALLOWED', 403, () => ({ database: 'payroll' })],
  [
    'a host beyond the ceiling',
    'TARGET_NOT_ALLOWED',
    403,
    (relay, port) => (
      relay.verdicts.set('agent', {
        kind: 'fit',
        podIPs: ['127.0.0.1'],
        databases: [testDatabase({ port })],
        ceilings: [{ hosts: ['*.example'], addressRanges: [] }],
      }),
      {}
    ),
  ],
  [
    'an address beyond the ceiling',
    'TARGET_NOT_ALLOWED',
    403,
    (relay, port) => (
      relay.verdicts.set('agent', {
        kind: 'fit',
        podIPs: ['127.0.0.1'],
        databases: [testDatabase({ port })],
        ceilings: [{ hosts: ['*'], addressRanges: ['10.0.0.0/8'] }],
      }),
      {}
    ),
  ],
  ['an address that the name does not have', 'TARGET_NOT_ALLOWED', 403, () => ({ headers: { 'steno-address': '127.0.0.2' } })],
  ['a name that leads to a metadata service', 'TARGET_FORBIDDEN', 403, (relay) => (relay.names.set('db.test', ['169.254.169.254']), {})],
  [
    'a name that leads to a node',
    'TARGET_FORBIDDEN',
    403,
    (relay) => (relay.forbidden.set('10.9.9.9', 'a node'), relay.names.set('db.test', ['::ffff:10.9.9.9']), {}),
  ],
  ['a name without an address', 'NAME_UNRESOLVED', 502, (relay) => (relay.names.set('db.test', []), {})],
  [
    'an API server that does not answer',
    'CLUSTER_UNAVAILABLE',
    503,
    (relay) => (relay.verdicts.set('agent', new NotIdentified('CLUSTER_UNAVAILABLE', 'no answer')), {}),
  ],
  ['a judge that fails', 'DEFECT', 500, (relay) => (relay.verdicts.set('agent', new Error('boom')), {})],
  ['CONNECT with a body', 'BAD_REQUEST', 400, () => ({ headers: { 'content-length': '5' }, behind: 'hello' })],
  ['CONNECT with a body in chunks', 'BAD_REQUEST', 400, () => ({ headers: { 'transfer-encoding': 'chunked' }, behind: '0\r\n\r\n' })],
  ['a target without a port', 'BAD_REQUEST', 400, () => ({ target: 'db.test' })],
  ['a target with a user', 'BAD_REQUEST', 400, (_, port) => ({ target: `x@db.test:${port}` })],
  ['an address with a zone', 'BAD_REQUEST', 400, () => ({ target: '[fe80::1%eth0]:5432' })],
  ['an IPv4-mapped address', 'BAD_REQUEST', 400, () => ({ target: '[::ffff:127.0.0.1]:5432' })],
  ['an address in short', 'BAD_REQUEST', 400, () => ({ target: '127.1:5432' })],
  ['an address as a number', 'BAD_REQUEST', 400, () => ({ target: '2130706433:5432' })],
  ['a database’s name that is none', 'BAD_REQUEST', 400, () => ({ database: '../x' })],
  ['two databases', 'BAD_REQUEST', 400, () => ({ headers: { 'Steno-database': 'orders' } })],
]
for (const [what, code, status, ask] of refusedCases)
  test(`${code}: ${what}; the database sees nothing`, async () => {
    let connections = 0
    await using server = await startTcp(() => void connections++)
    await using relay = await startTestRelay(server.port)
    const answer = await relay.connect(ask(relay, server.port))
    assert.deepEqual([answer.code, answer.status], [code, status])
    assert.match(answer.head, /^connection: close$/im)
    const { remedy } = JSON.parse(answer.rest.toString()) as { remedy: string }
    assert.ok(remedy.length > 10)
    assert.equal(await nextChunk(answer.socket), null)
    assert.equal(connections, 0)
    assert.equal(await relay.metric(`steno_relay_refusals_total{code="${code}"}`), 1)
    assert.ok(!JSON.stringify(relay.lines).includes('token-of-'), 'no token is logged')
    const line = relay.lines.find((each) => each['code'] === code)
    // Whoever shows a token that holds is named, even when it opens nothing.
    assert.equal(
      line?.['pod'],
      ['TOKEN_UNFIT', 'BAD_REQUEST'].includes(code) ? undefined : `shop/${ask(relay, server.port)?.pod ?? 'agent'}`,
    )
  })
