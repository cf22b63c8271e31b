/**
 * The connection thread's handle on the sealing thread, which lives only while there is something to seal: it takes 15 MB.
 *
 * The two share no state but three numbers, so a failure of the thread costs time and nothing else: the spool is on disk, and
 * the next thread takes over what the store has.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { Log } from '../../base/log.ts'
import type { Meter } from '../meter.ts'
import type { SpoolPosition } from '../spool/spool-position.ts'
import { createTraceReport } from '../statements/traces-report.ts'
import { createDeferredStart } from './deferred-start.ts'
import type { FromSealer, SealingStart, SealingWork, ToSealer } from './messages.ts'

const restartMilliseconds = 1_000
/** A step is a segment, which is compressed within some 50 ms. */
const endMillisecondsMax = 2_000
/** How often a thread that ended for want of work is woken to say in the ledger that the recorder lives. A minute less than is promised. */
const heartbeatWakeMilliseconds = 4 * 60_000
/** Young objects die fast here; a small nursery keeps the thread's memory small. */
const nurseryMegabytes = 8

export function createSealing({
  work,
  position,
  openSessions,
  log,
  meter,
  onStoredTo = () => undefined,
  onUnstorable = () => undefined,
}: {
  readonly work: Omit<SealingWork, 'start'>
  readonly position: SpoolPosition
  readonly openSessions: () => number
  readonly log: Log
  readonly meter: Meter
  /** Answers `store`, with a spool position. */
  readonly onStoredTo?: (position: number) => void
  /** Told before `onStoredTo` names a position behind records of this session that the store does not have; null: whose they are is not known. */
  readonly onUnstorable?: (session: number | null) => void
}) {
  const traced = createTraceReport({ log })
  let worker: Worker | null = null
  let next: SealingStart = { kind: 'first' }
  let isRecovered = false
  let stopping = false
  let stopped = false
  let hastenedUntil = 0
  let ended: () => void = () => undefined
  /** Those who wait for `shipped`. */
  const onShipped: (() => void)[] = []
  let isStoreAsked = false
  const deferredStart = createDeferredStart({ position, openSessions, start: (deferredSince) => wake({ deferredSince }) })
  const heartbeat = setInterval(() => {
    if (next.kind === 'woken') wake()
  }, heartbeatWakeMilliseconds).unref()
  const end = new Promise<void>((resolve) => {
    ended = resolve
  })

  function start(deferred: Pick<SealingWork, 'deferredSince'>): void {
    deferredStart.cancel()
    const started = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: { ...work, ...deferred, start: next, hastenedUntil } satisfies SealingWork,
      resourceLimits: { maxYoungGenerationSizeMb: nurseryMegabytes },
    })
    worker = started
    next = isRecovered ? { kind: 'failed' } : { kind: 'first' }
    started.on('message', (message: FromSealer) => {
      switch (message.kind) {
        case 'log':
          log[message.level](message.fields, message.text)
          break
        case 'stored':
          meter.segmentsStored(message.segments)
          break
        case 'store-failed':
          meter.storeFailed(message.code)
          break
        case 'set-aside':
          meter.sessionSetAside()
          break
        case 'recovered':
          isRecovered = true
          next = { kind: 'failed' }
          break
        case 'shipped':
          for (const tell of onShipped.splice(0)) tell()
          break
        case 'stored-to':
          isStoreAsked = false
          onStoredTo(message.position)
          break
        case 'unstorable':
          onUnstorable(message.session)
          break
        case 'traced':
          traced.add(message.outcome)
          break
        case 'idle':
          next = { kind: 'woken', position: position.releasedBytes, lastEntryTime: message.lastEntryTime }
          break
        case 'stopped':
          stopped = true
          traced.end()
          ended()
          break
        default:
          message satisfies never
      }
    })
    started.on('error', (error) => log.error(`the sealing thread failed and is started again: ${error.stack ?? error.message}`))
    started.on('exit', () => {
      worker = null
      if (stopped) return
      if (next.kind !== 'woken') setTimeout(() => wake(), restartMilliseconds)
      else if (stopping) wake()
      // A session may have opened while the thread was on its way out.
      else if (openSessions() > 0 || position.writtenBytes > position.releasedBytes) follow()
    })
    if (stopping) started.postMessage({ kind: 'stop' } satisfies ToSealer)
    if (isStoreAsked) started.postMessage({ kind: 'store' } satisfies ToSealer)
    if (!stopping && onShipped.length > 0) started.postMessage({ kind: 'ship' } satisfies ToSealer) // The one before failed on the way.
  }

  function wake(deferred: Pick<SealingWork, 'deferredSince'> = {}): void {
    if (worker === null && !stopped) start(deferred)
  }

  function follow(): void {
    if (work.isAwaited === true) wake()
    else if (worker === null && !stopped) deferredStart.begin()
  }

  return {
    /** Starts the thread when there is none; called when an earlier process left something. */
    wake: () => wake(),
    /** Makes sure that somebody follows the spool, once traffic lets him; called when a session opens. */
    follow,
    /** Has what is in the spool now sealed and stored; false when that is still under way after `waitMilliseconds`. */
    async ship({ waitMilliseconds }: { readonly waitMilliseconds: number }): Promise<boolean> {
      if (stopping || stopped) return false // The end ships everything by itself.
      if (position.waitingBytes === 0) return true
      const shipped = new Promise<true>((resolve) => void onShipped.push(() => resolve(true)))
      if (worker === null) wake()
      else worker.postMessage({ kind: 'ship' } satisfies ToSealer)
      const timer = new AbortController()
      const inTime = await Promise.race([shipped, sleep(waitMilliseconds, false, { signal: timer.signal })])
      timer.abort()
      return inTime
    },
    /** Has what is in the spool now stored at once, because agents wait for it; `onStoredTo` answers. Asked again before that, it is one question. */
    store(): void {
      if (isStoreAsked || stopped) return
      isStoreAsked = true
      if (worker === null) wake()
      else worker.postMessage({ kind: 'store' } satisfies ToSealer)
    },
    /** For so long records are sealed when they are a second old, busy or not. */
    hasten({ forMilliseconds }: { readonly forMilliseconds: number }): void {
      hastenedUntil = Date.now() + forMilliseconds
      if (deferredStart.isWaiting) wake()
      else worker?.postMessage({ kind: 'hasten', until: hastenedUntil } satisfies ToSealer)
    },
    /** Seals and stores what is left; false when that took longer than `waitMilliseconds`, or until `hurried`, and was given up. */
    async stop({ waitMilliseconds, hurried }: { readonly waitMilliseconds: number; readonly hurried?: Promise<void> }): Promise<boolean> {
      clearInterval(heartbeat)
      deferredStart.cancel()
      if (worker === null && next.kind === 'first' && position.waitingBytes === 0) return true // Nobody ever came.
      stopping = true
      if (worker === null) wake()
      else worker.postMessage({ kind: 'stop' } satisfies ToSealer)
      const timer = new AbortController()
      const tooLong = [
        sleep(waitMilliseconds, false, { signal: timer.signal }),
        ...(hurried === undefined ? [] : [hurried.then(() => false)]),
      ]
      const inTime = await Promise.race([end.then(() => true), ...tooLong])
      timer.abort()
      if (inTime) return true
      stopped = true
      if (worker !== null) await endThread(worker)
      return false
    },
  }
}

/**
 * Lets the thread end itself, between two steps. Ended from outside in the middle of a call to zlib, Node aborts the whole process ("close before
 * init" in node_zlib.cc, seen with Node 24.21).
 */
async function endThread(thread: Worker): Promise<void> {
  const timer = new AbortController()
  const ended = new Promise((resolve) => void thread.once('exit', resolve))
  thread.postMessage({ kind: 'end' } satisfies ToSealer)
  await Promise.race([ended, sleep(endMillisecondsMax, undefined, { signal: timer.signal })])
  timer.abort()
  await thread.terminate()
}
