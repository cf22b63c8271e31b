/** A TCP server of a test's own on a free port; disposal cuts off every connection that it knows of. */
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'

export type TcpListener = AsyncDisposable & { readonly host: string; readonly port: number }

/** `track` is for sockets that the caller opens on behalf of a connection: they end with the listener too. Errors of tracked sockets are theirs alone. */
export async function startTcpListener(
  options: net.ServerOpts,
  onConnection: (socket: net.Socket, track: (other: net.Socket) => void) => void,
): Promise<TcpListener> {
  const sockets = new Set<net.Socket>()
  const track = (socket: net.Socket): void => {
    sockets.add(socket)
    socket.on('error', () => undefined) // `close` follows it.
    socket.on('close', () => sockets.delete(socket))
  }
  const listener = net.createServer(options, (socket) => {
    track(socket)
    onConnection(socket, track)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { address, port } = listener.address() as AddressInfo
  return {
    host: address,
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}
