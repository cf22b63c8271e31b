/**
 * A PostgreSQL client that speaks in bytes: signs in with a token over loopback, then sends what it is given and tells the letters of
 * what comes back. What the answers hold is not looked at here: the proxy in front of the database records it.
 */
import { once } from 'node:events'
import net from 'node:net'
import { KnownError, messageOf } from '../../base/errors.ts'
import { decodeAuthenticationRequest, encodeSaslInitialResponse, encodeSaslResponse } from '../../postgres/authentication/messages.ts'
import { createScramClient } from '../../postgres/authentication/scram-client.ts'
import type { Secret } from '../../postgres/authentication/secret.ts'
import { createFrameAssembler } from '../../postgres/frame-assembler.ts'
import { decodeErrorFields } from '../../postgres/messages/error-fields.ts'
import type { ErrorFields } from '../../postgres/statement.ts'
import { decodeBackendKeyData, encodeCancelRequest, encodeMessage, encodeStartup } from '../../postgres/startup-messages.ts'

/** The database did not let us in, or could not be reached. */
export class RerunRefused extends KnownError {
  readonly code = 'RERUN_REFUSED'
  readonly remedy: string
  readonly safeToRetry = true
  constructor({ message, code, hint }: ErrorFields) {
    super(`the session cannot begin: ${message} (${code})`)
    this.remedy = hint ?? 'Check the connection string: host, port, database, user, password, sslmode.'
  }
}

export type Client = {
  /** Resolves when more may be sent; at once when the connection is gone. */
  send(bytes: Buffer): Promise<void>
  /** Resolves at the server's next message, or when the connection is gone. False when nothing came for so long. */
  next(millisecondsMax: number): Promise<boolean>
  readonly closed: boolean
  /** Why the server ended the session, when it said so. */
  readonly lastError: ErrorFields | null
  /** Asks the server to cancel what it runs; what comes of that, its answers tell. */
  cancel(): Promise<void>
  /** Says goodbye, and waits until the connection is gone. */
  end(): Promise<void>
  destroy(): void
}

const readyByte = 'Z'.charCodeAt(0)
const keyByte = 'K'.charCodeAt(0)
const errorByte = 'E'.charCodeAt(0)
const authenticationByte = 'R'.charCodeAt(0)
const endMillisecondsMax = 10_000

/** `onMessage` is told of every message behind the sign-in. @throws RerunRefused */
export async function connectClient({
  host,
  port,
  token,
  parameters,
  onMessage,
  signal,
}: {
  readonly host: string
  readonly port: number
  readonly token: Secret
  /** Of the start-up message: `user`, `database` and settings. */
  readonly parameters: Iterable<readonly [string, string]>
  readonly onMessage: (type: string) => void
  readonly signal: AbortSignal
}): Promise<Client> {
  const socket = net.connect({ host, port, noDelay: true })
  let closed = false
  let lastError: ErrorFields | null = null
  let wake: (() => void) | null = null
  let isReady = false
  let cancelKey: ReturnType<typeof decodeBackendKeyData> | null = null
  let failure: unknown = null
  const scram = createScramClient({ password: token, channelBinding: { kind: 'impossible' } })
  const stop = (): void => void socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()

  function notify(): void {
    wake?.()
    wake = null
  }
  async function authenticate(body: Buffer): Promise<void> {
    const request = decodeAuthenticationRequest(body)
    if (request.kind === 'sasl') socket.write(encodeSaslInitialResponse(scram.mechanism, scram.first()))
    else if (request.kind === 'sasl-continue') socket.write(encodeSaslResponse(await scram.final(request.data)))
    else if (request.kind === 'sasl-final') scram.verify(request.data)
  }
  // Only sign-in, errors and ReadyForQuery are read; of all else the length is enough.
  const sizeOnly = new Uint8Array(256).fill(1)
  for (const type of [readyByte, errorByte, authenticationByte, keyByte]) sizeOnly[type] = 0
  const assembler = createFrameAssembler(
    'backend',
    {
      onFrame(type, bytes, start, end) {
        const body = Buffer.from(bytes.subarray(start, end))
        if (type === errorByte) lastError = decodeErrorFields(body)
        if (type === authenticationByte) {
          authenticate(body).catch((error: unknown) => {
            failure = error
            socket.destroy()
          })
          return
        }
        if (type === keyByte) cancelKey = decodeBackendKeyData(body)
        else if (isReady) onMessage(String.fromCharCode(type))
        else if (type === readyByte) isReady = true
      },
      onSize(type) {
        if (isReady) onMessage(String.fromCharCode(type))
      },
    },
    { sizeOnly },
  )
  socket.on('data', (chunk: Buffer) => {
    try {
      assembler.push(chunk)
    } catch (error) {
      failure = error
      socket.destroy()
    }
    notify()
  })
  socket.on('error', (error) => {
    failure ??= error
  })
  socket.on('close', () => {
    closed = true
    signal.removeEventListener('abort', stop)
    notify()
  })

  const client: Client = {
    async send(bytes) {
      if (closed || socket.write(bytes)) return
      const settled = new AbortController()
      try {
        await Promise.race([once(socket, 'drain', { signal: settled.signal }), once(socket, 'close', { signal: settled.signal })])
      } catch {
        // Whatever went wrong with the socket: `closed` tells it, and the next wait sees that.
      } finally {
        settled.abort()
      }
    },
    next(millisecondsMax) {
      if (closed) return Promise.resolve(true)
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          wake = null
          resolve(false)
        }, millisecondsMax)
        wake = () => {
          clearTimeout(timer)
          resolve(true)
        }
      })
    },
    get closed() {
      return closed
    },
    get lastError() {
      return lastError
    },
    async cancel() {
      if (cancelKey === null) return
      const request = net.connect({ host, port })
      const gone = once(request, 'close')
      request.on('error', () => undefined) // The server closes without an answer, which may be told as a reset.
      request.resume().end(encodeCancelRequest(cancelKey.processId, cancelKey.key))
      await gone
    },
    async end() {
      if (closed) return
      const timer = setTimeout(stop, endMillisecondsMax)
      socket.end(encodeMessage('X'))
      while (!closed) await client.next(endMillisecondsMax)
      clearTimeout(timer)
    },
    destroy: stop,
  }
  socket.write(encodeStartup({ protocolMinor: 0, parameters }))
  while (!isReady && !closed) await client.next(60_000)
  if (isReady) return client
  throw new RerunRefused(
    lastError ?? { severity: 'FATAL', code: '08006', message: failure === null ? 'the connection was closed' : messageOf(failure) },
  )
}
