/**
 * The listeners of a recorder: each database at its own addresses, all open before any agent is served, all closed together.
 *
 * Knows nothing of what is said there; `connection.ts` serves each connection.
 */
import net from 'node:net'
import { systemCodeOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { ConnectionContext } from './connection.ts'
import { listen } from './listen.ts'
import type { Address } from './settings.ts'

export type Listeners = {
  /** For each listener the first of its addresses that is open. */
  readonly addresses: readonly Address[]
  /** Takes no more connections; those there are go on. */
  close(): void
}

/** Agents connect in bursts; the kernel cuts this to its own limit. */
const acceptBacklog = 4096
/** What a machine without IPv6, or a container for which it is switched off, says of ::1. */
const familyMissing = ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EPROTONOSUPPORT', 'EINVAL']

/** @throws CannotListen; then nothing is left open */
export async function openListeners(
  contexts: readonly ConnectionContext[],
  accept: (socket: net.Socket, context: ConnectionContext) => void,
  { log }: { readonly log: Log },
): Promise<Listeners> {
  const servers: net.Server[] = []
  const close = (): void => {
    for (const server of servers) server.close()
  }
  try {
    const addresses: Address[] = []
    for (const context of contexts) {
      const open: Address[] = []
      for (const { host, port, optional } of context.listener.addresses) {
        // Kept alive as PostgreSQL does it: an agent whose machine is gone says nothing, and its session would stay for good.
        const server = net.createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true }, (socket) =>
          accept(socket, context),
        )
        try {
          const address = await listen(server, { host, port }, acceptBacklog)
          servers.push(server)
          open.push({ host: address.address, port: address.port })
        } catch (error) {
          if (optional !== true || !(error instanceof Error) || !familyMissing.includes(systemCodeOf(error.cause) ?? '')) throw error
          log.debug({ host, port }, 'this machine has no such address, and nothing is listened for there')
        }
      }
      addresses.push(open[0]!)
    }
    return { addresses, close }
  } catch (error) {
    close()
    throw error
  }
}
