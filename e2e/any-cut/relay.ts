/**
 * A TCP relay for tests: passes bytes between a client and a server on this machine, cut as a test wants, and shows them to it.
 *
 * Pieces of the server's bytes go out in writes of their own with a pause between, so that the reader gets them in reads of their own.
 */
import net from 'node:net'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { startTcpListener, type TcpListener } from '../support/tcp-listener.ts'

/** Where to cut the server's bytes: `chunk` begins at `offset` of the connection's stream. Gives the pieces, which make up `chunk`. */
export type Cutter = (chunk: Buffer, offset: number) => readonly Buffer[]

export type RelayOptions = {
  readonly target: { readonly host: string; readonly port: number }
  readonly cut?: () => Cutter
  /** Between two pieces. 0 is one turn of the event loop. */
  readonly pauseMilliseconds?: () => number
  readonly tap?: (side: 'client' | 'server', bytes: Buffer) => void
}

export async function startRelay(options: RelayOptions): Promise<TcpListener> {
  return startTcpListener({ noDelay: true, allowHalfOpen: true }, (client, track) => {
    const server = net.connect({ ...options.target, noDelay: true, allowHalfOpen: true })
    track(server)
    client.on('data', (chunk: Buffer) => {
      options.tap?.('client', chunk)
      server.write(chunk)
    })
    client.on('end', () => server.end())
    client.on('close', () => server.destroy())
    const cut: Cutter = options.cut?.() ?? ((chunk) => [chunk])
    let offset = 0
    let last = Promise.resolve()
    server.on('data', (chunk: Buffer) => {
      options.tap?.('server', chunk)
      const pieces = cut(chunk, offset)
      offset += chunk.length
      last = writeBehind(last, client, pieces, options)
    })
    server.on('end', () => void last.then(() => client.end()))
    server.on('close', () => void last.then(() => client.destroySoon()))
  })
}

async function writeBehind(before: Promise<void>, client: net.Socket, pieces: readonly Buffer[], options: RelayOptions): Promise<void> {
  await before
  for (const piece of pieces) {
    client.write(piece)
    const milliseconds = pieces.length === 1 ? 0 : (options.pauseMilliseconds?.() ?? 0)
    await (milliseconds > 0 ? sleep(milliseconds) : turn())
  }
}
