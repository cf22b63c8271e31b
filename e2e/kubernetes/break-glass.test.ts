/**
 * Goal: in an emergency one command lets a namespace's pods be made without steno, one ends it, and the store says for ever that it was so. Method: the
 * plugin on a cluster with a shop; what pods are given before, meanwhile and after; and the verifier of the cluster's store.
 */
import assert from 'node:assert/strict'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { clusterTest, eventually, getJson, kubectl, ran, type Ran } from './support/kubectl.ts'
import { agentPod, inAgent, openShop, startAgent } from './support/shop.ts'

const plugin = path.join(fileURLToPath(new URL('../../', import.meta.url)), 'bin/kubectl-steno')

const steno = (...args: string[]): Promise<Ran> => ran(plugin, args)

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
      assert.match(began, /from 20\S* on .*asked for by .*as the policy says/)
      const ended = await steno('break-glass', '-n', namespace, '--end')
      assert.equal(ended.code, 0, ended.stderr)
      assert.ok(ended.stdout.includes(bare), 'the pods that are to be made again are named')
    } finally {
      await kubectl(['delete', 'clustersessionpolicy', `break-glass-${namespace}`, '--ignore-not-found'])
    }
    await untilMade(namespace, 'after', true)
    const [line = '', ...others] = await eventually('its end is on record', async () => {
      const found = await recorded(namespace)
      return found.some((each) => each.includes(' until ')) ? found : null
    })
    assert.match(line, /from 20\S+ until 20\S+ /)
    assert.deepEqual([line.includes(reason), others], [true, []])
    await eventually('the pod of before is let in again', async () => {
      return (await inAgent(namespace, 'before', asked)).trim() === '1' ? true : null
    })
  },
  { timeoutMilliseconds: 480_000 },
)

clusterTest(
  'it ends by itself, also while no webhook runs: the API server admits a bare pod until then, and none after; its end is on record',
  async () => {
    await using shop = await openShop()
    const { namespace } = shop
    const release = ['-n', 'steno-system']
    const { replicas } = (await getJson<{ spec: { replicas: number } }>([...release, 'deployment', 'steno-webhook'])).spec
    const create = (pod: string, ...args: string[]): Promise<Ran> =>
      ran('kubectl', ['-n', namespace, 'create', '-f', '-', ...args], JSON.stringify(agentPod(pod)))
    try {
      const opened = await steno('break-glass', '-n', namespace, '--reason', `an end of ${namespace}`, '--for', '1m')
      assert.equal(opened.code, 0, opened.stderr)
      await untilMade(namespace, 'meanwhile', false)
      await kubectl([...release, 'scale', 'deployment/steno-webhook', '--replicas=0'])
      await kubectl([...release, 'wait', '--for=delete', 'pod', '-l', 'app.kubernetes.io/component=webhook', '--timeout=180s'])
      assert.equal((await create('without-webhook')).code, 0, 'its time is not over')
      const refusal = await eventually(
        'the API server refuses bare pods again',
        async () => {
          // Admission alone: a pod for each look would fill the node, and the webhook's own would find no room on it.
          const { code, stderr } = await create('late', '--dry-run=server')
          return code === 0 ? null : stderr
        },
        { withinMilliseconds: 150_000 },
      )
      assert.match(refusal, /SidecarMissing/)
    } finally {
      await kubectl([...release, 'scale', 'deployment/steno-webhook', `--replicas=${replicas}`])
      await kubectl([...release, 'rollout', 'status', 'deployment/steno-webhook', '--timeout=180s'])
    }
    try {
      await untilMade(namespace, 'after', true)
      const lines = await eventually('both ends are on record', async () => {
        const found = await recorded(namespace)
        return found.some((each) => each.includes(' until ')) ? found : null
      })
      assert.deepEqual([lines.length, /from 20\S+ until 20/.test(lines[0] ?? '')], [1, true])
      const { stdout } = await steno('status', '-n', namespace)
      assert.match(stdout, new RegExp(`^NOTE +Break-glass break-glass-${namespace}: it ended by itself at 20`, 'm'))
    } finally {
      await kubectl(['delete', 'clustersessionpolicy', `break-glass-${namespace}`, '--ignore-not-found'])
    }
  },
  { timeoutMilliseconds: 400_000 },
)
