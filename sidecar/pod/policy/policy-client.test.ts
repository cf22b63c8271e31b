// Goal: documents arrive whole however the network cuts them, and a control that is away, wrong or silent is asked again, never in a rush. Method: an HTTP
// server in the test's hand in control's place; pauses of milliseconds.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { pino } from 'pino'
import { policyDocumentBytesMax, type PolicyOrder } from '../../../session/policy-document.ts'
import { startPolicyClient, type PolicyClientTiming } from './policy-client.ts'

type Handle = (request: http.IncomingMessage, response: http.ServerResponse, number: number) => void

async function createWorld(t: TestContext, handle: Handle, timing: Partial<PolicyClientTiming> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-policy-'))
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, 'a-token')
  const requests: http.IncomingMessage[] = []
  const server = http.createServer((request, response) => {
    requests.push(request)
    handle(request, response, requests.length)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) })
  const documents: string[] = []
  let changed: () => void = () => undefined
  const state = { known: null as Pick<PolicyOrder, 'generation' | 'positions'> | null }
  const client = startPolicyClient({
    connection: { origin: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), tokenFile, caPem: null },
    known: () => state.known,
    onDocument(bytes) {
      documents.push(bytes.toString())
      changed()
      return Promise.resolve()
    },
    log,
    timing: { pauseMillisecondsFirst: 5, pauseMillisecondsMost: 20, ...timing },
  })
  t.after(() => {
    client.stop()
    server.closeAllConnections()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    ...{ client, requests, documents, lines, state },
    async untilDocuments(count: number): Promise<void> {
      while (documents.length < count) await new Promise<void>((resolve) => (changed = resolve))
    },
  }
}

const lineOf = (document: string): string => `${JSON.stringify({ kind: 'policy', document: Buffer.from(document).toString('base64') })}\n`
const untilLines = async (lines: readonly string[], pattern: RegExp): Promise<void> => {
  while (!lines.some((line) => pattern.test(line))) await new Promise((resolve) => setTimeout(resolve, 2))
}

test(
  'documents arrive whole and in order, wherever their bytes are cut; what is no document is passed over',
  { timeout: 120_000 },
  async (t) => {
    const text = `{"kind":"alive"}\n${lineOf('one')}{"kind":"of a later release","document":7}\n${lineOf('two')}`
    const { untilDocuments, documents, client } = await createWorld(t, (_request, response) => {
      response.writeHead(200)
      void (async () => {
        for (const byte of Buffer.from(text)) {
          response.write(Buffer.from([byte]))
          await new Promise(setImmediate)
        }
      })()
    })
    await untilDocuments(2)
    assert.deepEqual(documents, ['one', 'two'])
    assert.equal(client.isConnected, true)
  },
)

test('it shows its token and where its document stands, and comes again when the stream ends', { timeout: 120_000 }, async (t) => {
  const { untilDocuments, requests, state } = await createWorld(t, (_request, response, number) => {
    const [sessionPolicies, clusterSessionPolicies, namespaces, pod] = ['7', '8', '9', String(number)]
    state.known = { generation: String(number * 10), positions: { sessionPolicies, clusterSessionPolicies, namespaces, pod } }
    response.writeHead(200).end(lineOf(String(number)))
  })
  await untilDocuments(3)
  assert.deepEqual(
    requests
      .slice(0, 3)
      .map(({ method, url, headers: { authorization, ...headers } }) => [
        ...[method, url, authorization, headers['steno-generation'], headers['steno-positions']],
      ]),
    [[], ['10', '7,8,9,1'], ['20', '7,8,9,2']].map(([generation, positions]) => [
      'GET',
      '/v1/stream',
      'Bearer a-token',
      generation,
      positions,
    ]),
  )
})

test('it does not follow a redirect, and says what control answered, but never its token', { timeout: 120_000 }, async (t) => {
  const refusal = { code: 'POD_UNFIT', message: 'this pod gets no policy', remedy: 'Delete the pod.' }
  const { untilDocuments, requests, lines } = await createWorld(t, (_request, response, number) => {
    if (number === 1) response.writeHead(302, { location: '/elsewhere' }).end()
    else if (number === 2) response.writeHead(403).end(JSON.stringify(refusal))
    else if (number === 3) response.writeHead(500).end('not JSON')
    else response.writeHead(200).end(lineOf('at last'))
  })
  await untilDocuments(1)
  assert.ok(requests.every(({ url }) => url === '/v1/stream'))
  const told = lines.filter((line) => line.includes('do not arrive'))
  assert.equal(told.length, 1, 'failures in a row are told once a minute')
  assert.match(told[0]!, /control answers 302/)
  assert.doesNotMatch(lines.join(''), /a-token/)
})

test('control’s own code and remedy are told', { timeout: 120_000 }, async (t) => {
  const { lines } = await createWorld(t, (_request, response) => {
    response.writeHead(403).end(JSON.stringify({ code: 'POD_UNFIT', message: 'this pod gets no policy', remedy: 'Delete the pod.' }))
  })
  await untilLines(lines, /403 POD_UNFIT: this pod gets no policy/)
  assert.match(lines.join(''), /Delete the pod\./)
})

test('a stream that falls silent is given up, and another opened', { timeout: 120_000 }, async (t) => {
  const { untilDocuments } = await createWorld(
    t,
    (_request, response, number) => {
      response.writeHead(200)
      response.write(lineOf(String(number)))
    },
    { silenceMilliseconds: 30 },
  )
  await untilDocuments(2)
})

for (const [what, sent] of [
  ['a line that is no JSON', 'nonsense\n'],
  ['a line without end', Buffer.alloc(2 * policyDocumentBytesMax, 0x20)],
] as const) {
  test(`${what} ends the stream, and the next one counts`, { timeout: 120_000 }, async (t) => {
    const { untilDocuments, documents, lines } = await createWorld(t, (_request, response, number) => {
      response.writeHead(200)
      response.write(number === 1 ? sent : lineOf('sound'))
    })
    await untilDocuments(1)
    assert.deepEqual(documents, ['sound'])
    assert.match(lines.join(''), /POLICY_STREAM_REFUSED/)
  })
}

test('the pauses after failures grow, each at least what it should be', { timeout: 120_000 }, async (t) => {
  const at: number[] = []
  const { lines } = await createWorld(
    t,
    (request) => {
      at.push(performance.now())
      request.socket.destroy()
    },
    { pauseMillisecondsFirst: 20, pauseMillisecondsMost: 80 },
  )
  while (at.length < 5) await new Promise((resolve) => setTimeout(resolve, 5))
  const pauses = at.slice(1).map((time, index) => time - at[index]!)
  for (const [index, least] of [20, 40, 80, 80].entries()) assert.ok(pauses[index]! >= least - 2, `pause ${index} was ${pauses[index]} ms`)
  assert.equal(lines.filter((line) => line.includes('do not arrive')).length, 1)
})
