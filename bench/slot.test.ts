import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'node:test'
import { assertOnceWithin } from '../base/test-durations.ts'
import { readCpu, readMemory } from './proc.ts'
import type { Load } from './loads.ts'
import type { Running } from './contestants.ts'
import { measureSlot, sampleMemory, waitUntilQuiet } from './slot.ts'

/** A Node process that runs `script`; `step` sends it a line and waits for one. */
async function startNode(script: string): Promise<{ pid: number; step(): Promise<void>; end(): Promise<void> }> {
  const child = spawn(process.execPath, ['-e', `console.log(1);${script}`], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  assert.ok(child.pid !== undefined)
  return {
    pid: child.pid,
    async step() {
      child.stdin.write('go')
      await once(child.stdout, 'data')
    },
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

/** Uses this much CPU time, however long that takes on a machine that is busy with other tests. */
const burn = (milliseconds: number): string =>
  `{ const c = process.cpuUsage(); let u; do u = process.cpuUsage(c); while (u.user + u.system < ${milliseconds * 1000}) }`

test('a process that ends while it is sampled fails its own measurement and nothing else', async () => {
  const child = await startNode('setInterval(() => {}, 1000)')
  const sampler = sampleMemory(child.pid)
  await child.end()
  await sleep(250)
  sampler.stop()
  assert.throws(() => sampler.peak(), /ended while it was measured/)
})

test('the peak stays the peak when memory is given back', async () => {
  const child = await startNode(
    `require('v8').setFlagsFromString('--expose-gc')
     const gc = require('vm').runInNewContext('gc')
     let held = null
     process.stdin.on('data', () => {
       if (held === null) held = Buffer.alloc(80e6, 1)
       else { held = null; gc() }
       console.log('done')
     })`,
  )
  try {
    await child.step()
    const sampler = sampleMemory(child.pid)
    await child.step()
    await sleep(250)
    sampler.stop()
    assert.ok(readMemory(child.pid).anonymousBytes < 80e6)
    assert.ok(sampler.peak().anonymousBytesPeak > 80e6)
  } finally {
    await child.end()
  }
})

test('a process that keeps busy is waited for, and one that rests is not', async () => {
  const [busy, resting] = [await startNode(`${burn(700)} process.stdin.resume()`), await startNode('process.stdin.resume()')]
  try {
    const { cpu, drained } = await waitUntilQuiet(busy.pid, readCpu(busy.pid), 120_000)
    assert.ok(drained && cpu.all > 0.65, `${cpu.all} s were used when the wait ended`)
    await assertOnceWithin(5_000, async () => {
      await waitUntilQuiet(resting.pid, readCpu(resting.pid), 20_000)
    })
  } finally {
    await Promise.all([busy.end(), resting.end()])
  }
})

test('one that never rests is not waited for longer than allowed, and that is told', async () => {
  const child = await startNode('for (;;);')
  try {
    const { drained } = await waitUntilQuiet(child.pid, readCpu(child.pid), 500)
    assert.equal(drained, false)
  } finally {
    await child.end()
  }
})

// Goal: CPU per unit is neither lost nor shared wrongly. Method: a "proxy" that uses 400 ms until the load ends and 400 ms after it.
test('CPU during the load and after it are told apart and divided by what was done', async () => {
  const child = await startNode(`process.stdin.on('data', () => { ${burn(400)} console.log(2); ${burn(400)} })`)
  const running = { target: {}, proxy: { pid: child.pid } } as unknown as Running
  const load = {
    run: async () => {
      await child.step()
      return { perSecond: 100, units: 1000, latencyMilliseconds: null }
    },
  } as unknown as Load
  try {
    // Where the two meet depends on how soon this process is woken, so once is enough; what they are in all does not.
    let isApart = false
    for (let rounds = 0; rounds < 10 && !isApart; rounds++) {
      const { proxy } = await measureSlot(load, running, {} as never, { round: 1, drainMillisecondsMax: 60_000 })
      assert.ok(proxy !== null && proxy.drained)
      const { cpuMicroseconds: during, afterMicroseconds: after } = proxy
      assert.ok(during > 370, `during: ${during}, after: ${after}`)
      assert.ok(Math.abs(during + after - 800) < 60, `during: ${during}, after: ${after}`)
      // The kernel counts process and thread apart, in ticks of 10 ms, and the two files are read one behind the other.
      const threeTicks = 30
      assert.ok(proxy.mainThreadMicroseconds <= during + threeTicks, `main thread: ${proxy.mainThreadMicroseconds}, during: ${during}`)
      isApart = after > 50
    }
    assert.ok(isApart, 'what is used after the load never counts as such')
  } finally {
    await child.end()
  }
})
