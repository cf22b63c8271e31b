/**
 * For tests that promise how long something takes: such a promise holds on a machine that is busy with much else, too, and the test must.
 *
 * Others make a wait longer and never shorter, so the quickest of several runs counts; what is computed is measured by the processor time that
 * it used. A machine that is slower by itself is slower here too: limits leave room for one that is several times slower.
 */
import assert from 'node:assert/strict'

const runsMax = 10

/** Fails unless one of ten runs stays within `millisecondsMax`. A run gives what it took in milliseconds, or else all of it counts. */
export async function assertOnceWithin(millisecondsMax: number, run: () => Promise<number | void>): Promise<void> {
  const taken: number[] = []
  while (taken.length < runsMax) {
    const begun = performance.now()
    taken.push((await run()) ?? performance.now() - begun)
    if (taken.at(-1)! < millisecondsMax) return
  }
  assert.fail(`it took ${taken.map((milliseconds) => milliseconds.toFixed(0)).join(', ')} ms, and never less than ${millisecondsMax}`)
}

/** Fails when `compute` uses the processor for longer. Node's other threads, as those of the garbage collector, do not count. */
export function assertComputedWithin(millisecondsMax: number, compute: () => void, what?: string): void {
  const before = process.threadCpuUsage()
  compute()
  const { user, system } = process.threadCpuUsage(before)
  const milliseconds = (user + system) / 1_000
  assert.ok(milliseconds < millisecondsMax, `${milliseconds} ms of a processor${what === undefined ? '' : `: ${what}`}`)
}
