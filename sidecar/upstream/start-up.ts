/**
 * StartupMessage to ReadyForQuery over a wire: what the server said on the way is kept for the agent, the authentication is not.
 *
 * Source: PostgreSQL documentation, "Start-up".
 */
import { messageOf } from '../../base/errors.ts'
import {
  BadStartup,
  decodeBackendKeyData,
  decodeErrorResponse,
  decodeNegotiateProtocolVersion,
  decodeParameterStatus,
  decodeReadyForQuery,
} from '../../postgres/startup-messages.ts'
import { AttemptFailed, SignInImpossible, UpstreamRefused } from './errors.ts'
import { createFrameReader } from './frame-reader.ts'
import type { FrameReader, ServerFrame } from './frame-reader.ts'
import type { createSignIn } from './authenticate.ts'
import type { Wire } from './wire.ts'

/** What stands between the server's greeting and its readiness. */
export type Greeting = {
  readonly protocolMinor: number
  readonly processId: number
  readonly cancelKey: Buffer
  readonly parameters: Record<string, string>
  readonly startupFrames: Buffer[]
  readonly transactionStatus: number
}

export type StartUp = Greeting & {
  /** For a question to the server before the session is handed over. */
  readonly reader: FrameReader
}

type Options = {
  readonly protocol: { readonly wanted: number; readonly least: number }
  /** The encoded StartupMessage. */
  readonly packet: Buffer
  readonly signIn: ReturnType<typeof createSignIn>
}

/** @throws UpstreamRefused, SignInImpossible, AttemptFailed */
export async function startUp(wire: Wire, { protocol, packet, signIn }: Options): Promise<StartUp> {
  const reader = createFrameReader(wire)
  try {
    wire.socket.write(packet)
    const protocolMinor = await authenticate(wire, reader, protocol, signIn)
    return { reader, ...(await greeting(reader, protocolMinor)) }
  } catch (error) {
    reader.release()
    if (error instanceof BadStartup)
      throw new AttemptFailed('protocol', `the server does not keep to the PostgreSQL protocol: ${messageOf(error)}`, error)
    throw error
  }
}

/** Up to AuthenticationOk. Gives the minor version of the protocol that both ends speak. */
async function authenticate(wire: Wire, reader: FrameReader, protocol: Options['protocol'], signIn: Options['signIn']): Promise<number> {
  let minor = protocol.wanted
  let negotiated = false
  for (;;) {
    const message = await reader.next()
    switch (message.type) {
      case 'R': {
        const answer = await signIn.answer(message.body)
        if (answer === null) return minor
        if (answer.length > 0) wire.socket.write(answer)
        break
      }
      case 'v':
        if (negotiated) throw new BadStartup('it negotiates the protocol version twice')
        negotiated = true
        minor = negotiate(message, protocol)
        break
      case 'E':
        throw new UpstreamRefused(decodeErrorResponse(message.body), message.frame)
      // A notice may come at any time; what it says before we are in is nobody's business.
      case 'N':
        break
      default:
        throw new BadStartup(`a message of type '${message.type}' came before the end of the authentication`)
    }
  }
}

function negotiate({ body }: ServerFrame, protocol: Options['protocol']): number {
  const { minor, unknownOptions } = decodeNegotiateProtocolVersion(body)
  if (unknownOptions.length > 0) throw new BadStartup('it rejects protocol options that were not asked for')
  if (minor > protocol.wanted) throw new BadStartup('it negotiates a newer protocol than was asked for')
  if (minor < protocol.least) {
    throw new SignInImpossible(
      `the server speaks protocol 3.${minor} at most, less than min_protocol_version`,
      'Lower min_protocol_version or upgrade the server.',
    )
  }
  return minor
}

async function greeting(reader: FrameReader, protocolMinor: number): Promise<Greeting> {
  const startupFrames: Buffer[] = []
  const parameters: Record<string, string> = {}
  let key: { processId: number; key: Buffer } | null = null
  for (;;) {
    const { type, frame, body } = await reader.next()
    switch (type) {
      case 'S': {
        const { name, value } = decodeParameterStatus(body)
        Object.defineProperty(parameters, name, { value, enumerable: true, configurable: true, writable: true })
        startupFrames.push(frame)
        break
      }
      case 'N':
        decodeErrorResponse(body)
        startupFrames.push(frame)
        break
      case 'K':
        key = decodeBackendKeyData(body)
        if (protocolMinor === 0 && key.key.length !== 4) throw new BadStartup('BackendKeyData has an impossible length')
        break
      case 'E':
        throw new UpstreamRefused(decodeErrorResponse(body), frame)
      case 'Z':
        return {
          protocolMinor,
          // A pooler may give no key: then there is nothing to cancel with, and a cancel of process 0 hits nobody.
          processId: key?.processId ?? 0,
          cancelKey: key?.key ?? Buffer.alloc(0),
          parameters,
          startupFrames,
          transactionStatus: decodeReadyForQuery(body).charCodeAt(0),
        }
      default:
        throw new BadStartup(`a message of type '${type}' came before the server was ready`)
    }
  }
}
