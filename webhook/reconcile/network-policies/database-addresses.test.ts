import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testLog, until } from '../../../cluster/test-support.ts'
import { createDatabaseAddresses } from './database-addresses.ts'

// Goal: what is closed follows the name and never opens for want of an answer. Method: a name whose addresses change, fail and are many.
test('addresses follow the name, stay when it is not found, and go an hour after they were seen', { timeout: 120_000 }, async () => {
  let answer: () => Promise<string[]> = async () => Promise.resolve(['52.1.2.3'])
  let [time, asked, changes] = [0, 0, 0]
  const addresses = createDatabaseAddresses({
    lookUp: async () => {
      asked++
      return answer()
    },
    onChange: () => changes++,
    log: testLog().log,
    intervalMilliseconds: 1,
    now: () => time,
  })
  const get = () => addresses.get('db.example.com')
  const rounds = async (): Promise<void> => {
    const from = asked
    await until(() => asked > from + 2 || get() === null)
  }
  assert.equal(get(), null)
  await until(() => get() !== null)
  assert.deepEqual([get(), changes], [['52.1.2.3'], 1])
  answer = async () => Promise.resolve(['52.1.2.4'])
  await until(() => get()?.length === 2)
  answer = async () => Promise.reject(new Error('no answer'))
  await rounds()
  assert.deepEqual(get(), ['52.1.2.3', '52.1.2.4'])
  answer = async () => Promise.resolve(['52.1.2.4'])
  time = 60 * 60_000 + 1
  get()
  await until(() => get()?.length === 1)
  assert.deepEqual(get(), ['52.1.2.4'])
  answer = async () => Promise.resolve(Array.from({ length: 500 }, (_, index) => `52.2.${index >> 8}.${index & 255}`))
  await until(() => (get()?.length ?? 0) > 1)
  assert.equal(get()?.length, 64)
  await addresses.stop()
})

test('an address is itself, and a pattern has none', async () => {
  const lookUp = async (): Promise<string[]> => Promise.reject(new Error('nobody asks'))
  const addresses = createDatabaseAddresses({ lookUp, onChange: () => undefined, log: testLog().log })
  assert.deepEqual([addresses.get('10.0.0.1'), addresses.get('fd00::1'), addresses.get('*.example.com')], [['10.0.0.1'], ['fd00::1'], []])
  await addresses.stop()
})
