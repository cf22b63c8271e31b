// Goal: no two replicas disagree on the authority, and what serves is made again in time whatever became of the Secret. Method: replicas on a
// double of the API server.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestApi } from '../test-api.ts'
import { until } from '../test-support.ts'
import { certificatesIn } from './authority.ts'
import { hour, nodeSays, opensslSays, replica } from './test-certificates.ts'

const timeout = 120_000
const secretPath = '/api/v1/namespaces/steno-system/secrets/steno-ca'

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
