// Goal: only a token of a pod opens the door, and the API server is asked no more than it must be. Method: a reviewer that counts, a clock
// that is set, and the answers that API servers give.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClusterRequest } from '../../cluster/client.ts'
import { ClusterRefused } from '../../cluster/errors.ts'
import { createAuthentication, verdictMilliseconds } from '../../cluster/identity/authenticate.ts'
import { claimedPodOf } from '../../cluster/identity/claimed-pod.ts'
import { createPodDescription, descriptionOf, type PodObject } from './describe-pod.ts'
import type { TokenVerdict } from '../../cluster/identity/pod.ts'
import { NotIdentified } from '../../cluster/identity/not-identified.ts'
import { Refusal } from './refusal.ts'
import { testPod } from './test-control.ts'
import { createTokenReview, verdictOf } from '../../cluster/identity/token-review.ts'

const isRefusal =
  (code: string) =>
  (error: unknown): boolean =>
    (error instanceof Refusal || error instanceof NotIdentified) && error.code === code

test('a verdict is kept for ten seconds from when it was asked for, not longer, also a refusal', async () => {
  let now = 1_000_000
  let reviews = 0
  let verdict: TokenVerdict = { kind: 'pod', pod: testPod('a') }
  const authenticate = createAuthentication({ reviewToken: () => Promise.resolve((reviews++, verdict)), now: () => now })
  assert.deepEqual(await authenticate('Bearer x', 'one'), testPod('a'))
  verdict = { kind: 'refused', reason: 'gone' }
  now += verdictMilliseconds - 1
  assert.deepEqual(await authenticate('bearer x', 'one'), testPod('a'))
  assert.equal(reviews, 1)
  now += 1
  await assert.rejects(authenticate('Bearer x', 'one'), isRefusal('TOKEN_UNFIT'))
  await assert.rejects(authenticate('Bearer x', 'one'), isRefusal('TOKEN_UNFIT'))
  assert.equal(reviews, 2)
  await assert.rejects(authenticate('Bearer y', 'one'), isRefusal('TOKEN_UNFIT'))
  assert.equal(reviews, 3)
})

test('many requests with one token at once are one review, and no number of tokens floods the API server', async () => {
  let answer: (verdict: TokenVerdict) => void = () => undefined
  const answered = new Promise<TokenVerdict>((resolve) => (answer = resolve))
  let reviews = 0
  const authenticate = createAuthentication({ reviewToken: () => (reviews++, answered) })
  const same = Array.from({ length: 50 }, () => authenticate('Bearer x', 'one'))
  assert.equal(reviews, 1)
  const others = Array.from({ length: 100 }, (_, at) => authenticate(`Bearer ${at}`, `address ${at}`).then(() => 'in', isRefusal('BUSY')))
  answer({ kind: 'pod', pod: testPod('a') })
  await Promise.all(same)
  const outcomes = await Promise.all(others)
  assert.equal(outcomes.filter((outcome) => outcome === true).length, 100 - 63)
  assert.equal(reviews, 64)
})

test('made-up tokens keep out neither who held a token before nor another address', async () => {
  let now = 0
  const never = new Promise<TokenVerdict>(() => undefined)
  const authenticate = createAuthentication({
    reviewToken: (token) => (token.startsWith('made-up') ? never : Promise.resolve({ kind: 'pod', pod: testPod('a') })),
    now: () => now,
  })
  await authenticate('Bearer known', 'one')
  now += verdictMilliseconds
  const flood = (from: number, address: string): Promise<unknown>[] =>
    Array.from({ length: 20 }, (_, at) => authenticate(`Bearer made-up-${from + at}`, address).catch((error: unknown) => error))
  const refused = await Promise.all(flood(0, 'one').slice(8))
  assert.ok(refused.every(isRefusal('BUSY')), 'one address has eight reviews at a time')
  assert.deepEqual(await authenticate('Bearer unknown', 'two'), testPod('a'))
  for (let at = 0; at < 9; at++) void flood(100 * (at + 1), `evil ${at}`)
  const others = Array.from({ length: 12 }, (_, at) => authenticate(`Bearer another-${at}`, `address ${at}`))
  assert.deepEqual(
    await Promise.all(others),
    others.map(() => testPod('a')),
    'ten addresses that take all they can leave room',
  )
  for (let at = 0; at < 64; at++) void flood(10_000 + 100 * at, `more evil ${at}`)
  await assert.rejects(authenticate('Bearer late', 'three'), isRefusal('BUSY'))
  assert.deepEqual(await authenticate('Bearer known', 'one'), testPod('a'))
})

