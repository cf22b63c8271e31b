/**
 * Hands lines to an output that may take nothing for a while: holds what waits up to a cap, drops lines beyond it, counts them, and says
 * how many are missing where they would stand.
 *
 * Nothing here blocks. `write` takes what fits and gives how many bytes those were; it throws when nobody will ever read again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../base/errors.ts'

/** Few and large writes: each costs as much as making several lines. */
const pieceCharacters = 16 * 1024
const retryMilliseconds = 50
/** As long as something was taken the last time. */
const retrySoonMilliseconds = 5
const pollMilliseconds = 5
/** An output that took nothing for so long is not waited for until it takes something again. */
const stuckMilliseconds = 250
/** Of all time at most this part is spent on waiting for a slow reader, */
const waitingShare = 0.5
/** and at most so much at once. */
const waitMillisecondsMax = 1_000
const endMillisecondsMax = 1_000

export type LiveNotice =
  /** Lines are being left out from now on. */
  | { readonly kind: 'dropping' }
  /** So many could not even be said to be missing. */
  | { readonly kind: 'lost'; readonly lines: number }
  /** Nothing is written from now on. */
  | { readonly kind: 'gone'; readonly why: string }

export function createLiveOutput({
  write,
  heldBytesMax,
  droppedLine,
  onNotice,
}: {
  readonly write: (bytes: Buffer) => number
  readonly heldBytesMax: number
  readonly droppedLine: (lines: number) => string
  readonly onNotice: (notice: LiveNotice) => void
}) {
  let gathered = ''
  let queue: Buffer[] = []
  let queuedBytes = 0
  let dropped = 0
  let isGone = false
  let isScheduled = false
  let retry: NodeJS.Timeout | null = null
  let tookAt = performance.now()
  let allowance = waitMillisecondsMax
  let allowanceAt = tookAt

  function append(text: string): void {
    gathered += `${text}\n`
    if (gathered.length >= pieceCharacters) flush()
    else if (!isScheduled) {
      isScheduled = true
      setImmediate(() => {
        isScheduled = false
        flush()
      })
    }
  }

  const hasRoomFor = (text: string): boolean => !isGone && queuedBytes + gathered.length + text.length <= heldBytesMax

  function flush(): void {
    if (isGone) return
    if (gathered !== '') {
      const bytes = Buffer.from(gathered, 'utf8')
      gathered = ''
      queue.push(bytes)
      queuedBytes += bytes.length
    }
    try {
      writeQueue()
    } catch (error) {
      isGone = true
      queue = []
      queuedBytes = 0
      dropped = 0
      onNotice({ kind: 'gone', why: messageOf(error) })
      return
    }
    if (dropped > 0 && queuedBytes <= heldBytesMax / 2) {
      const lines = dropped
      dropped = 0
      append(droppedLine(lines))
    }
    if (queuedBytes > 0)
      retry ??= setTimeout(retried, performance.now() - tookAt < retryMilliseconds ? retrySoonMilliseconds : retryMilliseconds).unref()
  }

  function retried(): void {
    retry = null
    flush()
  }

  function writeQueue(): void {
    while (queue.length > 0) {
      const head = queue[0]!
      const taken = write(head)
      if (taken === 0) return
      tookAt = performance.now()
      queuedBytes -= taken
      if (taken === head.length) queue.shift()
      else queue[0] = head.subarray(taken)
    }
  }

  return {
    /** `text` is one line, without its end. */
    line(text: string): void {
      if (isGone) return
      // While lines are missing none may pass before the line that says so; and asking for room costs more than making a line.
      if (dropped > 0) {
        dropped++
        return
      }
      if (!hasRoomFor(text)) flush()
      if (hasRoomFor(text)) return append(text)
      if (isGone) return
      dropped = 1
      onNotice({ kind: 'dropping' })
      retry ??= setTimeout(retried, retryMilliseconds).unref()
    },
    /** Whether something waits that an end would lose. */
    get isHolding(): boolean {
      return queuedBytes > 0 || gathered !== '' || dropped > 0
    },
    /** Lets a slow reader catch up, within a part of all time: whoever makes lines should not make more than are read. */
    async room(): Promise<void> {
      const now = performance.now()
      allowance = Math.min(waitMillisecondsMax, allowance + (now - allowanceAt) * waitingShare)
      allowanceAt = now
      if (queuedBytes + gathered.length <= heldBytesMax / 4) return
      for (let at = now; ; at = performance.now()) {
        flush()
        if (queuedBytes <= heldBytesMax / 8 || at - now >= allowance || at - tookAt >= stuckMilliseconds) break
        await sleep(pollMilliseconds)
      }
      const ended = performance.now()
      allowance = Math.max(0, allowance - (ended - now))
      allowanceAt = ended
    },
    /** Hands on what is held, within a second. */
    async end(): Promise<void> {
      const until = performance.now() + endMillisecondsMax
      for (flush(); this.isHolding && !isGone && performance.now() < until; flush()) await sleep(pollMilliseconds)
      if (retry !== null) clearTimeout(retry)
      if (dropped > 0) onNotice({ kind: 'lost', lines: dropped })
    },
  }
}
