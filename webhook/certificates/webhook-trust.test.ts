// Goal: the API server trusts the webhooks whoever leads, and an authority that somebody put there is not overwritten by who does not.
// Method: a webhook configuration on a double of the API server that comes late, changes between reading and writing, and trusts others.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activated, trusted, type AuthorityState } from '../../cluster/certificates/authority-state.ts'
import { createAuthority } from '../../cluster/certificates/authority.ts'
import { firstState, leafOf, prepared, replica, valid } from '../../cluster/certificates/test-certificates.ts'
import { startTestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import { bundlesOf, configurationPath, putConfiguration, trustOf } from './test-webhook-trust.ts'
import { keepWebhookTrust } from './webhook-trust.ts'

const timeout = 120_000

test('a configuration that changed since it was seen is not written by the places that its webhooks had', { timeout }, async () => {
  await using api = await startTestApi()
  const webhook = (name: string) => ({ name, clientConfig: { url: 'https://127.0.0.1' } as { url: string; caBundle?: string } })
  api.put(configurationPath, { metadata: { name: 'steno' }, webhooks: [webhook('pods.steno.dev')] })
  const patched: unknown[] = []
  api.faults.intercept = ({ method }) => {
    if (method !== 'PATCH') return null
    patched.push(structuredClone(api.get(configurationPath)?.['webhooks']))
    if (patched.length === 1)
      api.put(configurationPath, { metadata: { name: 'steno' }, webhooks: [webhook('other'), webhook('pods.steno.dev')] })
    return null
  }
  const source = await replica(api)
  const ending = new AbortController()
  const trust = trustOf(api, source, { leads: true, signal: ending.signal })
  await until(() => trust.has(source.trust() ?? ''))
  assert.deepEqual(patched[1], [webhook('other'), webhook('pods.steno.dev')], 'the first write changed nothing')
  ending.abort()
  source.stop()
})

// After `helm uninstall` the Lease is still held: the right to give it back went before the pod did.
test('a configuration without authorities is filled by whichever replica sees it, while nobody leads', { timeout }, async () => {
  await using api = await startTestApi()
  const ending = new AbortController()
  const replicas = [await replica(api), await replica(api)]
  const trusts = replicas.map((certificates) => trustOf(api, certificates, { leads: false, signal: ending.signal }))
  for (const trust of trusts) assert.match(trust.missing().join(), /steno is not there yet/)
  putConfiguration(api, [null, null])
  await until(() => trusts.every((trust) => trust.missing().length === 0))
  assert.deepEqual(bundlesOf(api), [replicas[0]?.trust(), replicas[0]?.trust()])
  ending.abort()
  for (const one of replicas) one.stop()
})

test('who does not lead leaves an authority that is there, and says which entry does not trust it', { timeout }, async () => {
  await using api = await startTestApi()
  const ending = new AbortController()
  const source = await replica(api)
  const foreign = (await createAuthority(valid())).cert
  putConfiguration(api, [null, foreign])
  const trust = trustOf(api, source, { leads: false, signal: ending.signal })
  await until(() => bundlesOf(api)[0] === source.trust())
  await until(() => /does not trust .*, in pods\.steno\.dev$/.test(trust.missing().join()))
  assert.equal(bundlesOf(api)[1], foreign)
  const leader = trustOf(api, source, { leads: true, signal: ending.signal })
  await until(() => trust.missing().length === 0 && leader.missing().length === 0)
  assert.deepEqual(bundlesOf(api), [source.trust(), source.trust()])
  ending.abort()
  source.stop()
})

test(
  'a bundle that is not steno’s to write is left, and whose it is stands in what is missing until somebody has written it',
  { timeout },
  async () => {
    await using api = await startTestApi()
    const ending = new AbortController()
    const source = await replica(api)
    const foreign = (await createAuthority(valid())).cert
    putConfiguration(api, [null, foreign])
    const trust = trustOf(api, source, { leads: true, writes: false, signal: ending.signal })
    await until(() => /in brought\.steno\.dev and pods\.steno\.dev; its caBundle is cert-manager's/.test(trust.missing().join()))
    trust.refresh()
    putConfiguration(api, [source.trust(), foreign])
    await until(() => /in pods\.steno\.dev; its caBundle/.test(trust.missing().join()))
    putConfiguration(api, [source.trust(), source.trust()])
    await until(() => trust.missing().length === 0)
    assert.ok(!api.requests.some((request) => request.startsWith('PATCH')), 'it wrote all the same')
    ending.abort()
    source.stop()
  },
)

test('a replica that comes to lead writes what it only saw before', { timeout }, async () => {
  await using api = await startTestApi()
  const ending = new AbortController()
  const source = await replica(api)
  putConfiguration(api, [(await createAuthority(valid())).cert])
  let leads = false
  const { log } = testLog()
  const trust = keepWebhookTrust({
    ...{ cluster: api.client, configuration: 'steno', certificates: source, writes: true, leads: () => leads, log, signal: ending.signal },
  })
  await until(() => /does not trust/.test(trust.missing().join()))
  leads = true
  trust.refresh()
  await until(() => trust.missing().length === 0)
  ending.abort()
  source.stop()
})

test('an API server that knows but an authority of before can call a replica all the same, and that is no fault', { timeout }, async () => {
  await using api = await startTestApi()
  const first = await firstState()
  let state = activated(await prepared(first), 0)
  const ending = new AbortController()
  const certificates = async (of: AuthorityState) => {
    const leaf = await leafOf(of)
    return { current: () => leaf, trust: () => trusted(of), onTrustChange: () => () => undefined }
  }
  putConfiguration(api, [first.active.cert])
  const options = {
    cluster: api.client,
    configuration: 'steno',
    writes: true,
    leads: () => false,
    log: testLog().log,
    signal: ending.signal,
  }
  const successor = keepWebhookTrust({ ...options, certificates: await certificates(state) })
  state = activated(await prepared(state), 0)
  const afterThat = keepWebhookTrust({ ...options, certificates: await certificates(state) })
  const stranger = keepWebhookTrust({ ...options, certificates: await certificates(await firstState()) })
  await until(() => [successor, afterThat, stranger].every((trust) => !trust.missing().join().includes('is not there')))
  assert.deepEqual([successor.missing(), afterThat.missing()], [[], []])
  assert.match(stranger.missing().join(), /does not trust/)
  ending.abort()
})
