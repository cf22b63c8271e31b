import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { test } from 'node:test'
import type { V1Pod } from '@kubernetes/client-node'
import { applyPatch, type Operation } from 'rfc6902'
import { createAuthority, issueLeaf, type Issued } from '../../cluster/certificates/authority.ts'
import type { AdmissionWorld } from '../../injection/inject-pod.ts'
import { defaultAdmissionServerLimits, startAdmissionServer, type AdmissionServerLimits, type ReviewFacts } from './server.ts'
import { agentPod, testWorld } from '../../injection/test-world.ts'

const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
const authority = await createAuthority(validity)
const names = ['127.0.0.1', 'localhost']

test('a pod that is asked about comes back as a patch that gives it the sidecar', async () => {
  await using server = await start()
  const pod = agentPod()
  const answer = await server.review(pod)
  assert.equal(answer.status, 200)
  assert.equal(answer.body.apiVersion, 'admission.k8s.io/v1')
  assert.equal(answer.body.response.uid, 'u-1')
  assert.equal(answer.body.response.patchType, 'JSONPatch')
  const patched = structuredClone(pod)
  const patch = JSON.parse(Buffer.from(answer.body.response.patch ?? '', 'base64').toString()) as Operation[]
  assert.deepEqual(
    applyPatch(patched, patch),
    patch.map(() => null),
  )
  assert.equal(patched.spec?.initContainers?.[0]?.name, 'steno')
})

test('a refusal comes back as 403 with rule and remedy, a warning as a warning', async () => {
  await using server = await start()
  const refused = await server.review(agentPod({ spec: { hostNetwork: true } }))
  assert.equal(refused.status, 200)
  assert.equal(refused.body.response.allowed, false)
  assert.equal(refused.body.response.status?.code, 403)
  assert.match(refused.body.response.status?.message ?? '', /HostNetwork at spec\.hostNetwork: .*Remove the field/)
  assert.deepEqual(
    server.facts.map(({ outcome, rules }) => [outcome, rules]),
    [['refused', ['HostNetwork']]],
  )
  const warned = await server.review(agentPod({ spec: { terminationGracePeriodSeconds: 5 } }))
  assert.match(warned.body.response.warnings?.[0] ?? '', /terminationGracePeriodSeconds is raised from 5 to 15/)
})

test('while the cluster is not known every review is answered with 503, so that the failurePolicy acts', async () => {
  await using server = await start({ world: () => null })
  const answer = await server.review(agentPod())
  assert.equal(answer.status, 503)
  assert.equal((await server.get('/healthz')).status, 200)
})

test('a namespace that is not known yet is no reason to guess its labels: the pod is refused for now', async () => {
  await using server = await start({ world: () => ({ ...testWorld(), namespaceLabels: new Map() }) })
  const answer = await server.review(agentPod())
  assert.equal(answer.body.response.allowed, false)
  assert.equal(answer.body.response.status?.code, 503)
  assert.match(answer.body.response.status?.message ?? '', /Try again/)
})

const bad: [string, string, number, RegExp][] = [
  ['no JSON', '{"request": "postgresql://u:secret@h/', 400, /no JSON/],
  ['no object', '[]', 400, /no object/],
  [
    'another version',
    JSON.stringify({ apiVersion: 'admission.k8s.io/v1beta1', kind: 'AdmissionReview' }),
    400,
    /no AdmissionReview of admission\.k8s\.io\/v1/,
  ],
  ['no request', JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }), 400, /request is no object/],
  ['no uid', envelope({ uid: 3 }), 400, /request\.uid/],
  ['another resource', envelope({ resource: { group: 'apps', version: 'v1', resource: 'deployments' } }), 400, /not pods of v1/],
  ['a subresource', envelope({ subResource: 'exec' }), 400, /subResource/],
]
for (const [name, body, status, problem] of bad)
  test(`bad input gets a clear answer that quotes nothing: ${name}`, async () => {
    await using server = await start()
    const answer = await server.post(body)
    assert.equal(answer.status, status)
    assert.match(answer.text, problem)
    assert.doesNotMatch(answer.text + server.logged.join('\n'), /secret/)
  })

// A status of HTTP would be an answer that did not come, and the API server would let the pod pass as it is.
const noPods: [string, string, RegExp][] = [
  ['no pod', envelope({ object: null }), /cannot read the pod: the pod is no object/],
  ['a pod without containers', envelope({ object: { spec: {} } }), /spec has no containers/],
  [
    'containers that are none',
    envelope({ object: { spec: { containers: ['postgresql://u:secret@h/'] } } }),
    /spec\.containers\[0\] is no object/,
  ],
  [
    'a pod deeper than a stack',
    envelope({ object: 'DEEP' }).replace('"DEEP"', `${'['.repeat(100_000)}${']'.repeat(100_000)}`),
    /nests deeper/,
  ],
]
for (const [name, body, problem] of noPods)
  test(`what cannot be read as a pod is not allowed, and nothing of it is quoted: ${name}`, async () => {
    await using server = await start()
    const answer = await server.post(body)
    const { response } = JSON.parse(answer.text) as Answer
    assert.deepEqual([answer.status, response.uid, response.allowed, response.status?.code], [200, 'u-1', false, 400])
    assert.match(response.status?.message ?? '', problem)
    assert.doesNotMatch(answer.text + server.logged.join('\n'), /secret/)
    assert.deepEqual(
      server.facts.map(({ outcome, namespace }) => [outcome, namespace]),
      [['unreadable', 'shop']],
    )
  })