/** As the API server makes them; the signature is nobody's here. */
function tokenOf(name: string, uid: string, more = ''): string {
  const claims = { aud: ['steno-relay'], 'kubernetes.io': { namespace: 'shop', pod: { name, uid }, serviceaccount: { name: 'agent' } } }
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.signature${more}`
}

test('where pods share one address, made-up tokens keep waiting only the pods whose UIDs their maker knows', async () => {
  const never = new Promise<TokenVerdict>(() => undefined)
  const pod = testPod('victim')
  const authenticate = createAuthentication({
    reviewToken: (token) => (token === tokenOf(pod.podName, pod.podUid) ? Promise.resolve({ kind: 'pod', pod }) : never),
    isWatched: ({ podNamespace, podName, podUid }) => podNamespace === 'shop' && podUid === `uid-${podName}`,
  })
  const refused: Promise<unknown>[] = []
  for (let at = 0; at < 200; at++)
    for (const madeUp of [
      `made-up-${at}`,
      tokenOf('own', 'uid-own', String(at)),
      tokenOf('victim', 'guessed', String(at)),
      `e30.e30.${at}`,
    ])
      refused.push(authenticate(`Bearer ${madeUp}`, 'node').catch((error: unknown) => isRefusal('BUSY')(error)))
  assert.deepEqual(await authenticate(`Bearer ${tokenOf('victim', 'uid-victim')}`, 'node'), pod)
  assert.equal(await Promise.race(refused.slice(-4)), true)
})

test('where each pod has its own address, the claims of a token count for nothing', async () => {
  const never = new Promise<TokenVerdict>(() => undefined)
  let reviews = 0
  const authenticate = createAuthentication({ reviewToken: () => (reviews++, never) })
  for (let at = 0; at < 100; at++) authenticate(`Bearer ${tokenOf('agent', `uid-${at}`)}`, 'one').catch(() => undefined)
  await new Promise(setImmediate)
  assert.ok(reviews <= 8, `${reviews} reviews for one address`)
})

test('the pod that a token claims is read from bound tokens alone, and nothing makes it throw', () => {
  assert.deepEqual(claimedPodOf(tokenOf('a', 'u')), { podUid: 'u', podName: 'a', podNamespace: 'shop' })
  const payload = (claims: unknown): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`
  const others = [
    null,
    7,
    [],
    {},
    { 'kubernetes.io': null },
    { 'kubernetes.io': { pod: null } },
    { 'kubernetes.io': { pod: { name: 'a' } } },
  ]
  for (const token of ['', '.', '..', 'a.b', 'a.b.c', 'a.b.c.d', ...others.map(payload)]) assert.equal(claimedPodOf(token), null, token)
})

test('a flood of refused tokens makes nobody’s verdict forgotten', async () => {
  let reviews = 0
  const authenticate = createAuthentication({
    reviewToken: (token) =>
      Promise.resolve((reviews++, token === 'known' ? { kind: 'pod', pod: testPod('a') } : { kind: 'refused', reason: 'made up' })),
    now: () => 0,
  })
  await authenticate('Bearer known', 'one')
  for (let at = 0; at < 11_000; at++) await assert.rejects(authenticate(`Bearer ${at}`, 'one'), isRefusal('TOKEN_UNFIT'))
  await authenticate('Bearer known', 'one')
  assert.equal(reviews, 11_001)
})

test('a clock that is set back makes no verdict live longer', async (context) => {
  let reviews = 0
  context.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000 })
  let passed = 0
  context.mock.method(performance, 'now', () => passed)
  const authenticate = createAuthentication({ reviewToken: () => Promise.resolve((reviews++, { kind: 'pod', pod: testPod('a') })) })
  await authenticate('Bearer x', 'one')
  context.mock.timers.setTime(1_000_000)
  passed += verdictMilliseconds
  await authenticate('Bearer x', 'one')
  assert.equal(reviews, 2)
})

test('a review that failed is not remembered', async () => {
  let isDown = true
  const authenticate = createAuthentication({
    reviewToken: () =>
      isDown ? Promise.reject(new Refusal('CLUSTER_UNAVAILABLE', 'down')) : Promise.resolve({ kind: 'pod', pod: testPod('a') }),
  })
  await assert.rejects(authenticate('Bearer x', 'one'), isRefusal('CLUSTER_UNAVAILABLE'))
  isDown = false
  assert.deepEqual(await authenticate('Bearer x', 'one'), testPod('a'))
})

test('what is no bearer token is refused without a review', async () => {
  const authenticate = createAuthentication({ reviewToken: () => Promise.reject(new Error('asked')) })
  for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Basic eDp5', 'Bearer a b', 'Bearer ä', `Bearer ${'x'.repeat(16_385)}`])
    await assert.rejects(authenticate(header, 'one'), isRefusal('TOKEN_UNFIT'))
})

const extra = {
  'authentication.kubernetes.io/pod-name': ['a'],
  'authentication.kubernetes.io/pod-uid': ['uid-a'],
  'authentication.kubernetes.io/node-name': ['node-1'],
}
const user = { username: 'system:serviceaccount:shop:agent', extra }
const good = { authenticated: true, audiences: ['steno-control'], user }

