/**
 * A client that speaks the wire protocol and nothing else: it sends whatever it is given, well-formed or not, and keeps every byte it got.
 *
 * For tests only: it never stops reading and holds all that it read, unless asked to count it. Signs in with SCRAM-SHA-256 or nothing.
 */
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createScramClient } from '../../postgres/authentication/scram-client.ts'
import { Secret } from '../../postgres/authentication/secret.ts'
import { encodeSaslInitialResponse, encodeSaslResponse } from '../../postgres/authentication/messages.ts'

export type RawFrame = { readonly type: string; readonly body: Buffer }

export type RawOptions = {
  readonly host: string
  readonly port: number
  readonly password?: string
  /** Of the StartupMessage, in this order. */
  readonly parameters: Readonly<Record<string, string>>
  readonly protocolMinor?: number
}

const authenticationSasl = 10
const authenticationSaslContinue = 11
const waitMillisecondsMax = 120_000

export function startupMessage(parameters: Readonly<Record<string, string>>, protocolMinor = 0): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [name, value])
  const body = Buffer.from(`${[...pairs, ''].join('\0')}\0`)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(head.length + body.length)
  head.writeUInt32BE((3 << 16) | protocolMinor, 4)
  return Buffer.concat([head, body])
}

/** Cuts whole frames; what is left over at the end is given as a frame of type `(rest)`. */
export function framesOf(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = []
  let at = 0
  while (bytes.length - at >= 5 && bytes.length - at > bytes.readUInt32BE(at + 1)) {
    const end = at + 1 + bytes.readUInt32BE(at + 1)
    frames.push({ type: bytes.toString('latin1', at, at + 1), body: bytes.subarray(at + 5, end) })
    at = end
  }
  if (at < bytes.length) frames.push({ type: '(rest)', body: bytes.subarray(at) })
  return frames
}

export type RawClient = ReturnType<typeof connectRaw>

/** Connects; `start` then signs in. Errors of the socket are not thrown: they end the conversation, as `closed` tells. */
export function connectRaw(options: RawOptions) {
  const socket = net.connect({ host: options.host, port: options.port, noDelay: true })
  const chunks: Buffer[] = []
  let receivedBytes = 0
  let closed = false
  let wasReset = false
  let keeps = true
  let wake: () => void = () => undefined
  socket.on('data', (chunk: Buffer) => {
    receivedBytes += chunk.length
    if (keeps) chunks.push(chunk)
    wake()
  })
  socket.on('error', () => (wasReset = true))
  socket.on('end', () => socket.end())
  const onClosed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      closed = true
      wake()
      resolve()
    })
  })

  function received(): Buffer {
    if (chunks.length > 1) chunks.splice(0, chunks.length, Buffer.concat(chunks))
    return chunks[0] ?? Buffer.alloc(0)
  }
  const countOf = (type: string): number => framesOf(received()).filter((frame) => frame.type === type).length

  /** Waits until `done` or the connection's end; two minutes without either are a failure. */
  async function until(done: () => boolean): Promise<void> {
    const deadline = Date.now() + waitMillisecondsMax
    while (!closed && !done()) {
      if (Date.now() > deadline) throw new Error(`no answer came within ${waitMillisecondsMax} ms; ${receivedBytes} bytes came before`)
      await Promise.race([new Promise<void>((resolve) => (wake = resolve)), sleep(1_000, undefined, { ref: false })])
    }
  }

  async function signIn(): Promise<void> {
    if (options.password === undefined) return
    const scram = createScramClient({ password: new Secret(options.password), channelBinding: { kind: 'impossible' } })
    const request = (kind: number): RawFrame | undefined =>
      framesOf(received()).find(({ type, body }) => type === 'R' && body.readUInt32BE() === kind)
    await until(() => request(authenticationSasl) !== undefined || countOf('E') > 0)
    if (request(authenticationSasl) === undefined) return
    socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()))
    await until(() => request(authenticationSaslContinue) !== undefined || countOf('E') > 0)
    const challenge = request(authenticationSaslContinue)
    if (challenge !== undefined) socket.write(encodeSaslResponse(await scram.final(challenge.body.subarray(4))))
  }

  return {
    socket,
    /** Sends the StartupMessage and signs in; returns at the first ReadyForQuery, the first error, or the end. */
    async start(): Promise<void> {
      socket.write(startupMessage(options.parameters, options.protocolMinor))
      await signIn()
      await until(() => countOf('Z') > 0 || countOf('E') > 0)
    },
    send: (bytes: Buffer): boolean => socket.write(bytes),
    received,
    frames: (): RawFrame[] => framesOf(received()),
    countOf,
    until,
    /** From now on bytes are only counted. */
    stopKeeping(): void {
      keeps = false
    },
    get receivedBytes(): number {
      return receivedBytes
    },
    /** The connection broke instead of ending. */
    get wasReset(): boolean {
      return wasReset
    },
    get closed(): boolean {
      return closed
    },
    /** Waits for the connection's end. */
    async end(): Promise<void> {
      await until(() => false)
    },
    async destroy(): Promise<void> {
      socket.destroy()
      await onClosed
    },
  }
}

/** What an ErrorResponse or NoticeResponse says, by field letter. */
export function errorFields(body: Buffer): Record<string, string> {
  const parts = body
    .toString('utf8')
    .split('\0')
    .filter((part) => part !== '')
  return Object.fromEntries(parts.map((part) => [part.slice(0, 1), part.slice(1)]))
}
