// Goal: no sidecar is given an authority that an API server may not know yet, and none is left without one. Method: a double of the API server, and a
// clock in the test's hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import { settleMilliseconds, watchOfferedAuthorities } from './offered-authorities.ts'

const path = '/apis/steno.dev/v1alpha1/admissionparameters/steno'
const certificate = (name: string): string => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`
const [first, second, third] = ['first', 'second', 'third'].map(certificate) as [string, string, string]

test('an authority is given to pods once the admission policies have known it for a while', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  const clock = { now: 1_000 }
  const put = (controlCas?: readonly string[]): void => api.put(path, { metadata: { name: 'steno' }, spec: { controlCas } })
  const offered = watchOfferedAuthorities({ cluster: api.client, name: 'steno', log: testLog().log, now: () => clock.now })
  try {
    assert.equal(offered.of(first + second), first + second, 'before anything is read')
    put()
    await until(() => api.watchers === 1)
    assert.equal(offered.of(first), first, 'none is compared')
    put([first])
    // It is not there for a while yet, and there is no other.
    await until(() => offered.of(second + first) === first)
    put([second, first])
    await until(() => offered.of(second + first) === second + first)
    clock.now += settleMilliseconds
    put([third, second, first])
    await until(() => offered.of(third + certificate('of nobody')) === third)
    assert.equal(offered.of(third + second + first), second + first)
    clock.now += settleMilliseconds - 1
    assert.equal(offered.of(third + second + first), second + first)
    clock.now += 1
    assert.equal(offered.of(third + second + first), third + second + first)
  } finally {
    offered.stop()
  }
})

test('what was known before this replica started has been for a while', { timeout: 120_000 }, async () => {
  await using api = await startTestApi()
  api.put(path, { metadata: { name: 'steno' }, spec: { controlCas: [first] } })
  const offered = watchOfferedAuthorities({ cluster: api.client, name: 'steno', log: testLog().log, now: () => 0 })
  try {
    await until(() => offered.of(second + first) === first)
    assert.equal(offered.of(second), second, 'a pod must have one, and the admission policies say what they think of it')
  } finally {
    offered.stop()
  }
})
