/**
 * What an agent says before its session begins: whether it wants TLS, who it is, or that it wants something cancelled.
 *
 * Follows PostgreSQL's ProcessStartupPacket: one SSLRequest and one GSSENCRequest may precede the StartupMessage. Nothing said
 * here is recorded. Source: PostgreSQL documentation, "Message Flow", "Start-up" and "SSL Session Encryption".
 */
import type net from 'node:net'
import { BadStartup, decodeStartup, startupLength } from '../postgres/startup-messages.ts'
import { acceptTls } from './agent-tls.ts'
import { createStartupReader, type StartupReader } from './startup-reader.ts'

export type AgentStartup =
  | {
      readonly kind: 'startup'
      readonly socket: net.Socket
      readonly reader: StartupReader
      /** The StartupMessage as it came. */
      readonly bytes: Buffer
      readonly protocolMinor: number
      readonly parameters: ReadonlyMap<string, string>
    }
  | {
      readonly kind: 'cancel'
      readonly socket: net.Socket
      readonly reader: StartupReader
      readonly processId: number
      readonly key: Buffer
    }

const tlsHandshakeByte = 0x16
/** Enough of a first packet to tell a start-up from HTTP and the like. */
const tellingBytes = 8

/**
 * @param offersTls false in pass-through, where SCRAM's channel binding could not cross two TLS connections
 * @throws BadStartup, PeerGone, and what a failed TLS handshake gives; `onSocket` has then been told which socket to close
 */
export async function readAgentStartup(
  accepted: net.Socket,
  { offersTls, onSocket }: { readonly offersTls: boolean; readonly onSocket: (socket: net.Socket) => void },
): Promise<AgentStartup> {
  let socket = accepted
  let reader = createStartupReader(socket)
  let secured = false
  const secure = async (direct: boolean): Promise<void> => {
    const unread = reader.stop()
    if (direct) socket.unshift(unread)
    else if (unread.length > 0) throw new BadStartup('bytes came in the clear behind a request for TLS: somebody may be in between')
    if (!direct) socket.write('S')
    socket = await acceptTls(socket, { direct })
    onSocket(socket)
    reader = createStartupReader(socket)
    secured = true
  }

  if ((await reader.peek(1))[0] === tlsHandshakeByte) {
    if (!offersTls) throw new BadStartup('TLS was begun directly, but this proxy offers none (pass-through)')
    await secure(true)
  }
  let askedTls = false
  let askedGss = false
  for (;;) {
    const length = startupLength(await reader.peek(tellingBytes))!
    const bytes = await reader.take(length)
    const message = decodeStartup(bytes)
    switch (message.kind) {
      case 'ssl-request':
        if (askedTls || secured) throw new BadStartup('TLS was asked for twice')
        askedTls = true
        if (offersTls) await secure(false)
        else socket.write('N')
        break
      case 'gssenc-request':
        if (askedGss || secured) throw new BadStartup('GSSAPI encryption was asked for out of turn')
        if (reader.hasUnread) throw new BadStartup('bytes came in the clear behind a request for encryption: somebody may be in between')
        askedGss = true
        socket.write('N')
        break
      case 'cancel':
        return { kind: 'cancel', socket, reader, processId: message.processId, key: message.key }
      case 'startup':
        return { kind: 'startup', socket, reader, bytes, protocolMinor: message.protocolMinor, parameters: message.parameters }
      default:
        message satisfies never
    }
  }
}
