/**
 * A look at the certificate that a PostgreSQL server shows, without judging it: whether it is good enough for the connection string is judged
 * by steno's own way to the database. Sends nothing but the request for TLS and the handshake.
 */
import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { encodeSslRequest } from '../../postgres/startup-messages.ts'

export type Shown =
  | { readonly kind: 'no TLS' }
  | { readonly kind: 'certificate'; readonly subject: string; readonly validFrom: Date; readonly validTo: Date; readonly protocol: string }

type Server = { readonly address: string; readonly port: number; readonly name: string; readonly negotiation: 'postgres' | 'direct' }

/** @throws what the socket or the handshake says */
export async function lookAtCertificate({ address, port, name, negotiation }: Server, signal: AbortSignal): Promise<Shown> {
  const socket = net.connect({ host: address, port })
  // What comes while nobody waits, as after the time was up, is told by `close`.
  socket.on('error', () => undefined)
  const stop = (): void => void socket.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    await once(socket, 'connect', { signal })
    if (negotiation === 'postgres') {
      socket.write(encodeSslRequest())
      const [answer] = (await once(socket, 'data', { signal })) as [Buffer]
      if (answer.toString('latin1') === 'N') return { kind: 'no TLS' }
      if (answer.toString('latin1') !== 'S')
        throw new Error('this is no PostgreSQL server: it answered the request for TLS with neither yes nor no')
    }
    const secured = tls.connect({
      socket,
      rejectUnauthorized: false, // Nothing is sent; an expired certificate is to be seen as well.
      ALPNProtocols: ['postgresql'],
      servername: net.isIP(name) === 0 ? name : '',
    })
    secured.on('error', () => undefined)
    await once(secured, 'secureConnect', { signal })
    const certificate = secured.getPeerX509Certificate()
    const protocol = secured.getProtocol() ?? 'TLS'
    secured.destroy()
    if (certificate === undefined) throw new Error('the server shows no certificate')
    return {
      kind: 'certificate',
      subject: certificate.subject.replaceAll('\n', ', '),
      validFrom: new Date(certificate.validFrom),
      validTo: new Date(certificate.validTo),
      protocol,
    }
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}
