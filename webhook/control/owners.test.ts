// Goal: a pod may bring few recorders, and the same one as often as a store refuses it. Method: owners over a store in memory that is full for a while.
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { createLog } from '../../base/log.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { createAttestationChain } from './attestation-chain.ts'
import { createOwners } from './owners.ts'

const pod = { podUid: 'uid-a', podName: 'a', podNamespace: 'shop', serviceAccount: 'default', nodeName: null }

test('a recorder that a full store refused many times is bound once there is room', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  let isFull = true
  const objects = new Map<string, Buffer>()
  const kept = (key: string): Buffer | null => objects.get(key) ?? null
  const store = {
    url: 'memory:',
    get: (key: string) => Promise.resolve(kept(key)),
    head: (key: string) => Promise.resolve(objects.has(key) ? { key, bytes: kept(key)!.length } : null),
    putIfAbsent(key: string, bytes: Buffer) {
      if (isFull) return Promise.reject(new StoreUnavailable('it is full', 'make room'))
      objects.set(key, bytes)
      return Promise.resolve('stored' as const)
    },
  } as unknown as Store
  const key = { publicKey, sign: (bytes: Buffer) => sign(null, bytes, privateKey) }
  const chain = createAttestationChain({ store, key, log: createLog({ level: 'silent' }) })
  const owners = createOwners({
    ...{ store, storeName: 'default', key, chain },
    describePod: () => Promise.resolve({ kind: 'fit', owner: null, image: null, nodeName: null, store: 'default' }),
  })
  const recorder = '0'.repeat(32)
  for (let attempt = 1; attempt <= 40; attempt++)
    await assert.rejects(owners.bind(recorder, pod), { code: 'STORE_UNAVAILABLE' }, `attempt ${attempt}`)
  isFull = false
  await owners.bind(recorder, pod)
  const others = Array.from({ length: 20 }, (_, at) => String(at + 1).padStart(32, '0'))
  await assert.rejects(
    async () => {
      for (const other of others) await owners.bind(other, pod)
    },
    { code: 'TOO_MANY_UPLOADS' },
  )
})
