/** Goal: a certificate fits a host exactly when libpq says so. Method: libpq's rules as a table, and certificates issued for it. */
import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import type { webcrypto } from 'node:crypto'
import { test } from 'node:test'
import 'reflect-metadata' // @peculiar/x509 resolves its parts through it.
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509'
import { certificateHash } from '../../postgres/authentication/channel-binding.ts'
import { alternativeNames, certificateFits, nameMatches } from './host-name.ts'

type Name = { readonly type: 'dns' | 'ip' | 'email'; readonly value: string }
async function issue(
  commonName: string,
  names: Name[],
  algorithm: webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | webcrypto.Algorithm = { name: 'ECDSA', namedCurve: 'P-256' },
  hash = 'SHA-256',
): Promise<X509Certificate> {
  const keys = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: commonName === '' ? 'O=nobody' : `CN=${commonName}`,
    keys,
    signingAlgorithm: { ...algorithm, hash },
    extensions: names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)],
  })
  return new X509Certificate(Buffer.from(certificate.rawData))
}

test('a wildcard stands for one whole left-most label', () => {
  const yes: [string, string][] = [
    ['db.test', 'DB.TEST'],
    ['*.test', 'db.test'],
    ['*.a.test', 'x.a.test'],
    ['*.TEST', 'db.test'],
  ]
  const no: [string, string][] = [
    ['*.test', 'a.b.test'],
    ['*.test', 'test'],
    ['*.test', '.test.x'],
    ['*', 'db'],
    ['*.', 'db.'],
    ['d*.test', 'db.test'],
    ['a.*.test', 'a.b.test'],
    ['db.test', 'db.test.evil'],
    ['', ''],
  ]
  for (const [pattern, host] of yes) assert.equal(nameMatches(pattern, host), true, `${pattern} ${host}`)
  for (const [pattern, host] of no) assert.equal(nameMatches(pattern, host), false, `${pattern} ${host}`)
})

test('names and addresses count in the order that libpq has', async () => {
  const cases: [string, string, Name[], boolean][] = [
    ['db.test', 'db.test', [], true],
    ['db.test', 'other', [{ type: 'dns', value: 'db.test' }], true],
    ['other', 'other', [{ type: 'dns', value: 'db.test' }], false], // A name of its kind rules the common name out.
    ['other', 'other', [{ type: 'ip', value: '10.0.0.1' }], true], // An address does not.
    ['10.0.0.1', 'x', [{ type: 'ip', value: '10.0.0.1' }], true],
    ['10.0.0.2', '10.0.0.2', [{ type: 'ip', value: '10.0.0.1' }], false],
    ['10.0.0.2', '10.0.0.2', [{ type: 'dns', value: 'db.test' }], true],
    ['10.0.0.3', 'x', [{ type: 'dns', value: '10.0.0.3' }], true],
    ['::1', 'x', [{ type: 'ip', value: '0:0:0:0:0:0:0:1' }], true],
    ['::2', 'x', [{ type: 'ip', value: '::1' }], false],
    ['db.test', '', [{ type: 'email', value: 'a@db.test' }], false],
    ['db.test', 'x', [{ type: 'dns', value: 'evil, DNS:db.test' }], false], // One strange name is not two.
  ]
  for (const [host, commonName, names, expected] of cases)
    assert.equal(certificateFits(await issue(commonName, names), host), expected, `${host} ${commonName} ${JSON.stringify(names)}`)
})

test('strange texts give no names', () => {
  assert.deepEqual(alternativeNames(undefined), [])
  assert.deepEqual(alternativeNames('DNS:a, IP Address:1.2.3.4'), [
    { kind: 'DNS', value: 'a' },
    { kind: 'IP Address', value: '1.2.3.4' },
  ])
  assert.deepEqual(alternativeNames('DNS:"a, DNS:b"'), [{ kind: 'DNS', value: 'a, DNS:b' }])
  assert.deepEqual(alternativeNames('DNS:"a'), [])
})

test('the hash for channel binding follows the signature of the certificate', async () => {
  const rsa = { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' }
  const pss = { name: 'RSA-PSS', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-384', saltLength: 48 }
  const cases: [X509Certificate, string | null][] = [
    [await issue('a', []), 'sha256'],
    [await issue('a', [], { name: 'ECDSA', namedCurve: 'P-384' }, 'SHA-384'), 'sha384'],
    [await issue('a', [], { ...rsa, hash: 'SHA-512' }, 'SHA-512'), 'sha512'],
    [await issue('a', [], { ...rsa, hash: 'SHA-1' }, 'SHA-1'), 'sha256'],
    [await issue('a', [], pss, 'SHA-384'), 'sha384'],
    [await issue('a', [], { name: 'Ed25519' }), null],
  ]
  for (const [certificate, hash] of cases) {
    assert.deepEqual(certificateHash(certificate.raw), hash === null ? null : createHash(hash).update(certificate.raw).digest())
    for (let cut = 0; cut < Math.min(certificate.raw.length, 200); cut++) certificateHash(certificate.raw.subarray(0, cut))
  }
  assert.equal(certificateHash(Buffer.from('3084ffffffff3084ffffffff', 'hex')), null)
})
