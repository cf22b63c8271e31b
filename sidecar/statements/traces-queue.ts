/**
 * Spans on their way out: a bounded queue and one request at a time. What finds no room or is not accepted is counted and let go.
 *
 * In place of the SDK's batch processor, which says of what it drops only a line in a diagnostics log. Holds at most `spansMax`
 * spans and the batch under way. Never throws. Who reads a busy spool makes spans faster than any endpoint takes them, so `room` lets
 * one that takes them catch up, for a small part of all time; nobody waits for one that does not. Retries are the exporter's.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace'
import { systemCodeOf } from '../../base/errors.ts'
import type { TraceQueueLimits } from './traces-settings.ts'

/** What became of spans since the last time this was said. */
export type TraceOutcome = {
  readonly sent: number
  /** There was no room: the endpoint is slower than statements end. */
  readonly withoutRoom: number
  /** The endpoint did not take them. */
  readonly notTaken: number
  /** Why, of the last that were not taken: a class, never what the endpoint wrote. */
  readonly reason: string | null
}

export type SpanQueue = {
  readonly processor: SpanProcessor
  /** Waits a little for an endpoint that takes spans, when many are held. To be called between many statements. */
  room(): Promise<void>
  /** Sends what is held, for at most `waitMilliseconds`; what is left then is dropped and counted. */
  end(waitMilliseconds: number): Promise<void>
}

export function createSpanQueue(
  exporter: Pick<SpanExporter, 'export'>,
  limits: TraceQueueLimits,
  onOutcome: (outcome: TraceOutcome) => void,
  now: () => number = () => performance.now(),
): SpanQueue {
  let waiting: ReadableSpan[] = []
  /** Spans of the request under way. */
  let underWay = 0
  let request: Promise<boolean> | null = null
  let timer: NodeJS.Timeout | null = null
  let state: 'open' | 'ending' | 'over' = 'open'
  /** False from when somebody waited in vain until the endpoint takes spans again. */
  let isTaking = true
  /** Milliseconds that may be waited now. */
  let allowance = waitMillisecondsMax
  let allowanceAt = now()
  let sent = 0
  let withoutRoom = 0
  let notTaken = 0
  let reason: string | null = null

  function report(): void {
    if (sent + withoutRoom + notTaken === 0) return
    onOutcome({ sent, withoutRoom, notTaken, reason })
    sent = withoutRoom = notTaken = 0
    reason = null
  }

  function sendLater(): void {
    timer ??= setTimeout(() => void send(), limits.delayMilliseconds).unref()
  }

  function stopTimer(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
  }

  /** True when the endpoint took the spans. */
  async function send(): Promise<boolean> {
    stopTimer()
    const batch = waiting.splice(0, limits.batchSpansMax)
    underWay = batch.length
    request = exported(batch).then((failure) => {
      // Counted already by the end, which waited for it no longer.
      if (state === 'over') return false
      isTaking = failure === null
      if (failure === null) sent += batch.length
      else {
        notTaken += batch.length
        reason = failure
      }
      report()
      underWay = 0
      request = null
      if (state === 'ending' || waiting.length === 0) return failure === null
      // After a failure the next request waits its turn: an endpoint that refuses at once is not asked without pause.
      if (failure === null && waiting.length >= limits.batchSpansMax) void send()
      else sendLater()
      return failure === null
    })
    return request
  }

  /** Null when the endpoint took the spans, else why not. Never rejects. */
  function exported(batch: ReadableSpan[]): Promise<string | null> {
    return new Promise((resolve) => {
      const guard = setTimeout(() => resolve(late), limits.exportMillisecondsMax).unref()
      const settle = (failure: string | null): void => {
        clearTimeout(guard)
        resolve(failure)
      }
      try {
        exporter.export(batch, ({ code, error }) => settle(isSuccess(code) ? null : failureOf(error)))
      } catch (error) {
        settle(failureOf(error))
      }
    })
  }

  /** Sends all that is held, until something is not taken: then the rest would not be either, and somebody waits. */
  async function empty(): Promise<void> {
    if (request !== null && !(await request)) return
    while (waiting.length > 0) if (!(await send())) return
  }

  return {
    processor: {
      onStart: () => undefined,
      onEnd(span) {
        if (state !== 'open' || waiting.length >= limits.spansMax) {
          withoutRoom++
          return
        }
        waiting.push(span)
        if (request !== null) return
        if (waiting.length >= limits.batchSpansMax) void send()
        else sendLater()
      },
      forceFlush: () => Promise.resolve(),
      shutdown: () => Promise.resolve(),
    },
    async room() {
      const began = now()
      allowance = Math.min(waitMillisecondsMax, allowance + (began - allowanceAt) * waitingShare)
      while (isTaking && request !== null && waiting.length > limits.spansMax / 8) {
        const left = allowance - (now() - began)
        if (left <= 0 || !(await settlesWithin(request, left))) isTaking = false
      }
      allowanceAt = now()
      allowance = Math.max(0, allowance - (allowanceAt - began))
    },
    async end(waitMilliseconds) {
      state = 'ending'
      stopTimer()
      await settlesWithin(empty(), waitMilliseconds)
      state = 'over'
      const left = underWay + waiting.length
      if (left > 0) {
        notTaken += left
        reason ??= 'not taken before the end'
      }
      waiting = []
      report()
    },
  }
}

/** True when `promise`, which never rejects, settled in time. */
async function settlesWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const overdue = new AbortController()
  const late = sleep(milliseconds, false, { signal: overdue.signal }).catch(() => false)
  const inTime = await Promise.race([promise.then(() => true), late])
  overdue.abort()
  return inTime
}

/** The longest time that statements may wait at once for an endpoint, and the part of all time. */
const waitMillisecondsMax = 250
const waitingShare = 0.1
/** OpenTelemetry's `ExportResultCode.SUCCESS`. */
const isSuccess = (code: number): boolean => code === 0
const late = 'no answer in time'

/** The operating system's or HTTP's code; the error's own text may quote what the endpoint wrote, or its URL with a password. */
function failureOf(error: unknown): string {
  const code = systemCodeOf(error)
  if (code !== undefined) return code
  if (error instanceof Error && 'code' in error && typeof error.code === 'number') return `HTTP ${error.code}`
  if (error instanceof Error && error.message.includes('retryable')) return 'HTTP 429, 502, 503 or 504'
  if (error instanceof Error && error.message.includes('timed out')) return late
  return error instanceof Error ? error.name : 'unknown'
}
