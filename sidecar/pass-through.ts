/**
 * Pass-through: the agent signs in at the database itself. Its StartupMessage and the exchange that follows are relayed as they
 * came and are never recorded; steno only replaces the cancel key and takes notice when the session begins.
 *
 * The agent's side is always plain: SCRAM binds itself to the TLS connection it runs over, and there are two of them here. For the
 * same reason the offer of channel binding is taken out of the database's list of mechanisms.
 */
import { decodeAuthenticationRequest, encodeAuthenticationSasl } from '../postgres/authentication/messages.ts'
import { scramSha256Plus } from '../postgres/authentication/scram.ts'
import { frameLength, headerBytes } from '../postgres/frame-header.ts'
import {
  BadStartup,
  decodeBackendKeyData,
  decodeErrorResponse,
  decodeNegotiateProtocolVersion,
  decodeParameterStatus,
  encodeBackendKeyData,
} from '../postgres/startup-messages.ts'
import type { AgentStartup } from './agent-startup.ts'
import type { ConnectionContext, StartedUpstream } from './connection.ts'
import { createStartupReader, PeerGone, type StartupReader } from './startup-reader.ts'
import type { ListenerSettings } from './settings.ts'
import { dialOf, openTransport, type UpstreamConnection } from './upstream/connect.ts'
import { UpstreamRefused, UpstreamUnreachable, type Attempt } from './upstream/errors.ts'

const type = {
  passwordMessage: 'p'.charCodeAt(0),
  backendKeyData: 'K'.charCodeAt(0),
  parameterStatus: 'S'.charCodeAt(0),
  readyForQuery: 'Z'.charCodeAt(0),
  errorResponse: 'E'.charCodeAt(0),
  authentication: 'R'.charCodeAt(0),
  negotiateProtocolVersion: 'v'.charCodeAt(0),
} as const

/** What a database may say between AuthenticationOk and ReadyForQuery: several thousand notices. */
const keptBytesMax = 1024 * 1024

export async function startPassThrough(
  startup: AgentStartup & { kind: 'startup' },
  { listener: settings }: ConnectionContext,
  signal: AbortSignal,
): Promise<StartedUpstream> {
  const transport = await openAnyTransport(settings, signal)
  const upstream = transport.socket
  upstream.unshift(transport.leftover)
  const fromUpstream = createStartupReader(upstream)
  const giveUp = (): void => void upstream.destroy()
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    upstream.write(startup.bytes)
    const agentAnswers = relayAnswers(startup.reader, (frame) => upstream.write(frame), giveUp)
    const greeting = createGreeting()
    const serverParameters: Record<string, string> = {}
    let { protocolMinor } = startup
    for (;;) {
      const frame = await fromUpstream.takeFrame('backend')
      const body = frame.subarray(headerBytes)
      switch (frame[0]) {
        case type.errorResponse:
          throw new UpstreamRefused(decodeErrorResponse(body), Buffer.from(frame))
        case type.authentication:
          // 0 is AuthenticationOk; the rest asks the agent for an answer and cannot wait.
          if (body.length === 4 && body.readUInt32BE() === 0) greeting.keep(frame)
          else startup.socket.write(withoutChannelBinding(frame))
          break
        case type.backendKeyData:
          greeting.keyComesHere(decodeBackendKeyData(body))
          break
        case type.parameterStatus: {
          const { name, value } = decodeParameterStatus(body)
          serverParameters[name] = value
          greeting.keep(frame)
          break
        }
        case type.readyForQuery: {
          greeting.keep(frame)
          agentAnswers.stop()
          const user = startup.parameters.get('user') ?? ''
          return {
            socket: upstream,
            leftover: fromUpstream.stop(),
            host: transport.host,
            port: transport.port,
            target: transport.target,
            tls: transport.tls,
            protocol: protocolMinor >= 2 ? '3.2' : '3.0',
            user,
            database: startup.parameters.get('database') ?? user,
            processId: greeting.processId,
            cancelKey: greeting.cancelKey,
            serverParameters,
            greeting: greeting.withKey,
          }
        }
        case type.negotiateProtocolVersion:
          // The agent needs it before authentication; it decides how long the agent's cancel key may be.
          protocolMinor = Math.min(protocolMinor, decodeNegotiateProtocolVersion(body).minor)
          startup.socket.write(Buffer.from(frame))
          break
        default:
          // A notice may come at any time.
          if (greeting.hasBegun) greeting.keep(frame)
          else startup.socket.write(Buffer.from(frame))
      }
    }
  } catch (error) {
    upstream.destroy()
    if (error instanceof PeerGone) throw new PeerGone('the database closed the connection during authentication', { cause: error })
    throw error
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}

