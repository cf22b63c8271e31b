// Goal: a certificate that somebody else issues serves only where clients already trust who signed it. Method: its Secret on a double of the
// API server comes late, changes, makes no sense, and never comes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestApi } from '../test-api.ts'
import { testLog, until } from '../test-support.ts'
import { createAuthority, issueLeaf } from './authority.ts'
import type { Leaf } from './certificates.ts'
import { startGivenCertificates } from './given-certificates.ts'
import { names, valid } from './test-certificates.ts'

const timeout = 120_000

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
