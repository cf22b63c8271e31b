/**
 * The platform's limit: a Node program that copies bytes between a client and PostgreSQL, and does nothing else.
 *
 * Reads as steno reads: into a reused buffer (`onread`), 16 KiB on the client's side and 64 KiB on the database's, and writes with a direct
 * `socket.write`. With `--tls` the database's side asks for TLS as a libpq client does (SSLRequest) and is then a plain `data` handler, since a
 * TLS socket offers no `onread`. The certificate is not checked, as with `sslmode=require`.
 *
 * Knows nothing of PostgreSQL beyond SSLRequest and one word of the log-in: over TLS a server offers SCRAM-SHA-256-PLUS, which libpq takes for an
 * attack when its own side is plain, so that offer is taken out. Memory: two buffers per connection, and what a peer that does not read leaves in a socket.
 * usage: node node-copy.ts LISTEN_PORT UPSTREAM_PORT [--tls]
 */
import { connect, createServer, Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'

const clientBufferBytes = 16 * 1024
const databaseBufferBytes = 64 * 1024
/** Length 8, then the code 80877103 that stands in a start-up packet's place (PostgreSQL, "Message Formats"). */
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])
const sslAccepted = 'S'.charCodeAt(0)
const channelBindingOffer = Buffer.from('SCRAM-SHA-256-PLUS\0')

const [listenPort, upstreamPort] = process.argv.slice(2, 4).map(Number)
if (!listenPort || !upstreamPort) throw new Error('usage: node node-copy.ts LISTEN_PORT UPSTREAM_PORT [--tls]')
const withTls = process.argv.includes('--tls')

type Reader = { readonly buffer: () => Uint8Array; readonly callback: (bytesRead: number, bytes: Uint8Array) => boolean }

/** Reads into one buffer again and again, replaced only while a slow peer still holds it. */
function reader(bufferBytes: number, peer: () => Socket): Reader {
  let buffer = Buffer.allocUnsafeSlow(bufferBytes)
  return {
    buffer: () => buffer,
    callback(bytesRead, bytes) {
      const to = peer()
      const drained = to.write(bytes.subarray(0, bytesRead))
      if (to.writableLength === 0) return true
      // The kernel did not take everything: this buffer now belongs to the write, and the next read needs another.
      buffer = Buffer.allocUnsafeSlow(bufferBytes)
      return drained
    },
  }
}

/** Reads for a TLS peer, which ends every write later and so would keep the buffer each time: what was read is copied, to reuse the buffer. */
function readerForTls(bufferBytes: number, peer: TLSSocket): Reader {
  const buffer = Buffer.allocUnsafeSlow(bufferBytes)
  return { buffer: () => buffer, callback: (bytesRead) => peer.write(Buffer.from(buffer.subarray(0, bytesRead))) }
}

/** An accepted socket that reads with `onread`. Node offers the option only to sockets that connect, so its handle moves to one made here. */
function takeOver(accepted: Socket, onread: Reader): Socket {
  const owner = accepted as unknown as { _handle: object | null }
  const options = { handle: owner._handle, onread, readable: true, writable: true }
  owner._handle = null
  return new Socket(options as ConstructorParameters<typeof Socket>[0])
}

function join(client: Socket, database: Socket): void {
  for (const [from, to] of [
    [client, database],
    [database, client],
  ] as const) {
    from.setNoDelay(true)
    from.on('drain', () => to.resume())
    from.on('end', () => to.end())
    from.on('error', () => to.destroy())
    from.on('close', () => to.destroySoon())
  }
}

function acceptPlain(accepted: Socket): void {
  let client: Socket | undefined
  const database: Socket = connect({
    port: upstreamPort!,
    host: '127.0.0.1',
    onread: reader(databaseBufferBytes, () => client!),
  })
  database.once('error', () => accepted.destroy())
  database.once('connect', () => {
    client = takeOver(
      accepted,
      reader(clientBufferBytes, () => database),
    )
    join(client, database)
    client.resume()
  })
}

/** The server's first message without the offer of SCRAM-SHA-256-PLUS, if it makes one: the list of mechanisms that AuthenticationSASL is. */
function withoutChannelBinding(message: Buffer): Buffer {
  const at = message.indexOf(channelBindingOffer)
  if (at < 0) return message
  const rest = Buffer.concat([message.subarray(0, at), message.subarray(at + channelBindingOffer.length)])
  rest.writeUInt32BE(rest.length - 1, 1)
  return rest
}

function acceptToTls(accepted: Socket): void {
  const raw = connect(upstreamPort!, '127.0.0.1', () => raw.write(sslRequest))
  raw.setNoDelay(true)
  raw.once('error', () => accepted.destroy())
  raw.once('data', (answer: Buffer) => {
    if (answer.length !== 1 || answer[0] !== sslAccepted) {
      process.stderr.write('the database offers no TLS\n')
      raw.destroy()
      accepted.destroy()
      return
    }
    const database: TLSSocket = connectTls({ socket: raw, rejectUnauthorized: false }, () => {
      const client = takeOver(accepted, readerForTls(clientBufferBytes, database))
      join(client, database)
      const forward = (bytes: Buffer): void => {
        if (!client.write(bytes) && client.writableLength > 0) database.pause()
      }
      database.once('data', (first: Buffer) => {
        client.write(withoutChannelBinding(first))
        database.on('data', forward)
      })
      client.resume()
    })
    database.once('error', () => accepted.destroy())
  })
}

createServer({ pauseOnConnect: true }, withTls ? acceptToTls : acceptPlain).listen(listenPort, '127.0.0.1')
// An orderly end, so that Node keeps the compiled code (NODE_COMPILE_CACHE): with it a start takes 30 MB less.
process.on('SIGTERM', () => process.exit(0))
