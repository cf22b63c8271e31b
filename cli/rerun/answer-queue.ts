/**
 * Which of a client's requests the server has answered, by the letters of the messages alone.
 *
 * Kept once for the recorded conversation and once for the one that is run: where the recorded client had waited for an answer before
 * it went on, the other one waits for the answer to the same request. Follows PostgreSQL's "Message Flow": after an error in the
 * extended protocol the server drops everything up to the next Sync; while it reads COPY data it drops Sync and Flush.
 */

type Request = { readonly type: string; readonly number: number }

export type AnswerQueue = ReturnType<typeof createAnswerQueue>

export function createAnswerQueue() {
  let requests: Request[] = []
  let head = 0
  let skipping = false
  let copyIn = false
  /** CopyDone and CopyFail that were sent before the server asked for data. */
  let copyEndsAhead = 0
  let lastFlushed = -1
  let lastSent = -1

  const front = (): Request | undefined => requests[head]

  function shift(): void {
    head++
    if (head < 1024 && head < requests.length) return
    requests = requests.slice(head)
    head = 0
  }

  function dropToSync(): void {
    while (front() !== undefined && front()!.type !== 'S') shift()
    skipping = front() === undefined
  }

  function ready(): void {
    for (let last = front(); last !== undefined; last = front()) {
      shift()
      if (last.type === 'S' || last.type === 'Q' || last.type === 'F') break
    }
    skipping = false
    copyIn = false
    copyEndsAhead = 0
  }

  return {
    /** The client sent (the last byte of) a message. */
    sent(type: string, number: number): void {
      lastSent = number
      switch (type) {
        case 'd':
        case 'X':
          return
        case 'c':
        case 'f':
          if (copyIn) copyIn = false
          else copyEndsAhead++
          return
        case 'H':
          if (!copyIn) lastFlushed = number
          return
        case 'S':
          if (copyIn) return
          break
        default:
          if (skipping) return
      }
      requests.push({ type, number })
      if (type === 'S' || type === 'Q' || type === 'F') lastFlushed = number
    },
    /** The server sent a message. */
    answered(type: string): void {
      const request = front()
      switch (type) {
        case 'Z':
          return ready()
        case 'E':
          copyIn = false
          // Of Query, FunctionCall and Sync the end is ReadyForQuery.
          if (request === undefined || (request.type !== 'Q' && request.type !== 'F' && request.type !== 'S')) dropToSync()
          return
        case '1':
        case '2':
        case '3':
          return shift()
        case 'T':
        case 'n':
          if (request?.type === 'D') shift()
          return
        case 'C':
        case 'I':
        case 's':
          if (request?.type === 'E') shift()
          return
        case 'G':
          if (copyEndsAhead > 0) copyEndsAhead--
          else copyIn = true
          // What was sent behind the Execute is read, and dropped, while the data is awaited.
          if (request?.type === 'E') while (requests[head + 1]?.type === 'S') requests.splice(head + 1, 1)
          return
        default:
      }
    },
    /** The server waits for COPY data. */
    get copyIn(): boolean {
      return copyIn
    },
    /** The first request without its answer, Infinity when all have theirs. */
    get firstOpen(): number {
      return front()?.number ?? Infinity
    },
    /** Up to this request the server was asked to hand out its answers; of later ones it may keep them. */
    get lastFlushed(): number {
      return lastFlushed
    },
    /** All requests up to this one have their answers. */
    get settled(): number {
      return front() === undefined ? lastSent : front()!.number - 1
    },
  }
}
