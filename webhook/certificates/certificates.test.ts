// Goal: no client ever meets a certificate that it cannot verify, and no two replicas disagree. Method: real TLS by Node and by openssl
// against each certificate of several rotations, with every bundle that a client may still have; replicas on a double of the API server.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { startTestApi, type TestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import { readAuthority } from '../../cluster/certificates/authority-secret.ts'
import {
  activated,
  nextStep,
  retiredMax,
  secretDataOf,
  stateOfSecretData,
  trusted,
  type AuthorityState,
} from '../../cluster/certificates/authority-state.ts'
import { certificatesIn, createAuthority, crossCertify, endOf, issueLeaf } from '../../cluster/certificates/authority.ts'
import type { CertificateSource, Leaf } from '../../cluster/certificates/certificates.ts'
import { startGivenCertificates } from '../../cluster/certificates/given-certificates.ts'
import { startOwnCertificates } from '../../cluster/certificates/own-certificates.ts'
import { rotateAuthority } from './rotate-authority.ts'
import { keepWebhookTrust } from './webhook-trust.ts'

const timeout = 30_000
const hour = 3_600_000
const names = ['steno-webhook.steno-system.svc', '127.0.0.1']
const valid = (milliseconds = hour) => ({ notBefore: new Date(Date.now() - hour), notAfter: new Date(Date.now() + milliseconds) })
const run = promisify(execFile)

async function firstState(): Promise<AuthorityState> {
  return { active: await createAuthority(valid()), activeSince: Date.now(), next: null, crossCerts: [], retired: [] }
}

async function prepared(state: AuthorityState): Promise<AuthorityState> {
  const next = await createAuthority(valid())
  return { ...state, next: { ...next, crossCert: await crossCertify(next.cert, state.active), distributedAt: 0 } }
}

async function leafOf({ active, crossCerts }: AuthorityState): Promise<Leaf> {
  const { cert, key } = await issueLeaf(active, names, valid())
  return { key, cert: [cert, ...crossCerts].join('') }
}

