/**
 * Goal: a pod whose policy asks for recording level `statements` gets its rows, and an auditor is told what of them was not kept. Method: a shop
 * with such a policy on a real cluster, psql as the agent, and the plugin as kubectl runs it.
 */
import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import { clusterTest, eventually, ran } from './support/kubectl.ts'
import { openRecordings } from './support/recordings.ts'
import { agentPod, inAgent, openShop, startAgent } from './support/shop.ts'

const plugin = fileURLToPath(new URL('../../bin/kubectl-steno', import.meta.url))

async function told(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await ran(plugin, args)
  assert.equal(code, 0, `kubectl steno ${args.join(' ')}: ${stdout}${stderr}`)
  return stdout
}

clusterTest('a pod under level statements gets its rows; kubectl steno says how many were not kept, and has none', async () => {
  await using shop = await openShop({ spec: { recording: { level: 'statements' } } })
  const pod = await startAgent(shop.namespace, agentPod('agent'))
  const sql = "select 'ro' || 'w ' || n from generate_series(1, 300) n"
  const printed = await inAgent(shop.namespace, 'agent', ['sh', '-c', `psql "$DATABASE_URL" -Atc "${sql}"`])
  assert.equal(printed.trim().split('\n').length, 300)
  assert.match(printed, /^row 300$/m)
  await using recordings = await openRecordings()
  const session = await eventually('the session is stored', async () => {
    const sessions = await recordings.sessionsOf(pod.metadata.uid)
    return sessions.find(({ state }) => state === 'closed')?.session ?? null
  })
  assert.match(await told('show', session), /^level +statements: rows, .* are not kept/m)
  const shown = await told('show', session, '--statement', '1')
  assert.match(shown, /^\(300 rows, \d+ bytes, not kept: recording level statements\)$/m)
  assert.match(shown, /SELECT 300/)
  assert.doesNotMatch(shown, /row 300/)
  assert.match(await told('verify', session), /bytes of results not kept: recording level statements\n.*: sound/)
})
