// Goal: authorities rotate under load and no request fails for it. Method: real TLS, rotations of milliseconds, and the bundle that the
// webhook configuration holds on a double of the API server.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { readAuthority } from '../../cluster/certificates/authority-secret.ts'
import { retiredMax } from '../../cluster/certificates/authority-state.ts'
import { certificatesIn } from '../../cluster/certificates/authority.ts'
import { intervals, names, replica } from '../../cluster/certificates/test-certificates.ts'
import { startTestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import { rotateAuthority } from './rotate-authority.ts'
import { configurationPath, trustOf } from './test-webhook-trust.ts'

const timeout = 120_000

test(
  'while authorities rotate every few milliseconds, what the webhook configuration trusts verifies every request',
  { timeout },
  async () => {
    await using api = await startTestApi()
    api.put(configurationPath, {
      metadata: { name: 'steno' },
      webhooks: [{ name: 'pods.steno.dev', clientConfig: { url: 'https://127.0.0.1' } }],
    })
    const { log } = testLog()
    const [leader, follower] = [await replica(api), await replica(api)]
    const ending = new AbortController()
    const trust = trustOf(api, leader, { leads: true, signal: ending.signal })
    const at = { cluster: api.client, namespace: 'steno-system', secret: 'steno-ca' }
    const rotation = rotateAuthority({ ...at, intervals, isDistributed: (cert) => trust.has(cert), log, signal: ending.signal })
    const server = https.createServer(follower.current(), (_, response) => void response.end('ok')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    follower.onChange(() => server.setSecureContext(follower.current()))
    const bundle = (): string => {
      const [webhook] = (api.get(configurationPath)?.['webhooks'] ?? []) as { clientConfig: { caBundle?: string } }[]
      return Buffer.from(webhook?.clientConfig.caBundle ?? '', 'base64').toString()
    }
    await until(() => bundle() !== '')
    const signers = new Set<string>()
    const [first = ''] = certificatesIn(bundle())
    const ask = (ca: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const { port } = server.address() as AddressInfo
        https
          .get({ port, host: '127.0.0.1', servername: names[0] ?? '', ca, agent: false }, (response) => {
            response.resume().on('end', () => resolve(response.statusCode ?? 0))
          })
          .on('error', reject)
      })
    for (let request = 0; signers.size < 8 || request < 100; request++) {
      assert.equal(await ask(bundle()), 200, `request ${request}`)
      const { active, retired } = (await readAuthority(at)).state
      signers.add(active.cert)
      // As a pod that was admitted long ago; the list may go on while it is asked, so its last entries are left out.
      if (retired.slice(0, retiredMax - 3).includes(first)) assert.equal(await ask(first), 200, `request ${request} of an old client`)
    }
    ending.abort()
    await rotation
    server.close()
    leader.stop()
    follower.stop()
  },
)

test('a configuration that is not there lets no successor sign', { timeout }, async () => {
  await using api = await startTestApi()
  const { log } = testLog()
  const source = await replica(api)
  const first = source.current().cert
  const ending = new AbortController()
  const trust = trustOf(api, source, { leads: true, signal: ending.signal })
  const at = { cluster: api.client, namespace: 'steno-system', secret: 'steno-ca' }
  const rotation = rotateAuthority({ ...at, intervals, isDistributed: (cert) => trust.has(cert), log, signal: ending.signal })
  await until(() => certificatesIn(source.trust() ?? '').length === 2)
  await new Promise((resolve) => setTimeout(resolve, 3 * (intervals.rotateMilliseconds + intervals.overlapMilliseconds)))
  assert.equal(source.current().cert, first)
  ending.abort()
  await rotation
  source.stop()
})