/** What a TLS client that trusts `ca` says of the server: `verified`, or why not. */
async function nodeSays(leaf: Leaf, ca: string): Promise<string> {
  const server = tls.createServer(leaf, (socket) => socket.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = tls.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', servername: names[0] ?? '', ca })
  try {
    await once(socket, 'secureConnect')
    return 'verified'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    socket.destroy()
    server.close()
  }
}

async function opensslSays(leaf: Leaf, ca: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'steno-certificates-'))
  try {
    const [cert = '', ...chain] = certificatesIn(leaf.cert)
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(path.join(folder, name), text)
      return path.join(folder, name)
    }
    const untrusted = chain.length === 0 ? [] : ['-untrusted', await file('chain.pem', chain.join(''))]
    const args = [
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-verify_hostname',
      names[0] ?? '',
      '-CAfile',
      await file('ca.pem', ca),
    ]
    await run('openssl', [...args, ...untrusted, await file('leaf.pem', cert)])
    return 'verified'
  } catch (error) {
    return (error as { stderr?: string }).stderr ?? String(error)
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('through rotations, clients with any bundle since the first verify what serves, by Node and by openssl', { timeout }, async () => {
  let state = await firstState()
  const bundles = [trusted(state), state.active.cert]
  for (let rotation = 0; rotation < 3; rotation++) {
    state = await prepared(state)
    bundles.push(trusted(state), state.next?.cert ?? '')
    for (const stage of ['prepared', 'activated']) {
      if (stage === 'activated') state = activated(state, Date.now())
      const leaf = await leafOf(state)
      for (const [at, bundle] of bundles.entries()) {
        // A client that was told of nothing but the next authority has to wait for it; steno tells of it beside the active one.
        const isNextAlone = stage === 'prepared' && at === bundles.length - 1
        const [byNode, byOpenssl] = [await nodeSays(leaf, bundle), await opensslSays(leaf, bundle)]
        if (isNextAlone) assert.notEqual(byNode, 'verified')
        else assert.deepEqual([byNode, byOpenssl], ['verified', 'verified'], `rotation ${rotation}, ${stage}, bundle ${at}`)
      }
    }
  }
})

test('a foreign authority of any name verifies nothing', { timeout }, async () => {
  const leaf = await leafOf(await firstState())
  const foreign = (await createAuthority(valid())).cert
  assert.notEqual(await nodeSays(leaf, foreign), 'verified')
  assert.notEqual(await opensslSays(leaf, foreign), 'verified')
})

test('a leaf ends no later than its authority', async () => {
  const authority = await createAuthority(valid(1_000))
  const { cert } = await issueLeaf(authority, names, valid(hour))
  assert.equal(endOf(cert), endOf(authority.cert))
})

test('names longer than a common name may be are served', { timeout }, async () => {
  const long = `steno-webhook.${'n'.repeat(60)}.svc`
  const authority = await createAuthority(valid())
  const { cert, key } = await issueLeaf(authority, [long], valid())
  assert.notEqual(await nodeSays({ cert, key }, authority.cert), 'verified', 'it is for another name than is asked')
  assert.ok(new (await import('node:crypto')).X509Certificate(cert).checkHost(long))
})

test('a successor signs only after clients were told of it, and after the overlap', async () => {
  const intervals = { rotateMilliseconds: 100, overlapMilliseconds: 10, validMilliseconds: hour }
  const state = { ...(await firstState()), activeSince: 0 }
  const step = (of: AuthorityState, now: number, isDistributed: boolean) => nextStep(of, { now, isDistributed }, intervals)
  assert.deepEqual(step(state, 99, false), { kind: 'wait', milliseconds: 1 })
  assert.deepEqual(step(state, 100, false), { kind: 'prepare' })
  const next = { ...(await prepared(state)), next: { ...(await prepared(state)).next!, distributedAt: null } }
  assert.equal(step(next, 1_000_000, false).kind, 'wait', 'nobody was told of it')
  assert.deepEqual(step(next, 110, true), { kind: 'note' })
  const told = { ...next, next: { ...next.next, distributedAt: 110 } }
  assert.deepEqual(step(told, 119, true), { kind: 'wait', milliseconds: 1 })
  assert.deepEqual(step(told, 120, true), { kind: 'activate' })
})

test('what a Secret holds is read back as it was, and never has the key of a retired authority', async () => {
  let state = await firstState()
  for (let rotation = 0; rotation < retiredMax + 3; rotation++) {
    const old = state.active.key
    state = activated(await prepared(state), 1_000 * rotation)
    assert.ok(!JSON.stringify(secretDataOf(state)).includes(old.split('\n')[2] ?? '?'))
  }
  assert.deepEqual([state.retired.length, state.crossCerts.length], [retiredMax, retiredMax])
  state = await prepared(state)
  assert.deepEqual(stateOfSecretData(secretDataOf(state)), state)
})

for (const [what, change] of [
  ['a key of another', (data: Record<string, string>, other: AuthorityState) => void (data['tls.key'] = other.active.key)],
  ['no certificate', (data: Record<string, string>) => void (data['tls.crt'] = 'nonsense')],
  ['no state', (data: Record<string, string>) => void delete data['state.json']],
  ['a later version', (data: Record<string, string>) => void (data['state.json'] = '{"version":2,"activeSince":"2026-01-01T00:00:00Z"}')],
] as const) {
  test(`a Secret with ${what} is refused, and no message shows a key`, async () => {
    const state = await firstState()
    const data = secretDataOf(state)
    change(data, await firstState())
    assert.throws(
      () => stateOfSecretData(data),
      (error: Error) => !error.message.includes(state.active.key.split('\n')[1] ?? '?') && error.message.length > 5,
    )
  })
}

const secretPath = '/api/v1/namespaces/steno-system/secrets/steno-ca'
const configurationPath = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/steno'
const intervals = { rotateMilliseconds: 30, overlapMilliseconds: 10, validMilliseconds: hour }
const leafIntervals = { validMilliseconds: hour, renewMilliseconds: hour }

function replica(api: TestApi, leaf = leafIntervals) {
  const { log } = testLog()
  return startOwnCertificates({
    cluster: api.client,
    namespace: 'steno-system',
    secret: 'steno-ca',
    names,
    authority: intervals,
    leaf,
    log,
  })
}

function trustOf(api: TestApi, certificates: CertificateSource, { leads, signal }: { leads: boolean; signal: AbortSignal }) {
  return keepWebhookTrust({ cluster: api.client, configuration: 'steno', certificates, leads: () => leads, log: testLog().log, signal })
}

/** As an installation makes it: with no bundle, unless one is given for an entry. */
function putConfiguration(api: TestApi, bundles: readonly (string | null)[]): void {
  const webhooks = bundles.map((bundle, at) => ({
    name: ['brought.steno.dev', 'pods.steno.dev'][at],
    clientConfig: { url: 'https://127.0.0.1', ...(bundle === null ? {} : { caBundle: Buffer.from(bundle).toString('base64') }) },
  }))
  api.put(configurationPath, { metadata: { name: 'steno' }, webhooks })
}
function bundlesOf(api: TestApi): string[] {
  const webhooks = (api.get(configurationPath)?.['webhooks'] ?? []) as { clientConfig: { caBundle?: string } }[]
  return webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle ?? '', 'base64').toString())
}

test('replicas that start at once agree on one authority', { timeout }, async () => {
  await using api = await startTestApi()
  const replicas = await Promise.all(Array.from({ length: 5 }, () => replica(api)))
  assert.equal(new Set(replicas.map((one) => one.trust())).size, 1)
  assert.equal(new Set(replicas.map((one) => one.current().key)).size, 5, 'each has a leaf of its own, in memory')
  for (const one of replicas) one.stop()
})

test('a leaf is made again in time, and those who serve are told', { timeout }, async () => {
  await using api = await startTestApi()
  const source = await replica(api, { validMilliseconds: hour, renewMilliseconds: 20 })
  const first = source.current().cert
  let told = 0
  source.onChange(() => told++)
  await until(() => told >= 2)
  assert.notEqual(source.current().cert, first)
  source.stop()
})

