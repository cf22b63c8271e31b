/**
 * Goal: in an emergency one command lets a namespace's pods be made without steno, one ends it, and the store says for ever that it was so. Method: the
 * plugin on a cluster with a shop; what pods are given before, meanwhile and after; and the verifier of the cluster's store.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { clusterTest, eventually, getJson, kubectl, type Ran } from './support/kubectl.ts'
import { agentPod, inAgent, openShop, startAgent } from './support/shop.ts'

const plugin = path.join(fileURLToPath(new URL('../../', import.meta.url)), 'bin/kubectl-steno')

async function steno(...args: string[]): Promise<Ran> {
  const child = spawn(plugin, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (texts.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (texts.stderr += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code: code ?? -1, ...texts }
}

async function hasSidecar(namespace: string, pod: string): Promise<boolean> {
  const { spec } = await getJson<{ spec: { initContainers?: { name: string }[] } }>(['-n', namespace, 'pod', pod])
  return spec.initContainers?.some(({ name }) => name === 'steno') === true
}

/** Makes pods until one is as it should be: webhook and admission policies hear of it within seconds, each by itself. */
async function untilMade(namespace: string, prefix: string, injected: boolean): Promise<string> {
  let number = 0
  return eventually(`a pod is made ${injected ? 'with' : 'without'} the sidecar`, async () => {
    const pod = `${prefix}-${++number}`
    await kubectl(['-n', namespace, 'create', '-f', '-'], JSON.stringify(agentPod(pod)))
    return (await hasSidecar(namespace, pod)) === injected ? pod : null
  })
}

/** What the verifier says of exemptions of the namespace. */
async function recorded(namespace: string): Promise<string[]> {
  const { stdout } = await steno('verify', '--all')
  return stdout.split('\n').filter((line) => line.includes('EXEMPT') && line.includes(`of ${namespace} `))
}

clusterTest(
  'the glass is broken and mended: pods without the sidecar meanwhile, a warning, and both ends on record',
  async () => {
    await using shop = await openShop()
    const { namespace } = shop
    await startAgent(namespace, agentPod('before'))
    const asked = ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 1"']
    assert.equal((await inAgent(namespace, 'before', asked)).trim(), '1', 'positive control')
    const reason = `a drill of ${namespace}`
    const opened = await steno('break-glass', '-n', namespace, '--reason', reason, '--for', '1h')
    try {
      assert.deepEqual([opened.code, opened.stderr], [0, ''])
      const bare = await untilMade(namespace, 'meanwhile', false)
      const again = await steno('break-glass', '-n', namespace, '--reason', reason, '--for', '1h')
      assert.deepEqual([again.code, again.stderr.includes('BREAK_GLASS_RUNS')], [1, true])
      type Status = { concerns: { severity: string; what: string; message: string }[] }
      const status = JSON.parse((await steno('status', '-n', namespace, '--json')).stdout) as Status
      const warning = status.concerns.find(({ what }) => what === `Break-glass break-glass-${namespace}`)
      assert.equal(warning?.severity, 'warning')
      assert.ok(warning.message.includes(reason))
      const [began = ''] = await eventually('its beginning is on record', async () => {
        const lines = await recorded(namespace)
        return lines.length > 0 ? lines : null
      })
      assert.match(began, /from 20.*asked for by .*as the policy says/)
      const ended = await steno('break-glass', '-n', namespace, '--end')
      assert.equal(ended.code, 0, ended.stderr)
      assert.ok(ended.stdout.includes(bare), 'the pods that are to be made again are named')
    } finally {
      await kubectl(['delete', 'clustersessionpolicy', `break-glass-${namespace}`, '--ignore-not-found'])
    }
    await untilMade(namespace, 'after', true)
    const lines = await eventually('its end is on record', async () => {
      const found = await recorded(namespace)
      return found.length === 2 ? found : null
    })
    assert.ok(lines.some((line) => /until 20/.test(line)) && lines.every((line) => line.includes(reason)))
    await eventually('the pod of before is let in again', async () => {
      return (await inAgent(namespace, 'before', asked)).trim() === '1' ? true : null
    })
  },
  { timeoutMilliseconds: 240_000 },
)
