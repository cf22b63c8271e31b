/**
 * The smallest client that can sign in and ask one question, for looking at the database through a proxy on this machine.
 *
 * Knows SCRAM, which is what a proxy with a token asks for, and the simple query protocol. Holds one answer of at most `heldBytesMax`.
 */
import { once } from 'node:events'
import net from 'node:net'
import { messageOf } from '../../base/errors.ts'
import { decodeAuthenticationRequest, encodeSaslInitialResponse, encodeSaslResponse } from '../../postgres/authentication/messages.ts'
import { createScramClient } from '../../postgres/authentication/scram-client.ts'
import type { Secret } from '../../postgres/authentication/secret.ts'
import { headerBytes } from '../../postgres/frame-header.ts'
import { decodeErrorResponse, decodeParameterStatus, encodeMessage, encodeStartup } from '../../postgres/startup-messages.ts'
import type { ErrorFields } from '../../postgres/statement.ts'
import { readDataRow } from '../../postgres/values/data-row.ts'

const heldBytesMax = 1024 * 1024

/** The server's ErrorResponse. */
export class ServerSaidNo extends Error {
  readonly fields: ErrorFields
  constructor(fields: ErrorFields) {
    super(fields.message)
    this.fields = fields
  }
}

export type SmallClient = {
  /** What the server told of itself: `server_version`, `TimeZone`, … */
  readonly parameters: ReadonlyMap<string, string>
  /** The first row's values as text. @throws ServerSaidNo */
  firstRow(sql: string): Promise<readonly (string | null)[]>
  end(): void
}

type Address = { readonly host: string; readonly port: number }
type SignIn = { readonly user: string; readonly token: Secret; readonly signal: AbortSignal }

/** @throws ServerSaidNo, or what the socket says */
export async function openSmallClient(address: Address, { user, token, signal }: SignIn): Promise<SmallClient> {
  const wire = await openWire(address, signal)
  try {
    wire.write(
      encodeStartup({
        protocolMinor: 0,
        parameters: [
          ['user', user],
          ['application_name', 'steno doctor'],
        ],
      }),
    )
    const parameters = new Map<string, string>()
    const scram = createScramClient({ password: token, channelBinding: { kind: 'impossible' } })
    for (;;) {
      const { type, body } = await wire.frame()
      if (type === 'Z') break
      if (type === 'E') throw new ServerSaidNo(decodeErrorResponse(body))
      if (type === 'S') {
        const { name, value } = decodeParameterStatus(body)
        parameters.set(name, value)
      }
      if (type !== 'R') continue
      const request = decodeAuthenticationRequest(body)
      if (request.kind === 'sasl') wire.write(encodeSaslInitialResponse(scram.mechanism, scram.first()))
      else if (request.kind === 'sasl-continue') wire.write(encodeSaslResponse(await scram.final(request.data)))
      else if (request.kind === 'sasl-final') scram.verify(request.data)
      else if (request.kind !== 'ok') throw new Error(`the proxy asks for a sign-in that nobody told it to ask for: ${request.kind}`)
    }
    return {
      parameters,
      async firstRow(sql) {
        wire.write(encodeMessage('Q', Buffer.from(`${sql}\0`)))
        let row: readonly (string | null)[] = []
        let error: ErrorFields | null = null
        for (;;) {
          const { type, body } = await wire.frame()
          if (type === 'D' && row.length === 0) row = readDataRow(body).map(({ bytes }) => bytes?.toString('utf8') ?? null)
          if (type === 'E') error = decodeErrorResponse(body)
          if (type !== 'Z') continue
          if (error !== null) throw new ServerSaidNo(error)
          return row
        }
      },
      end: () => wire.end(),
    }
  } catch (error) {
    wire.end()
    throw error
  }
}

/**
 * How a database answers somebody whom it does not know, through a proxy that passes on what both say: the type of its first message,
 * `R` when it asks for a password.
 * @throws ServerSaidNo, or what the socket says
 */
export async function askToSignIn(
  address: Address,
  { user, signal }: { readonly user: string; readonly signal: AbortSignal },
): Promise<string> {
  const wire = await openWire(address, signal)
  try {
    wire.write(
      encodeStartup({
        protocolMinor: 0,
        parameters: [
          ['user', user],
          ['application_name', 'steno doctor'],
        ],
      }),
    )
    const { type, body } = await wire.frame()
    if (type === 'E') throw new ServerSaidNo(decodeErrorResponse(body))
    return type
  } finally {
    wire.end()
  }
}

async function openWire({ host, port }: Address, signal: AbortSignal) {
  const socket = net.connect({ host, port, noDelay: true })
  const stop = (): void => void socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  let held = Buffer.alloc(0)
  let failure: Error | null = null
  let wake: () => void = () => undefined
  const ended = (error: Error | null): void => {
    failure ??= error ?? new Error('the proxy closed the connection')
    wake()
  }
  socket.on('error', ended).on('close', () => ended(null))
  socket.on('data', (bytes) => {
    held = Buffer.concat([held, bytes])
    if (held.length > heldBytesMax) socket.destroy(new Error('the answer is longer than it can be'))
    wake()
  })
  try {
    await once(socket, 'connect', { signal })
  } catch (error) {
    socket.destroy()
    throw new Error(`the proxy of this check cannot be reached: ${messageOf(error)}`, { cause: error })
  }
  return {
    write: (bytes: Buffer): void => void socket.write(bytes),
    end(): void {
      signal.removeEventListener('abort', stop)
      // Terminate; a server that is still asking for a password takes it for the end as well.
      socket.end(encodeMessage('X'))
      socket.destroySoon()
    },
    async frame(): Promise<{ readonly type: string; readonly body: Buffer }> {
      for (;;) {
        const length = held.length < headerBytes ? Infinity : 1 + held.readUInt32BE(1)
        if (held.length >= length) {
          const frame = held.subarray(0, length)
          held = held.subarray(length)
          return { type: String.fromCharCode(frame[0]!), body: frame.subarray(headerBytes) }
        }
        if (failure !== null) throw failure
        await new Promise<void>((resolve) => (wake = resolve))
      }
    },
  }
}