test('a Secret that stays damaged keeps no leaf from being made again', { timeout }, async () => {
  await using api = await startTestApi()
  const source = await replica(api, { validMilliseconds: hour, renewMilliseconds: 20 })
  const trust = source.trust()
  await until(() => api.watchers === 1)
  api.put(secretPath, { metadata: { name: 'steno-ca', namespace: 'steno-system' }, data: { 'tls.crt': 'bm9uc2Vuc2U=' } })
  await until(() => api.requests.filter((request) => request === `GET ${secretPath}`).length >= 2)
  let told = 0
  source.onChange(() => told++)
  await until(() => told >= 3)
  assert.equal(source.trust(), trust)
  source.stop()
})

test('a Secret that was deleted is made again, and every replica follows', { timeout }, async () => {
  await using api = await startTestApi()
  const [one, other] = [await replica(api), await replica(api)]
  const first = one.trust()
  await until(() => api.watchers === 2)
  api.remove(secretPath)
  await until(() => one.trust() !== first && one.trust() === other.trust())
  await until(() => [one, other].every((source) => certificatesIn(source.current().cert).length === 2))
  // As a pod that was admitted before, and as the API server while it still has the bundle of before.
  for (const source of [one, other]) assert.equal(await nodeSays(source.current(), first ?? ''), 'verified')
  assert.equal(await opensslSays(one.current(), first ?? ''), 'verified')
  one.stop()
  other.stop()
})

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

test('a replica that comes to lead writes what it only saw before', { timeout }, async () => {
  await using api = await startTestApi()
  const ending = new AbortController()
  const source = await replica(api)
  putConfiguration(api, [(await createAuthority(valid())).cert])
  let leads = false
  const { log } = testLog()
  const trust = keepWebhookTrust({
    ...{ cluster: api.client, configuration: 'steno', certificates: source, leads: () => leads, log, signal: ending.signal },
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
  const options = { cluster: api.client, configuration: 'steno', leads: () => false, log: testLog().log, signal: ending.signal }
  const successor = keepWebhookTrust({ ...options, certificates: await certificates(state) })
  state = activated(await prepared(state), 0)
  const afterThat = keepWebhookTrust({ ...options, certificates: await certificates(state) })
  const stranger = keepWebhookTrust({ ...options, certificates: await certificates(await firstState()) })
  await until(() => [successor, afterThat, stranger].every((trust) => !trust.missing().join().includes('is not there')))
  assert.deepEqual([successor.missing(), afterThat.missing()], [[], []])
  assert.match(stranger.missing().join(), /does not trust/)
  ending.abort()
})

test('a given certificate of another authority serves only after that one was told of', { timeout }, async () => {
  await using api = await startTestApi()
  const tlsPath = '/api/v1/namespaces/steno-system/secrets/tls'
  const issued = async (): Promise<{ ca: string; leaf: Leaf }> => {
    const authority = await createAuthority(valid())
    return { ca: authority.cert, leaf: await issueLeaf(authority, names, valid()) }
  }
  const put = ({ ca, leaf }: { ca: string; leaf: Leaf }): void => {
    const data = { 'tls.crt': leaf.cert, 'tls.key': leaf.key, 'ca.crt': ca }
    const encoded = Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
    api.put(tlsPath, { metadata: { name: 'tls', namespace: 'steno-system' }, data: Object.fromEntries(encoded) })
  }
  const [first, second] = [await issued(), await issued()]
  const { log, lines } = testLog()
  const ending = new AbortController()
  const starting = startGivenCertificates({
    ...{ cluster: api.client, namespace: 'steno-system', secret: 'tls', log, overlapMilliseconds: 50, signal: ending.signal },
  })
  await until(() => lines.some(({ msg }) => msg.includes('waited for')))
  put(first)
  const source = await starting
  assert.equal(source.current().cert, first.leaf.cert)
  const order: string[] = []
  source.onTrustChange(() => void order.push(source.trust()?.includes(second.ca) === true ? 'both' : 'one'))
  source.onChange(() => void order.push('leaf'))
  await until(() => api.watchers === 1)
  put(second)
  await until(() => source.current().cert === second.leaf.cert)
  assert.deepEqual(order.slice(0, 2), ['both', 'leaf'])
  assert.ok(source.trust()?.includes(first.ca), 'other replicas may still serve the one before')
  await until(() => source.trust() === second.ca)
  put({ ca: first.ca, leaf: { cert: first.leaf.cert, key: second.leaf.key } })
  await until(() => lines.some(({ msg }) => msg.includes('makes no sense')))
  assert.equal(source.current().cert, second.leaf.cert, 'what serves goes on')
  source.stop()
})

test('a given certificate that never comes is given up with the start', { timeout }, async () => {
  await using api = await startTestApi()
  const ending = new AbortController()
  const starting = startGivenCertificates({
    ...{
      cluster: api.client,
      namespace: 'steno-system',
      secret: 'tls',
      log: testLog().log,
      overlapMilliseconds: 50,
      signal: ending.signal,
    },
  })
  ending.abort()
  await assert.rejects(starting, { code: 'CERTIFICATE_UNUSABLE' })
})
