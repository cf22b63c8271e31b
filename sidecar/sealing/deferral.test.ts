// Goal: traffic goes first, and yet nothing waits for long. Method: a clock of the test's own, and traffic that stops or does not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDeferral } from './deferral.ts'

const megabyte = 1024 * 1024

function world() {
  let time = 1_000_000
  const deferral = createDeferral({ now: () => time })
  return {
    /** One look after 100 ms in which `written` bytes came in all and `read` were sealed in all. */
    after(written: number, read: number): boolean {
      time += 100
      return deferral.holds(written, read)
    },
  }
}

test('sealing waits while traffic flows and goes on as soon as it pauses', () => {
  const { after } = world()
  assert.equal(after(megabyte, 0), true)
  assert.equal(after(2 * megabyte, 0), true)
  assert.equal(after(2 * megabyte, 0), false, 'nothing came since')
})

test('sealing never waits for the little that an idle agent says', () => {
  const { after } = world()
  for (let look = 1; look <= 50; look++) assert.equal(after(look * 10_000, (look - 1) * 10_000), false)
})

test('under load without end sealing waits 8 seconds at most and then runs until it has caught up', () => {
  const { after } = world()
  let looks = 0
  while (after(++looks * megabyte, 0)) assert.ok(looks < 100)
  assert.equal(looks, 80)
  for (let more = 1; more < 20; more++) assert.equal(after((looks + more) * megabyte, (more * looks * megabyte) / 20), false, 'catching up')
  assert.equal(after(200 * megabyte, 200 * megabyte), false)
  assert.equal(after(201 * megabyte, 200 * megabyte), true, 'caught up: traffic goes first again')
})

test('what waited before sealing began to look counts', () => {
  let time = 1_000_000
  const deferral = createDeferral({ now: () => time, since: time - 7_000 })
  for (let looks = 1; looks < 10; looks++) {
    time += 100
    assert.equal(deferral.holds(looks * megabyte, 0), true)
  }
  time += 100
  assert.equal(deferral.holds(10 * megabyte, 0), false)
})

test('sealing does not wait once a quarter of a gigabyte does', () => {
  const { after } = world()
  assert.equal(after(255 * megabyte, 0), true)
  assert.equal(after(257 * megabyte, 0), false)
})
