import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCancelRegistry } from './cancel-registry.ts'

const host = { host: 'db', port: 5432 } as never
const target = { host, processId: 17, key: Buffer.from('real') }

test('an agent is given a key of steno’s own, of the length its protocol has, that stands for the real one until it is released', () => {
  const registry = createCancelRegistry()
  for (const [protocol, bytes] of [
    ['3.0', 4],
    ['3.2', 32],
  ] as const) {
    const issued = registry.issue(target, protocol)
    assert.equal(issued.key.length, bytes)
    assert.notDeepEqual(issued.key, target.key)
    assert.equal(registry.find(17, issued.key), target)
    issued.release()
    assert.equal(registry.find(17, issued.key), null)
  }
})

test('a key that was never given, or was given with another process id, stands for nothing', () => {
  const registry = createCancelRegistry()
  const { key } = registry.issue(target, '3.0')
  assert.equal(registry.find(17, Buffer.from('real')), null)
  assert.equal(registry.find(18, key), null)
  assert.equal(registry.find(17, Buffer.alloc(0)), null)
})

test('sessions of one process id on several hosts keep keys of their own', () => {
  const registry = createCancelRegistry()
  const other = { ...target, key: Buffer.from('other') }
  const [one, two] = [registry.issue(target, '3.2'), registry.issue(other, '3.2')]
  one.release()
  assert.equal(registry.find(17, two.key), other)
})
