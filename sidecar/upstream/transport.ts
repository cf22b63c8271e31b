/**
 * From an address to a wire: connects, and negotiates TLS as sslmode says. Nothing is authenticated here.
 *
 * Source: PostgreSQL documentation, "SSL Session Encryption" and "Protection Provided in Different Modes".
 */
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { encodeSslRequest } from '../../postgres/startup-messages.ts'
import { isSocketFolder } from './addresses.ts'
import type { Dial, Place } from './dial.ts'
import { AttemptFailed } from './errors.ts'
import { createFrameReader } from './frame-reader.ts'
import { loadTls } from './tls-files.ts'
import { connectWire, wrapTls } from './wire.ts'
import type { Wire } from './wire.ts'

/** `offered` takes TLS when the server has it and goes on plain when it says no. */
export type Encryption = 'plain' | 'offered' | 'required'

/** What to try in turn: libpq goes on to the second when the first fails in its handshake, or is refused by the server's rules. */
export function encryptionsOf(settings: ConnectionSettings, host: UpstreamHost): readonly Encryption[] {
  if (isSocketFolder(host)) return ['plain']
  switch (settings.tls.mode) {
    case 'disable':
      return ['plain']
    case 'allow':
      return ['plain', 'required']
    case 'prefer':
      return ['offered', 'plain']
    case 'require':
    case 'verify-ca':
    case 'verify-full':
      return ['required']
    default:
      return settings.tls.mode satisfies never
  }
}

/** @throws AttemptFailed, TlsFilesUnusable */
export async function openWire(
  settings: ConnectionSettings,
  host: UpstreamHost,
  place: Place,
  encryption: Encryption,
  options: { readonly signal: AbortSignal; readonly dial: Dial },
): Promise<Wire> {
  // Before connecting: a missing file should not cost the server a connection.
  const files = encryption === 'plain' ? null : await loadTls(settings.tls)
  const wire = await connectWire(place, settings.keepalive, options)
  if (files === null) return wire
  try {
    if (settings.tls.negotiation === 'direct') return await wrapTls(wire, host, settings.tls, files, options)
    const reader = createFrameReader(wire)
    wire.socket.write(encodeSslRequest())
    const answer = await reader.byte()
    // Bytes that came before the handshake were not encrypted: somebody in between wants them taken for the server's (CVE-2021-23222).
    if (answer === 'S' && reader.bufferedBytes > 0)
      throw new AttemptFailed('tls', 'unencrypted bytes came behind the agreement on TLS: somebody may be in between')
    reader.release()
    if (answer === 'S') return await wrapTls(wire, host, settings.tls, files, options)
    // What an ErrorResponse says here is not shown: nobody vouches for it yet.
    if (answer === 'E') throw new AttemptFailed('tls', 'the server answered the request for TLS with an error')
    if (answer !== 'N')
      throw new AttemptFailed('protocol', 'this is no PostgreSQL server: it answered the request for TLS with neither yes nor no')
    if (reader.bufferedBytes > 0) throw new AttemptFailed('protocol', 'the server sent bytes that nobody asked for')
    if (encryption === 'required')
      throw new AttemptFailed(
        'tls',
        `the server does not offer TLS, which sslmode=${settings.tls.mode} demands: switch TLS on there, or ask for less (sslmode=prefer or disable) where the way to it is safe`,
      )
    return wire
  } catch (error) {
    wire.release()
    wire.socket.destroy()
    throw error
  }
}
