// Goal: a certificate that nobody vouches for is told with what the operator can do, not with what only a programmer could. Method: a
// handshake with a server of a private authority.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import tls from 'node:tls'
import { createAuthority, issueLeaf } from '../../tools/certificates.ts'
import { TlsFailed, UpstreamUnreachable } from './errors.ts'

test('a database of a private authority is told with the field that names the authority', async (t) => {
  const leaf = await issueLeaf(await createAuthority('private'), { kind: 'server', commonName: 'database', names: ['127.0.0.1'] })
  const server = tls.createServer({ key: leaf.keyPem, cert: leaf.certificatePem }).listen(0, '127.0.0.1')
  server.on('tlsClientError', () => undefined)
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = tls.connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  const [cause] = (await once(socket, 'error').catch((error: unknown) => [error])) as [Error]
  const failed = new TlsFailed(cause)
  assert.match(failed.message, /^TLS failed: .*certificate/)
  assert.doesNotMatch(failed.message, /Node\.js/)
  const attempt = { host: 'db', port: 5432, reason: failed.message, remedy: failed.remedyOfReason }
  assert.match(new UpstreamUnreachable([attempt], failed).fields.hint ?? '', /databases\[\]\.tls\.ca of the SessionPolicy/)
})

test('another failure of TLS has no such advice', () => {
  assert.equal(new TlsFailed(new Error('wrong version number')).remedyOfReason, null)
})