test('managed fields, which a pod’s author may nest as deep as he likes, keep no pod from its sidecar', async () => {
  await using server = await start()
  const fieldsV1 = JSON.parse(`${'{"f:a":'.repeat(500)}{}${'}'.repeat(500)}`) as object
  const pod = agentPod()
  Object.assign(pod.metadata ?? {}, { managedFields: [{ manager: 'me', fieldsV1 }] })
  const { body } = await server.review(pod)
  assert.equal(body.response.allowed, true)
  const patch = JSON.parse(Buffer.from(body.response.patch ?? '', 'base64').toString()) as { path: string }[]
  assert.ok(patch.some(({ path }) => path === '/spec/initContainers'))
  assert.ok(!patch.some(({ path }) => path.includes('managedFields')))
})

test('an object of the API server’s largest size is judged, each of its bytes written as six', async () => {
  await using server = await start()
  // The API server takes 3 MiB, and Go writes `<` as \u003c.
  const pod = agentPod({ container: { env: [{ name: 'A', value: 'LARGE' }] } })
  const body = envelope({ object: pod }).replace('LARGE', String.raw`\u003c`.repeat(3 * 1024 * 1024))
  const { response } = JSON.parse((await server.post(body)).text) as Answer
  assert.equal(response.allowed, false)
  assert.match(response.status?.message ?? '', /PodTooLarge/)
})

test('bodies that are being read are bounded together', async () => {
  await using server = await start({ limits: { ...defaultAdmissionServerLimits, bodiesBytesMax: 10_000 } })
  const socket = tls.connect({ port: server.port, host: '127.0.0.1', ca: authority.cert })
  await once(socket, 'secureConnect')
  socket.write('POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 20000\r\n\r\n')
  socket.write('x'.repeat(10_001))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.match(answer.toString(), /^HTTP\/1\.1 503 /)
  socket.destroy()
  // What was held is given back.
  assert.equal((await server.post(envelope({}))).status, 200)
})

test('one address has so many connections, and others are served beside it', async () => {
  await using server = await start({ limits: { ...defaultAdmissionServerLimits, connectionsPerAddressMax: 2 } })
  const connect = (localAddress: string) => net.connect({ port: server.port, host: '127.0.0.1', localAddress })
  const held = [connect('127.0.0.2'), connect('127.0.0.2')]
  await Promise.all(held.map((socket) => once(socket, 'connect')))
  const third = connect('127.0.0.2').resume()
  await once(third, 'close')
  assert.equal((await server.post(envelope({}))).status, 200)
  for (const socket of held) socket.destroy()
  await Promise.all(held.map((socket) => once(socket, 'close')))
})

test('a body longer than may be is refused, whether its length is said or not', async () => {
  await using server = await start({ limits: { ...defaultAdmissionServerLimits, bodyBytesMax: 1_000 } })
  const body = 'x'.repeat(5_000)
  assert.equal((await server.post(body)).status, 413)
  assert.equal((await server.post(body, { 'transfer-encoding': 'chunked' })).status, 413)
})

test('other paths, methods and types are told what is served', async () => {
  await using server = await start()
  assert.deepEqual([(await server.get('/other')).status, (await server.get('/mutate')).status], [404, 405])
  assert.equal((await server.post('{}', { 'content-type': 'text/plain' })).status, 415)
})

test('a pod that is updated is left to the admission policies', async () => {
  await using server = await start()
  const answer = await server.post(envelope({ operation: 'UPDATE' }))
  assert.deepEqual(JSON.parse(answer.text).response, { uid: 'u-1', allowed: true })
})

test('the log has one line a request, with names and outcome and nothing of the pod', async () => {
  await using server = await start()
  const env = [{ name: 'DATABASE_URL', value: 'postgresql://u:hunter2@orders-db.data.svc.cluster.local/orders' }]
  await server.review(agentPod({ container: { env } }))
  assert.equal(server.logged.length, 1)
  assert.match(server.logged[0] ?? '', /"namespace":"shop".*"pod":"agent".*"outcome":"injected"/)
  assert.doesNotMatch(server.logged[0] ?? '', /hunter2|postgresql/)
})

