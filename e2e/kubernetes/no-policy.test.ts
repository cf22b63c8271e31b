/**
 * Goal: a pod that no SessionPolicy matches is never taken for a recorded one, and an agent that insists on TLS in the image is served. Method:
 * a shop whose policy goes away for a pod (a label that the selector does not have), seen by kubectl and by every command of the plugin.
 */
import assert from 'node:assert/strict'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { clusterTest, eventually, kubectl, ran, type Ran } from './support/kubectl.ts'
import { agentPod, databaseUrlVariable, inAgent, openShop, startAgent, untilRunning, type Shop } from './support/shop.ts'

const plugin = fileURLToPath(new URL('../../bin/kubectl-steno', import.meta.url))
const isThere = process.env['KUBECONFIG'] !== undefined
let shop: Shop
before(async () => {
  if (isThere) shop = await openShop()
})
after(async () => {
  if (isThere) await shop[Symbol.asyncDispose]()
})

async function applied(pod: object): Promise<Ran> {
  return ran('kubectl', ['-n', shop.namespace, 'apply', '-f', '-'], JSON.stringify(pod))
}
const steno = (...args: string[]): Promise<Ran> => ran(plugin, [...args, '-n', shop.namespace])

clusterTest('an agent that insists on TLS speaks it with its sidecar', async () => {
  await startAgent(shop.namespace, agentPod('insists'))
  const script = 'psql "${DATABASE_URL%\\?*}?sslmode=require" -Atc "select 41 + 1"'
  assert.equal((await inAgent(shop.namespace, 'insists', ['sh', '-c', script])).trim(), '42')
})

clusterTest('a pod that no policy matches is warned of by kubectl apply, check, explain and status', async () => {
  const policies = (await kubectl(['-n', shop.namespace, 'get', 'sessionpolicies', '-o', 'name'])).trim().split('\n')
  const selector = JSON.stringify({ spec: { selector: { matchLabels: { app: 'agnet' } } } })
  for (const policy of policies) await kubectl(['-n', shop.namespace, 'patch', policy, '--type=merge', '-p', selector])
  const pod = agentPod('unmatched', { env: [databaseUrlVariable] })
  const answer = await eventually('the webhook knows the policy as it is now', async () => {
    const tried = await ran('kubectl', ['-n', shop.namespace, 'apply', '--dry-run=server', '-f', '-'], JSON.stringify(pod))
    return tried.stderr.includes('no SessionPolicy matches it') ? tried : null
  })
  assert.match(answer.stderr, /Warning: steno: no SessionPolicy matches it, so it keeps its credential.*agent: DATABASE_URL/)
  assert.match(answer.stderr, /Warning: steno: it has no network path to a database/)

  const checked = await ran(plugin, ['check', '-n', shop.namespace, '-f', '-'], JSON.stringify(pod))
  assert.match(checked.stdout, /no SessionPolicy matches it[\s\S]*Warnings:/)

  const made = await applied(pod)
  assert.equal(made.code, 0, made.stderr)
  await untilRunning(shop.namespace, 'unmatched')
  assert.match((await steno('explain', 'unmatched')).stdout, /^Outcome: +NOT RECORDED: no SessionPolicy matches it/m)
  // Made while the policy was for it: it is safe, and made again it would not be.
  assert.match((await steno('explain', 'insists')).stdout, /^Outcome: +safe as it is.*make the policy first$/m)

  const { stdout } = await steno('status')
  assert.match(stdout, new RegExp(`WARNING +Pods ${shop.namespace}/unmatched: 1 pod has the sidecar and no database`))
  assert.doesNotMatch(stdout, /Everything that was looked at/)
  const direct = await ran('kubectl', [
    ...['-n', shop.namespace, 'exec', 'unmatched', '-c', 'agent', '--'],
    ...['sh', '-c', 'psql "$DATABASE_URL?connect_timeout=5" -c "select 1"'],
  ])
  assert.notEqual(direct.code, 0, 'mode Relay leaves it no way')
})
