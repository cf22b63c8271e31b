/**
 * One load on one contestant, once: throughput, and what the proxy used for it by the kernel's account.
 *
 * CPU time is read before and after; memory is sampled meanwhile. A recorder goes on sealing when the load has ended: the slot waits until that
 * is done, so that it burdens nobody else's slot, and reports it apart from what was used during the load.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isRunnable, readCpu, readMemory, type CpuSeconds } from './proc.ts'
import type { Load, LoadContext } from './loads.ts'
import type { Running } from './contestants.ts'

const sampleMilliseconds = 100
/** Idle when this many samples in a row show no more than one tick of the kernel's clock. */
const quietSamples = 3
const quietSecondsMax = 0.0101

/** What one slot showed. CPU in microseconds per unit of the load; null where there is no proxy. */
export type Slot = {
  readonly round: number
  readonly perSecond: number
  readonly latencyMilliseconds: { readonly p50: number; readonly p99: number } | null
  readonly proxy: ProxyCost | null
}

export type ProxyCost = {
  /** All threads, while the load ran. */
  readonly cpuMicroseconds: number
  /** The thread that moves the bytes, while the load ran. */
  readonly mainThreadMicroseconds: number
  /** Sealing and whatever else follows after the load has ended, all threads. */
  readonly afterMicroseconds: number
  /** False when the proxy was still busy at the end of the wait: the figure above is then too small. */
  readonly drained: boolean
  readonly residentBytesPeak: number
  readonly anonymousBytesPeak: number
}

export async function measureSlot(
  load: Load,
  running: Running,
  context: LoadContext,
  options: {
    readonly round: number
    /** How long a recorder is waited for; 0 for who records nothing. */ readonly drainMillisecondsMax: number
  },
): Promise<Slot> {
  const pid = running.proxy?.pid
  if (pid === undefined) {
    const { perSecond, latencyMilliseconds } = await load.run(running.target, context)
    return { round: options.round, perSecond, latencyMilliseconds, proxy: null }
  }
  const before = readCpu(pid)
  const sampler = sampleMemory(pid)
  const result = await load.run(running.target, context).finally(() => sampler.stop())
  const after = readCpu(pid)
  const { cpu: rested, drained } =
    options.drainMillisecondsMax > 0 ? await waitUntilQuiet(pid, after, options.drainMillisecondsMax) : { cpu: after, drained: true }
  const perUnit = (seconds: number): number => (seconds * 1e6) / result.units
  return {
    round: options.round,
    perSecond: result.perSecond,
    latencyMilliseconds: result.latencyMilliseconds,
    proxy: {
      cpuMicroseconds: perUnit(after.all - before.all),
      mainThreadMicroseconds: perUnit(after.mainThread - before.mainThread),
      afterMicroseconds: perUnit(rested.all - after.all),
      drained,
      ...sampler.peak(),
    },
  }
}

/** Samples resident memory until stopped and keeps the peak of each figure. `peak` throws when the process ended before `stop`. */
export function sampleMemory(pid: number): {
  stop(): void
  peak(): { readonly residentBytesPeak: number; readonly anonymousBytesPeak: number }
} {
  let residentBytesPeak = 0
  let anonymousBytesPeak = 0
  let lost: { readonly error: unknown } | null = null
  const sample = (): void => {
    try {
      const { residentBytes, anonymousBytes } = readMemory(pid)
      residentBytesPeak = Math.max(residentBytesPeak, residentBytes)
      anonymousBytesPeak = Math.max(anonymousBytesPeak, anonymousBytes)
    } catch (error) {
      // Told when the peak is asked for: thrown from a timer it would end the whole run for one contestant's death.
      lost = { error }
      clearInterval(timer)
    }
  }
  const timer = setInterval(sample, sampleMilliseconds)
  sample()
  return {
    stop: () => clearInterval(timer),
    peak() {
      if (lost !== null) throw new Error(`process ${pid} ended while it was measured`, { cause: lost.error })
      return { residentBytesPeak, anonymousBytesPeak }
    },
  }
}

/** Waits until a process uses no more CPU; `drained` is false when it still did after `millisecondsMax`. */
export async function waitUntilQuiet(
  pid: number,
  from: CpuSeconds,
  millisecondsMax: number,
): Promise<{ cpu: CpuSeconds; drained: boolean }> {
  const giveUpAt = performance.now() + millisecondsMax
  let cpu = from
  let quiet = 0
  while (quiet < quietSamples) {
    if (performance.now() > giveUpAt) return { cpu, drained: false }
    await sleep(sampleMilliseconds)
    const next = readCpu(pid)
    quiet = next.all - cpu.all <= quietSecondsMax && !isRunnable(pid) ? quiet + 1 : 0
    cpu = next
  }
  return { cpu, drained: true }
}
