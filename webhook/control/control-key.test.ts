// Goal: all controls and webhooks get one key, whoever comes first, and nothing but a key is taken for one.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import type { ClusterRequest } from '../../cluster/client.ts'
import { ClusterRefused } from '../../cluster/errors.ts'
import { controlKeySecret } from './control-key-secret.ts'
import { ControlKeyUnusable, loadOrCreateControlKey, type KeyPlace } from './control-key.ts'

/** An API server that has Secrets, and of two creations refuses the second. */
function secretsOf(secrets: Map<string, Record<string, string>>) {
  const refuse = (status: number, reason: string): Promise<never> =>
    Promise.reject(new ClusterRefused('', { status, reason, message: '', retryAfterMilliseconds: null }))
  return {
    request: <T>({ method, path, body }: ClusterRequest): Promise<T> => {
      if (method === 'GET') {
        const data = secrets.get(path.split('/').at(-1)!)
        return data === undefined ? refuse(404, 'NotFound') : Promise.resolve({ data } as T)
      }
      const { metadata, stringData } = body as { metadata: { name: string }; stringData: Record<string, string> }
      if (secrets.has(metadata.name)) return refuse(409, 'AlreadyExists')
      const encoded = Object.entries(stringData).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
      secrets.set(metadata.name, Object.fromEntries(encoded))
      return Promise.resolve({} as T)
    },
  }
}

test('of many first starts at once all get the same key, and so does a later one', async () => {
  const secrets = new Map<string, Record<string, string>>()
  const place = controlKeySecret(secretsOf(secrets), 'steno-system')
  const keys = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateControlKey(place)))
  keys.push(await loadOrCreateControlKey(place))
  assert.equal(new Set(keys.map(({ publicKeyPem }) => publicKeyPem)).size, 1)
  const stored = secrets.get('steno-control-key')!
  assert.equal(Buffer.from(stored['public.pem']!, 'base64').toString(), keys[0]!.publicKeyPem)
})

test('a Secret that holds no Ed25519 key is refused, never replaced', async () => {
  const rsa = String(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }))
  for (const privatePem of [undefined, '', 'x', rsa]) {
    const place: KeyPlace = {
      name: 'Secret steno-system/steno-control-key',
      read: () => Promise.resolve({ privatePem }),
      create: () => Promise.reject(new Error('replaced')),
    }
    await assert.rejects(
      loadOrCreateControlKey(place),
      (error) => error instanceof ControlKeyUnusable && !String(error).includes('PRIVATE'),
    )
  }
})
