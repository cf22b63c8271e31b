/**
 * Work that waits, keyed by object: a key that is added many times before its turn is worked on once, and never twice at a time.
 *
 * Holds one entry a key, so its size is bounded by the number of objects. Work that fails comes again later, each time after a longer
 * wait. What the keys mean is the caller's.
 */
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { createBackoff, type Backoff } from './backoff.ts'

export type WorkQueue = {
  /** Due at once, or after `milliseconds` when it does not wait for less already. */
  add(key: string, milliseconds?: number): void
  /** Whether it waits, for its turn or its time, or is being worked on. */
  has(key: string): boolean
  readonly waiting: number
  /** Rounds of work since the start, and those of them that failed. */
  readonly counts: { done: number; failed: number }
  /** Takes up nothing more; fulfilled when what is being worked on has ended. */
  stop(): Promise<void>
}

export type WorkQueueOptions = {
  readonly work: (key: string) => Promise<void>
  readonly concurrency: number
  readonly log: Log
  readonly retryMillisecondsFirst?: number
  readonly retryMillisecondsMost?: number
}

export function createWorkQueue({
  work,
  concurrency,
  log,
  retryMillisecondsFirst = 200,
  retryMillisecondsMost = 60_000,
}: WorkQueueOptions): WorkQueue {
  /** Due now, in order. */
  const due = new Set<string>()
  /** Due later. */
  const timers = new Map<string, { timer: NodeJS.Timeout; at: number }>()
  const working = new Map<string, Promise<void>>()
  /** Added while it was worked on: its work may have begun before what was added. */
  const again = new Set<string>()
  const backoffs = new Map<string, Backoff>()
  const counts = { done: 0, failed: 0 }
  let isStopped = false

  function add(key: string, milliseconds = 0): void {
    if (isStopped) return
    if (milliseconds > 0) return later(key, milliseconds)
    cancelTimer(key)
    if (working.has(key)) again.add(key)
    else due.add(key)
    // Whoever adds a key goes on first: its work sees all that is done in the same turn, and is one work for it.
    queueMicrotask(takeUp)
  }

  function later(key: string, milliseconds: number): void {
    if (due.has(key)) return
    const at = performance.now() + milliseconds
    const before = timers.get(key)
    if (before !== undefined && before.at <= at) return
    cancelTimer(key)
    timers.set(key, { at, timer: setTimeout(() => add(key), milliseconds).unref() })
  }

  function cancelTimer(key: string): void {
    clearTimeout(timers.get(key)?.timer)
    timers.delete(key)
  }

  function takeUp(): void {
    for (const key of due) {
      if (isStopped || working.size >= concurrency) return
      due.delete(key)
      working.set(key, run(key))
    }
  }

  async function run(key: string): Promise<void> {
    try {
      await work(key)
      backoffs.delete(key)
    } catch (error) {
      counts.failed++
      const backoff =
        backoffs.get(key) ?? createBackoff({ firstMilliseconds: retryMillisecondsFirst, mostMilliseconds: retryMillisecondsMost })
      backoffs.set(key, backoff)
      const milliseconds = Math.ceil(backoff.next())
      log.warn({ key, error: messageOf(error), again: milliseconds }, 'reconcile work failed; trying again')
      later(key, milliseconds)
    }
    counts.done++
    working.delete(key)
    if (again.delete(key)) add(key)
    takeUp()
  }

  return {
    add,
    has: (key) => due.has(key) || timers.has(key) || working.has(key),
    get waiting() {
      return due.size + timers.size
    },
    counts,
    async stop() {
      isStopped = true
      for (const { timer } of timers.values()) clearTimeout(timer)
      timers.clear()
      due.clear()
      await Promise.all(working.values())
    },
  }
}
