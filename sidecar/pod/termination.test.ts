// Goal: a sidecar never believes that it has less time than it has, whoever calls /ship. Method: the kubelet's own rule as the oracle, over
// random times, with callers that are not the kubelet; a clock in the test's hand.
import assert from 'node:assert/strict'
import type { NetworkInterfaceInfo } from 'node:os'
import { test } from 'node:test'
import fc from 'fast-check'
import { createTermination, isOwnAddress } from './termination.ts'

const reserveMillisecondsMax = 500

function world(graceSeconds: number) {
  const clock = { now: 0 }
  return { clock, termination: createTermination({ graceMilliseconds: graceSeconds * 1_000, now: () => clock.now }) }
}

test('what is left is what the kubelet leaves, less a reserve', () => {
  fc.assert(
    fc.property(fc.integer({ min: 15, max: 600 }), fc.nat(600_000), fc.nat(10_000_000), (graceSeconds, used, before) => {
      fc.pre(used <= graceSeconds * 1_000)
      const { clock, termination } = world(graceSeconds)
      clock.now = before
      termination.begins()
      clock.now += used
      const left = Math.max(2_000, graceSeconds * 1_000 - used)
      const { withinMilliseconds, usedMilliseconds } = termination.left()
      assert.equal(usedMilliseconds, used)
      assert.ok(withinMilliseconds < left && withinMilliseconds >= left - reserveMillisecondsMax)
    }),
  )
})

test('nobody outside can have it end sooner: the latest call counts, and an old one is none', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100_000)), fc.nat(30_000), (calls, used) => {
      const { clock, termination } = world(30)
      for (const pause of calls) {
        clock.now += pause
        termination.begins()
      }
      clock.now += 40_000
      assert.equal(termination.left().usedMilliseconds, null)
      assert.equal(termination.left().withinMilliseconds, 29_500)
      termination.begins()
      clock.now += used
      assert.equal(termination.left().usedMilliseconds, used)
    }),
  )
})

test('a pod whose containers end by themselves has its whole grace period', () => {
  assert.deepEqual(world(15).termination.left(), { withinMilliseconds: 14_500, usedMilliseconds: null })
})

test('the pod’s own connections are told from the node’s', () => {
  const own = (address: string, family: 'IPv4' | 'IPv6'): NetworkInterfaceInfo => ({
    address,
    family,
    netmask: '',
    mac: '',
    internal: false,
    cidr: null,
    scopeid: 0,
  })
  const interfaces = { lo: [own('127.0.0.1', 'IPv4')], eth0: [own('10.1.2.3', 'IPv4'), own('fd00::3', 'IPv6'), own('fe80::3', 'IPv6')] }
  for (const address of [
    '127.0.0.1',
    '127.0.0.6',
    '::1',
    '::ffff:127.0.0.1',
    '10.1.2.3',
    '::FFFF:10.1.2.3',
    'fd00::3',
    'fe80::3%eth0',
    undefined,
  ])
    assert.equal(isOwnAddress(address, interfaces), true, address)
  for (const address of ['10.1.2.1', '::ffff:10.1.2.30', 'fd00::1', 'fe80::1%eth0'])
    assert.equal(isOwnAddress(address, interfaces), false, address)
})
