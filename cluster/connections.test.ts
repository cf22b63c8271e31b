// Goal: nobody who opens connections and says nothing keeps others out. Method: real servers, more silent connections than they bear, and
// a client that comes after them.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Registry } from 'prom-client'
import { until } from './test-support.ts'
import { boundConnections } from './connections.ts'
import { startHealthServer } from './health-server.ts'

const timeout = 120_000

async function silent(context: TestContext, port: number, count: number): Promise<{ readonly closed: () => number }> {
  let closed = 0
  const sockets = Array.from({ length: count }, () => net.connect({ port, host: '127.0.0.1' }))
  for (const socket of sockets) socket.on('error', () => undefined).on('close', () => closed++)
  context.after(() => sockets.forEach((socket) => socket.destroy()))
  await Promise.all(sockets.map((socket) => once(socket, 'connect')))
  return { closed: () => closed }
}

async function statusOf(port: number, path: string): Promise<number> {
  const [answer] = (await once(http.get({ port, host: '127.0.0.1', path, agent: false }), 'response')) as [http.IncomingMessage]
  answer.resume()
  return answer.statusCode ?? 0
}

test('the kubelet’s probe is answered while a peer holds as many connections as there may be', { timeout }, async (context) => {
  const registry = new Registry()
  const health = await startHealthServer({ listen: { host: '127.0.0.1', port: 0 }, registry, reasonsNotReady: () => [] })
  context.after(() => health.close())
  assert.equal(await statusOf(health.port, '/healthz'), 200)
  await silent(context, health.port, 200)
  assert.equal(await statusOf(health.port, '/healthz'), 200)
  assert.equal(await statusOf(health.port, '/readyz'), 200)
})

test('the oldest stranger goes for a newcomer; who was vouched for stays, up to a number', { timeout }, async (context) => {
  const server = http.createServer((request, response) => {
    if (request.url === '/known') connections.vouch(request.socket)
    response.end()
  })
  const connections = boundConnections(server, { max: 8, vouchedMax: 2 })
  context.after(() => server.close().closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const agents = Array.from({ length: 3 }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }))
  context.after(() => agents.forEach((agent) => agent.destroy()))
  const ask = async (agent: http.Agent): Promise<boolean> => {
    const request = http.get({ port, host: '127.0.0.1', path: '/known', agent })
    const [answer] = (await once(request, 'response')) as [http.IncomingMessage]
    await once(answer.resume(), 'end')
    return request.reusedSocket
  }
  const [first, second, third] = agents as [http.Agent, http.Agent, http.Agent]
  assert.equal(await ask(first), false)
  assert.equal(await ask(second), false)
  const { closed } = await silent(context, port, 50)
  await until(() => closed() === 44)
  assert.equal(connections.size, 8)
  assert.deepEqual([await ask(first), await ask(second)], [true, true], 'their connections are the ones they had')
  await ask(third)
  await until(() => connections.size === 7)
  assert.deepEqual([await ask(second), await ask(third)], [true, true])
})