test('a review counts only for our audience, a ServiceAccount, and a pod', () => {
  assert.deepEqual(verdictOf(good, 'steno-control'), { kind: 'pod', pod: testPod('a') })
  const { 'authentication.kubernetes.io/node-name': _, ...withoutNode } = extra
  assert.deepEqual(verdictOf({ ...good, user: { ...user, extra: withoutNode } }, 'steno-control'), {
    kind: 'pod',
    pod: { ...testPod('a'), nodeName: null },
  })
  const { 'authentication.kubernetes.io/pod-uid': __, ...withoutPod } = extra
  for (const status of [
    {},
    { ...good, authenticated: false },
    { ...good, audiences: ['https://kubernetes.default.svc'] },
    { authenticated: true, user },
    { ...good, user: { ...user, username: 'admin' } },
    { ...good, user: { ...user, username: 'system:serviceaccount:shop' } },
    { ...good, user: { ...user, extra: withoutPod } },
    { ...good, user: { username: user.username } },
  ])
    assert.equal(verdictOf(status, 'steno-control').kind, 'refused', JSON.stringify(status))
})

test('the API server is asked with token and audience, and its refusal is told without quoting the token', async () => {
  const asked: ClusterRequest[] = []
  const answering = createTokenReview(
    { request: <T>(request: ClusterRequest) => (asked.push(request), Promise.resolve({ status: good } as T)) },
    'steno-control',
  )
  assert.equal((await answering('secret-token')).kind, 'pod')
  assert.deepEqual([asked[0]?.method, asked[0]?.path], ['POST', '/apis/authentication.k8s.io/v1/tokenreviews'])
  assert.deepEqual((asked[0]!.body as { spec: unknown }).spec, { token: 'secret-token', audiences: ['steno-control'] })
  const refusing = createTokenReview(
    {
      request: () =>
        Promise.reject(
          new ClusterRefused('POST', { status: 422, reason: 'Invalid', message: 'bad secret-token', retryAfterMilliseconds: null }),
        ),
    },
    'steno-control',
  )
  await assert.rejects(
    refusing('secret-token'),
    (error) => isRefusal('CLUSTER_UNAVAILABLE')(error) && !String(error).includes('secret-token'),
  )
})

const pod: PodObject = {
  metadata: { uid: 'uid-a', ownerReferences: [{ kind: 'ReplicaSet', name: 'shop-7d4', controller: true }] },
  spec: {
    nodeName: 'node-1',
    initContainers: [
      {
        name: 'steno',
        image: 'steno:1',
        restartPolicy: 'Always',
        env: [{ name: 'STENO_SIDECAR_CONFIG', value: '{"control":{"store":"default"}}' }],
      },
    ],
  },
  status: { initContainerStatuses: [{ name: 'steno', imageID: 'steno@sha256:00' }] },
}

test('a pod is described by what the API server has of it, and is unfit without a sidecar that was told where to store', async () => {
  const fit = { kind: 'fit', owner: 'ReplicaSet/shop-7d4', image: 'steno@sha256:00', nodeName: 'node-1', store: 'default' } as const
  assert.deepEqual(descriptionOf(pod, testPod('a')), fit)
  assert.deepEqual(descriptionOf({ ...pod, status: {} }, testPod('a')), { ...fit, image: 'steno:1' })
  const [sidecar] = pod.spec!.initContainers!
  for (const other of [
    {},
    { ...pod, metadata: { uid: 'uid-b' } },
    { ...pod, spec: {} },
    { ...pod, spec: { initContainers: [{ ...sidecar!, name: 'other' }] } },
    { ...pod, spec: { initContainers: [{ name: 'steno', env: sidecar!.env! }] } },
    { ...pod, spec: { initContainers: [{ ...sidecar!, env: [] }] } },
    { ...pod, spec: { initContainers: [{ ...sidecar!, env: [{ name: 'STENO_SIDECAR_CONFIG', value: 'no JSON' }] }] } },
  ])
    assert.equal(descriptionOf(other, testPod('a')).kind, 'unfit')
  const labelled = (labels: Record<string, string>) => ({
    request: <T>({ path }: ClusterRequest) => Promise.resolve((path.includes('/pods/') ? pod : { metadata: { labels } }) as T),
  })
  assert.deepEqual(await createPodDescription(labelled({ 'steno.dev/inject': 'enabled' }))(testPod('a')), fit)
  // Nothing holds there that a container of the sidecar's name is one.
  for (const labels of [{}, { 'steno.dev/inject': 'disabled' }] as const)
    assert.equal((await createPodDescription(labelled(labels))(testPod('a'))).kind, 'unfit')
  const failing = (status: number) => ({
    request: () => Promise.reject(new ClusterRefused('GET', { status, reason: 'x', message: '', retryAfterMilliseconds: null })),
  })
  assert.equal((await createPodDescription(failing(404))(testPod('a'))).kind, 'unfit')
  await assert.rejects(createPodDescription(failing(500))(testPod('a')), isRefusal('CLUSTER_UNAVAILABLE'))
})
