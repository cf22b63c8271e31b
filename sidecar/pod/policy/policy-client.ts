/**
 * The sidecar's end of control's stream: connects, reads a document at a time, and connects again for as long as the sidecar lives.
 *
 * Holds one line. What is silent for 30 s is taken for dead. After a failure it waits, at least a second, longer each time up to half a
 * minute and never as long as its neighbours do, so that a control which starts is not met by all at once. Follows no redirect, and trusts
 * what recordings trust: the authority and the token of the pod. Says nothing of what a document means.
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError, messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { policyDocumentBytesMax, positionsText, type PolicyOrder } from '../../../session/policy-document.ts'
import { isObject } from '../../../session/shape.ts'
import { openControlConnection, type ConnectionOptions } from '../../../session/stores/control-connection.ts'

export type PolicyClientOptions = {
  readonly connection: Pick<ConnectionOptions, 'origin' | 'tokenFile' | 'caPem'>
  /** Where the document stands that is in force: control sends none that is behind it. Null for none. */
  readonly known: () => Pick<PolicyOrder, 'generation' | 'positions'> | null
  /** A document as it came, unchecked. The next is read when this is done. Must not throw. */
  readonly onDocument: (bytes: Buffer) => Promise<void>
  readonly log: Log
  readonly timing?: Partial<PolicyClientTiming>
}

export type PolicyClientTiming = {
  readonly answerMilliseconds: number
  readonly silenceMilliseconds: number
  /** After the first failure in a row, and at most; each is drawn from between it and its double. */
  readonly pauseMillisecondsFirst: number
  readonly pauseMillisecondsMost: number
}

const standardTiming: PolicyClientTiming = {
  answerMilliseconds: 15_000,
  silenceMilliseconds: 30_000,
  pauseMillisecondsFirst: 1_000,
  pauseMillisecondsMost: 15_000,
}
/** Base64 and what stands around it. */
const lineBytesMax = Math.ceil((policyDocumentBytesMax * 4) / 3) + 1024
const answerBytesMax = 16 * 1024
const logMilliseconds = 60_000

export type PolicyClient = {
  /** Whether control is heard now. */
  readonly isConnected: boolean
  stop(): void
}

export function startPolicyClient({ connection: to, known, onDocument, log, timing = {} }: PolicyClientOptions): PolicyClient {
  const { answerMilliseconds, silenceMilliseconds, pauseMillisecondsFirst, pauseMillisecondsMost } = { ...standardTiming, ...timing }
  const connection = openControlConnection({ ...to, timeouts: { answerMilliseconds, silenceMilliseconds } })
  const stopping = new AbortController()
  let isConnected = false
  let loggedAt = -Infinity

  /** Ends when the stream does. Throws what ended it. */
  async function listenOnce(onHeard: () => void): Promise<void> {
    const headers = headersOf(known())
    const { answer } = await connection.open({ method: 'GET', path: '/v1/stream', headers })
    const cut = (): void => void answer.destroy()
    stopping.signal.addEventListener('abort', cut)
    try {
      if (stopping.signal.aborted) return
      if (answer.statusCode !== 200) throw await refusalIn(answer)
      isConnected = true
      for await (const line of linesOf(answer)) {
        onHeard()
        const document = documentIn(line)
        if (document !== null) await onDocument(document)
      }
    } finally {
      isConnected = false
      stopping.signal.removeEventListener('abort', cut)
      answer.destroy()
    }
  }

  async function run(): Promise<void> {
    let pause = pauseMillisecondsFirst
    while (!stopping.signal.aborted) {
      try {
        await listenOnce(() => {
          pause = pauseMillisecondsFirst
          loggedAt = -Infinity
        })
      } catch (error) {
        if (stopping.signal.aborted) return
        tell(error)
      }
      const milliseconds = pause * (1 + Math.random())
      pause = Math.min(2 * pause, pauseMillisecondsMost)
      await sleep(milliseconds, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined) // It was told to stop.
    }
  }

  function tell(error: unknown): void {
    if (performance.now() - loggedAt < logMilliseconds) return
    loggedAt = performance.now()
    const { code, remedy } =
      error instanceof KnownError ? error : { code: 'UNKNOWN', remedy: 'Look at the log of Deployment steno-control.' }
    log.warn({ code, remedy }, `policy changes do not arrive, and what is in force stays so: ${messageOf(error)}`)
  }

  void run()
  return {
    get isConnected() {
      return isConnected
    },
    stop() {
      stopping.abort()
      connection.close()
    },
  }
}

/** Control gives no stream. Its own code is in the message. */
class StreamRefused extends KnownError {
  readonly code = 'POLICY_STREAM_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  constructor(what: string, remedy: string) {
    super(what)
    this.remedy = remedy
  }
}

async function refusalIn(answer: IncomingMessage): Promise<StreamRefused> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of answer as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > answerBytesMax) break
    pieces.push(piece)
  }
  let told: unknown = null
  try {
    told = JSON.parse(Buffer.concat(pieces).toString('utf8'))
  } catch {
    // Something that is not control answered; its status is all there is to say.
  }
  const said = (name: string, otherwise: string): string => {
    const value = isObject(told) ? told[name] : undefined
    return typeof value === 'string' ? value.slice(0, 500) : otherwise
  }
  const message = `control answers ${answer.statusCode ?? 0} ${said('code', '')}: ${said('message', 'without a reason')}`
  return new StreamRefused(message, said('remedy', 'Look at the log of Deployment steno-control.'))
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<Buffer> {
  let held: Buffer[] = []
  let heldBytes = 0
  for await (const piece of answer as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, start)) {
      yield Buffer.concat([...held, piece.subarray(start, end)])
      held = []
      heldBytes = 0
      start = end + 1
    }
    if (start === piece.length) continue
    held.push(piece.subarray(start))
    heldBytes += piece.length - start
    if (heldBytes > lineBytesMax)
      throw new StreamRefused(`control sends a line of more than ${lineBytesMax} bytes`, 'See who answers as steno-control.')
  }
}

/** Null for a sign of life, and for what a later release may add. */
function documentIn(line: Buffer): Buffer | null {
  let value: unknown
  try {
    value = JSON.parse(line.toString('utf8'))
  } catch {
    throw new StreamRefused('control sends a line that is no JSON', 'See who answers as steno-control.')
  }
  if (!isObject(value) || value['kind'] !== 'policy' || typeof value['document'] !== 'string') return null
  return Buffer.from(value['document'], 'base64')
}

/** `steno-positions` since there are positions; before, control went by the generation alone, and it may be of such a release. */
function headersOf(known: Pick<PolicyOrder, 'generation' | 'positions'> | null): Record<string, string> {
  if (known === null) return {}
  const { generation, positions } = known
  return { 'steno-generation': generation, ...(positions === undefined ? {} : { 'steno-positions': positionsText(positions) }) }
}
