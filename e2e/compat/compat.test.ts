// Goal: control and relay serve the sidecars of former releases, for pods outlive an upgrade. Method: what a sidecar of each release said, word for
// word, is said again to today's servers, which must answer what that sidecar can read; receipts and documents are proven as that release proves them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createPublicKey, verify } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import https from 'node:https'
import type http from 'node:http'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { hasDocument, misfit, shapeOfBody, shapeOfHeaders, type Exchange, type Exchanges } from './exchange.ts'
import { isAtAddress } from './recording-proxy.ts'
import { startServers, type Servers } from './servers.ts'

const folder = new URL('exchanges/', import.meta.url)
const files = readdirSync(folder).filter((name) => name.endsWith('.json'))
const releases = files.map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Exchanges)

type Said = { readonly answer: http.IncomingMessage; readonly body: Buffer }

/** `ports` replaces the one of the relay's target, which was another when it was recorded. */
async function say(t: TestContext, { to, request }: Exchange, { control, relay, echoPort }: Servers): Promise<Said> {
  const { port, authority } =
    to === 'control' ? { port: control.server.port, authority: control.authority } : { port: relay.server.port, authority: relay.authority }
  const here = (text: string): string => {
    const placed = text.replaceAll('{address}', `127.0.0.1:${port}`)
    return to === 'relay' ? placed.replace(/(\.test:)\d+/, `$1${echoPort}`) : placed
  }
  const body =
    to === 'relay'
      ? Buffer.from(
          Buffer.from(request.body, 'base64')
            .toString()
            .replace(/"port":\d+/, `"port":${echoPort}`),
        )
      : Buffer.from(request.body, 'base64')
  const headers = request.headers
    .map(here)
    .map((text, at, all) => (all[at - 1]?.toLowerCase() === 'content-length' && at % 2 === 1 ? String(body.length) : text))
  const outgoing = https.request({
    ...{ host: '127.0.0.1', port, path: here(request.path), method: request.method, agent: false, ca: authority.certificatePem },
    checkServerIdentity: isAtAddress,
    headers: headers as unknown as http.OutgoingHttpHeaders,
  })
  outgoing.on('error', () => undefined)
  t.after(() => outgoing.destroy())
  outgoing.end(body)
  if (request.method === 'CONNECT') {
    const [answer, socket, behind] = (await once(outgoing, 'connect')) as [http.IncomingMessage, Socket, Buffer]
    let refusal = behind
    if (answer.statusCode === 200) socket.destroy()
    else for await (const piece of socket as AsyncIterable<Buffer>) refusal = Buffer.concat([refusal, piece])
    return { answer, body: refusal }
  }
  const [answer] = (await once(outgoing, 'response')) as [http.IncomingMessage]
  const pieces: Buffer[] = []
  for await (const piece of answer as AsyncIterable<Buffer>) {
    pieces.push(piece)
    if (hasDocument(Buffer.concat(pieces))) break
  }
  return { answer, body: Buffer.concat(pieces) }
}

/** As the release 0.1 proves a receipt: Ed25519 over the JSON of these fields in the order of their names. */
function assertReceipt(body: Buffer, publicKeyPem: string): void {
  const { at, bytes, key, sha256, store, version, signature } = JSON.parse(body.toString()) as Record<string, unknown>
  const signed = Buffer.from(JSON.stringify({ at, bytes, key, sha256, store, version }))
  assert.ok(verify(null, signed, createPublicKey(publicKeyPem), Buffer.from(String(signature), 'base64')), `the receipt for ${String(key)}`)
}

/** As the release 0.1 proves a signed document: Ed25519 over its first line. */
function assertDocument(body: Buffer, publicKeyPem: string): void {
  const { document } = JSON.parse(
    body
      .toString()
      .split('\n')
      .find((each) => each.includes('"document"')) ?? '{}',
  ) as { document: string }
  const [line = '', signature = ''] = Buffer.from(document, 'base64').toString().split('\n')
  assert.ok(verify(null, Buffer.from(line), createPublicKey(publicKeyPem), Buffer.from(signature, 'base64')), 'the policy document')
}

for (const { release, exchanges } of releases)
  test(`a sidecar of release ${release} is served as it was`, { timeout: 300_000 }, async (t) => {
    const servers = await startServers(t, { port: 5432 })
    const { publicKeyPem } = servers.control.key
    for (const exchange of exchanges) {
      const { request, answer: expected } = exchange
      const what = `${exchange.to}: ${request.method} ${request.path}`
      const { answer, body } = await say(t, exchange, servers)
      assert.equal(answer.statusCode, expected.status, `${what}: ${body.toString().slice(0, 500)}`)
      const isRead = request.method === 'GET' || request.method === 'HEAD'
      assert.equal(misfit(shapeOfHeaders(answer.headers, isRead), expected.headers, 'its headers'), null, what)
      assert.equal(misfit(shapeOfBody(answer.headers['content-type'], body), expected.body), null, what)
      if (request.method === 'PUT' && answer.statusCode === 201) assertReceipt(body, publicKeyPem)
      if (request.path === '/v1/stream') assertDocument(body, publicKeyPem)
    }
  })

test('the exchanges hold what sidecars say', () => {
  const said = (release: string): Set<string> => {
    const { exchanges } = releases.find((each) => each.release === release) ?? { exchanges: [] }
    return new Set(
      exchanges.map(({ to, request }) => `${to} ${request.method} ${request.path.replace(/^(\/v1\/[a-z]+).*/, '$1').replace(/:\d+$/, '')}`),
    )
  }
  const uploads = ['control PUT /v1/stores']
  for (const one of uploads) assert.ok(said('0.1-recording').has(one), one)
  const all = [
    ...uploads,
    'control GET /v1/stream',
    'control POST /v1/marks',
    'control POST /v1/facts',
    'relay POST /v1/probe',
    'relay CONNECT db.test',
  ]
  for (const one of all) assert.ok(said('0.1').has(one), one)
})