/** What the database says from AuthenticationOk on: kept until the session's opening is recorded, with another cancel key in place of its own. */
function createGreeting() {
  const kept: Buffer[] = []
  let keptBytes = 0
  let own: { readonly processId: number; readonly key: Buffer; readonly at: number } | null = null
  return {
    /** True once AuthenticationOk has come. */
    get hasBegun() {
      return kept.length > 0
    },
    /** @throws {BadStartup} for a database that says too much before it is ready */
    keep(frame: Buffer): void {
      keptBytes += frame.length
      if (keptBytes > keptBytesMax) throw new BadStartup(`the database sent more than ${keptBytesMax} bytes before it was ready`)
      kept.push(Buffer.from(frame))
    },
    keyComesHere({ processId, key }: { readonly processId: number; readonly key: Buffer }): void {
      own = { processId, key, at: kept.length }
    },
    /** 0, and no bytes, of a database that gave no key. */
    get processId() {
      return own?.processId ?? 0
    },
    get cancelKey() {
      return own?.key ?? Buffer.alloc(0)
    },
    withKey(key: Buffer): Buffer {
      if (own === null) return Buffer.concat(kept)
      return Buffer.concat([...kept.slice(0, own.at), encodeBackendKeyData(own.processId, key), ...kept.slice(own.at)])
    },
  }
}

/**
 * AuthenticationSASL without SCRAM-SHA-256-PLUS, which a server offers over TLS: libpq takes that offer on its own plain connection
 * for a man in the middle, and would be right. Every other message as it came.
 */
function withoutChannelBinding(frame: Buffer): Buffer {
  const request = decodeAuthenticationRequest(frame.subarray(headerBytes))
  if (request.kind !== 'sasl' || !request.mechanisms.includes(scramSha256Plus)) return Buffer.from(frame)
  return encodeAuthenticationSasl(request.mechanisms.filter((name) => name !== scramSha256Plus))
}

/** The first host that takes a connection; what it is can be told only by signing in, which is the agent's own here. */
async function openAnyTransport(listener: ListenerSettings, signal: AbortSignal): Promise<UpstreamConnection> {
  const attempts: Attempt[] = []
  const { upstream: settings } = listener
  for (const host of settings.hosts) {
    try {
      return await openTransport(settings, host, { signal, ...dialOf(listener) })
    } catch (error) {
      if (!(error instanceof UpstreamUnreachable)) throw error
      attempts.push(...error.attempts)
    }
  }
  throw new UpstreamUnreachable(attempts, null)
}

/** Passes the agent's password messages on until stopped; whatever else it sends already is left for the data phase. */
function relayAnswers(reader: StartupReader, forward: (frame: Buffer) => void, giveUp: () => void): { stop(): void } {
  let stopped = false
  const relay = async (): Promise<void> => {
    for (;;) {
      const header = await reader.peek(headerBytes)
      if (stopped || header[0] !== type.passwordMessage) return
      const length = frameLength('frontend', header, 0)
      await reader.peek(length)
      if (stopped) return
      forward(Buffer.from(await reader.take(length)))
    }
  }
  relay().catch(giveUp) // An agent that vanished, or that speaks no protocol, has nothing to sign in for.
  return {
    stop() {
      stopped = true
    },
  }
}
