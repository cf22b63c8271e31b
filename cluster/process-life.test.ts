// Goal: a process of steno's says why it is not ready from its first moment, ends all that it began when its start fails, and stops in order
// and once. Method: the real health server, and something to serve that notes when it is called.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { startProcess } from './process-life.ts'
import { testLog } from './test-support.ts'

const settings = { metricsListen: { host: '127.0.0.1', port: 0 }, drainDelayMilliseconds: 1 }
const ready = async (port: number): Promise<string> => (await fetch(`http://127.0.0.1:${port}/readyz`)).text()

function parts(order: string[], reasonsNotReady: () => readonly string[] = () => []) {
  return { settings, registry: new Registry(), log: testLog().log, reasonsNotReady, endAll: () => void order.push('all ended') }
}

test('a stop ends readiness at once, and the rest behind the drain delay, once', async () => {
  const order: string[] = []
  let readyWhileStopping = ''
  const life = await startProcess(parts(order), async () => ({
    beforeDrain: () => void order.push('before the drain'),
    async stop() {
      readyWhileStopping = await ready(life.metricsPort)
      order.push('stopped')
    },
  }))
  assert.equal(await ready(life.metricsPort), 'ok\n')
  await Promise.all([life.stop(), life.stop()])
  assert.equal(readyWhileStopping, 'it is stopping\n')
  assert.deepEqual(order, ['before the drain', 'stopped', 'all ended'])
  await assert.rejects(ready(life.metricsPort))
})

test('a start that fails says so, and ends all that was begun', async () => {
  const order: string[] = []
  const failing = startProcess(
    parts(order, () => ['nothing is read yet']),
    async () => {
      order.push('began')
      throw new Error('no certificate')
    },
  )
  await assert.rejects(failing, /no certificate/)
  assert.deepEqual(order, ['began', 'all ended'])
})

test('a health server that cannot listen ends all, and nothing is served', async () => {
  const [first, second]: [string[], string[]] = [[], []]
  const life = await startProcess(parts(first), async () => ({ stop: () => Promise.resolve() }))
  const taken = { ...settings, metricsListen: { host: '127.0.0.1', port: life.metricsPort } }
  await assert.rejects(
    startProcess({ ...parts(second), settings: taken }, () => assert.fail('it serves')),
    { code: 'WEBHOOK_CANNOT_LISTEN' },
  )
  assert.deepEqual(second, ['all ended'])
  await life.stop()
})
