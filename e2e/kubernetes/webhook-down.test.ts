/**
 * Goal: while the webhook does not answer, nobody gets a pod without the recorder or past it, and all is as before when it is back. Method:
 * no replica runs; pods as people and controllers write them, and one that brings a sidecar which a real pod was given.
 */
import assert from 'node:assert/strict'
import { clusterTest, eventually, getJson, kubectl, refused } from './support/kubectl.ts'
import { agentPod, databaseUrlVariable, inAgent, openShop, podTemplate, startAgent } from './support/shop.ts'

const release = ['-n', 'steno-system']
type Copied = {
  readonly metadata: Record<string, unknown>
  readonly spec: { readonly nodeName?: string; containers: { name: string; env?: object[] }[] }
}

clusterTest(
  'without the webhook no pod is admitted bare, none with a sidecar of its author’s, and running ones go on',
  async () => {
    await using shop = await openShop()
    const { namespace } = shop
    await startAgent(namespace, agentPod('before'))
    const asked = ['sh', '-c', 'psql "$DATABASE_URL" -Atc "select 1"']
    assert.equal((await inAgent(namespace, 'before', asked)).trim(), '1', 'positive control')
    const live = await getJson<Copied>(['-n', namespace, 'pod', 'before'])
    const { replicas } = (await getJson<{ spec: { replicas: number } }>([...release, 'deployment', 'steno-webhook'])).spec
    await kubectl([...release, 'scale', 'deployment/steno-webhook', '--replicas=0'])
    try {
      await kubectl([...release, 'wait', '--for=delete', 'pod', '-l', 'app.kubernetes.io/component=webhook', '--timeout=180s'])
      // As its developer writes it: the admission policies see that nothing was injected.
      const bare = await refused(['-n', namespace, 'create', '-f', '-'], JSON.stringify(agentPod('bare')))
      assert.match(bare, /ValidatingAdmissionPolicy 'steno-/)
      assert.match(bare, /webhook/i, 'the message names what is missing')
      // The very sidecar of a real pod, and the agent with its credential again.
      const { nodeName: _, ...spec } = live.spec
      const agent = spec.containers.map((container) => ({ ...container, env: [databaseUrlVariable] }))
      const { labels, annotations } = live.metadata as { labels: object; annotations: object }
      const brought = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'brought', labels, annotations },
        spec: { ...spec, containers: agent },
      }
      assert.match(await refused(['-n', namespace, 'create', '-f', '-'], JSON.stringify(brought)), /brought\.steno\.dev/)
      // A controller tries again until it is admitted.
      const waiting = { replicas: 1, selector: { matchLabels: { app: 'waiting' } }, template: podTemplate('waiting') }
      const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'waiting' }, spec: waiting }
      await kubectl(['-n', namespace, 'create', '-f', '-'], JSON.stringify(deployment))
      assert.equal((await inAgent(namespace, 'before', asked)).trim(), '1', 'a running agent notices nothing')
    } finally {
      await kubectl([...release, 'scale', 'deployment/steno-webhook', `--replicas=${replicas}`])
      await kubectl([...release, 'rollout', 'status', 'deployment/steno-webhook', '--timeout=180s'])
    }
    const events = await getJson<{ items: { message: string; reason: string }[] }>(['-n', namespace, 'events'])
    assert.ok(events.items.some(({ reason, message }) => reason === 'FailedCreate' && message.includes('steno')))
    await eventually('a pod as written is injected again', async () => {
      await kubectl(['-n', namespace, 'delete', 'pod', 'after', '--ignore-not-found', '--wait=true'])
      await startAgent(namespace, agentPod('after'))
      return true
    })
    assert.equal((await inAgent(namespace, 'after', asked)).trim(), '1')
    await kubectl(['-n', namespace, 'rollout', 'status', 'deployment/waiting', '--timeout=120s'])
  },
  { timeoutMilliseconds: 400_000 },
)