test('a defect in judging lets no pod pass, and is logged by its place, not by what it quotes', async () => {
  const world = { ...testWorld() }
  Object.defineProperty(world, 'policies', {
    get() {
      throw new Error('hunter2')
    },
  })
  await using server = await start({ world: () => world })
  const answer = await server.review(agentPod())
  assert.deepEqual([answer.status, answer.body.response.allowed, answer.body.response.status?.code], [200, false, 500])
  assert.match(answer.body.response.status?.message ?? '', /Report it/)
  assert.match(server.logged.join('\n'), /"outcome":"failed"/)
  assert.doesNotMatch(server.logged.join('\n') + answer.text, /hunter2/)
})

// Goal: rotation loses no pod. Method: one connection lives through a swap, and the next handshake shows the other certificate.
test('certificates are swapped without dropping a connection', async () => {
  await using server = await start()
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: authority.cert })
  const first = await server.post(envelope({}), {}, agent)
  const next = await createAuthority(validity)
  server.swap(await issueLeaf(next, names, validity))
  const second = await server.post(envelope({}), {}, agent)
  assert.deepEqual([first.status, second.status], [200, 200])
  assert.equal(second.socket, first.socket, 'the same connection')
  agent.destroy()
  assert.equal((await server.post(envelope({}), {}, new https.Agent({ ca: next.cert }))).status, 200)
  await assert.rejects(server.post(envelope({}), {}, new https.Agent({ ca: authority.cert })))
})

test('a certificate that cannot be used is logged, and the server goes on with the one it has', async () => {
  await using server = await start()
  server.swap({ key: 'none', cert: 'none' })
  assert.equal((await server.review(agentPod())).status, 200)
  assert.match(server.logged.join('\n'), /cannot be used/)
})

test('a request that is never finished ends by itself', async () => {
  await using server = await start({ limits: { ...defaultAdmissionServerLimits, requestMillisecondsMax: 50, checkMilliseconds: 10 } })
  const socket = tls.connect({ port: server.port, host: '127.0.0.1', ca: authority.cert })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  await once(socket, 'secureConnect')
  socket.on('error', () => undefined) // On a busy machine it ends before all of this is written.
  socket.write('POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{')
  socket.resume()
  await closed
})

test('idle connections outlive those of the API server', () => {
  assert.ok(defaultAdmissionServerLimits.idleMillisecondsMax > 90_000)
})

function envelope(fields: object): string {
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u-1',
      namespace: 'shop',
      operation: 'CREATE',
      resource: { group: '', version: 'v1', resource: 'pods' },
      object: agentPod(),
      ...fields,
    },
  })
}

type Answer = {
  readonly apiVersion: string
  readonly response: {
    readonly uid: string
    readonly allowed: boolean
    readonly patchType?: string
    readonly patch?: string
    readonly warnings?: string[]
    readonly status?: { readonly code: number; readonly message: string }
  }
}

async function start(given: { readonly world?: () => AdmissionWorld | null; readonly limits?: AdmissionServerLimits } = {}) {
  let leaf: Issued = await issueLeaf(authority, names, validity)
  const listeners = new Set<() => void>()
  const logged: string[] = []
  const write = (words: object | string, text?: string) =>
    void logged.push(JSON.stringify(text === undefined ? words : { ...Object(words), text }))
  const facts: ReviewFacts[] = []
  const world = testWorld()
  const server = await startAdmissionServer({
    listen: { host: '127.0.0.1', port: 0 },
    certificates: {
      current: () => leaf,
      onChange(listener) {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    },
    world: given.world ?? (() => world),
    log: { info: write, warn: write, error: write, debug: () => undefined },
    onReviewed: (fact) => facts.push(fact),
    ...(given.limits === undefined ? {} : { limits: given.limits }),
  })
  const agent = new https.Agent({ ca: authority.cert })
  const request = async (options: https.RequestOptions, body: string | null) => {
    const sent = https.request({ host: '127.0.0.1', port: server.port, agent, ...options })
    // What is beyond the limit may meet a closed connection after the answer.
    sent.on('error', () => undefined)
    if (body !== null) sent.write(body)
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const socket = response.socket
    const chunks: Buffer[] = []
    for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
    return { status: response.statusCode, text: Buffer.concat(chunks).toString(), socket }
  }
  const post = (body: string, headers: object = {}, by: https.Agent = agent) =>
    request({ method: 'POST', path: '/mutate?timeout=5s', headers: { 'content-type': 'application/json', ...headers }, agent: by }, body)
  return {
    port: server.port,
    logged,
    facts,
    post,
    get: (path: string) => request({ path }, null),
    async review(pod: V1Pod) {
      const answer = await post(envelope({ object: pod }))
      return { ...answer, body: (answer.status === 200 ? JSON.parse(answer.text) : null) as Answer }
    },
    swap(next: Issued) {
      leaf = next
      for (const listener of listeners) listener()
    },
    async [Symbol.asyncDispose]() {
      agent.destroy()
      await server.close()
      assert.equal(listeners.size, 0)
    },
  }
}
