/** Goal: a certificate that was revoked is refused when a revocation list is there. Method: an authority of our own, with and without an entry. */
import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import 'reflect-metadata' // @peculiar/x509 resolves its parts through it.
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator, X509CrlGenerator } from '@peculiar/x509'
import { parseConnectionString } from '../../postgres/connection-string.ts'
import { openTransport } from './connect.ts'
import { TlsFilesUnusable, UpstreamUnreachable } from './errors.ts'

test('a revoked certificate is refused, by file, by folder and by the default file', async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const generate = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const [authorityKeys, serverKeys] = [await generate(), await generate()]
  const authority = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=authority',
    keys: authorityKeys,
    signingAlgorithm: algorithm,
    serialNumber: '01',
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  })
  const server = await X509CertificateGenerator.create({
    subject: 'CN=db',
    issuer: 'CN=authority',
    publicKey: serverKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    signingAlgorithm: algorithm,
    serialNumber: '02',
  })
  const list = async (serials: string[], issuer = 'CN=authority'): Promise<string> => {
    const crl = await X509CrlGenerator.create({
      issuer,
      signingKey: authorityKeys.privateKey,
      signingAlgorithm: algorithm,
      thisUpdate: new Date(Date.now() - 1000),
      nextUpdate: new Date(Date.now() + 86_400_000),
      entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
    })
    return `-----BEGIN X509 CRL-----\n${Buffer.from(crl.rawData).toString('base64')}\n-----END X509 CRL-----\n`
  }

  const folder = await mkdtemp(join(tmpdir(), 'steno-revocation-'))
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', serverKeys.privateKey))
  const listener = tls.createServer({
    ALPNProtocols: ['postgresql'],
    cert: server.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${key.toString('base64')}\n-----END PRIVATE KEY-----\n`,
  })
  listener.on('tlsClientError', () => undefined).on('secureConnection', (socket) => socket.on('error', () => undefined))
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  try {
    await mkdir(join(folder, '.postgresql'))
    await mkdir(join(folder, 'lists'))
    await writeFile(join(folder, 'root.crt'), authority.toString('pem'))
    await writeFile(join(folder, 'good.crl'), await list(['7f']))
    await writeFile(join(folder, 'bad.crl'), (await list(['7f'], 'CN=elsewhere')) + (await list(['02'])))
    await writeFile(join(folder, 'lists', '0123abcd.r0'), await list(['02']))
    const open = async (more: string): Promise<void> => {
      const text = `hostaddr=127.0.0.1 port=${(listener.address() as AddressInfo).port} sslmode=verify-ca sslnegotiation=direct sslrootcert=${folder}/root.crt ${more}`
      const settings = parseConnectionString(text, { HOME: folder })
      const { socket } = await openTransport(settings, settings.hosts[0]!)
      socket.destroy()
    }
    await open('')
    await open(`sslcrl=${folder}/good.crl`)
    await assert.rejects(
      open(`sslcrl=${folder}/bad.crl`),
      (error) => error instanceof UpstreamUnreachable && /revoked/i.test(error.message),
    )
    await assert.rejects(open(`sslcrldir=${folder}/lists`), UpstreamUnreachable)
    await assert.rejects(open(`sslcrl=${folder}/none.crl`), TlsFilesUnusable)
    await writeFile(join(folder, '.postgresql', 'root.crl'), await list(['02']))
    await assert.rejects(open(''), UpstreamUnreachable)
  } finally {
    listener.close()
    await rm(folder, { recursive: true })
  }
})
