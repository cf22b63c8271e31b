/** Listening on an address that an operator gave. */
import { once } from 'node:events'
import type net from 'node:net'
import { KnownError, messageOf } from '../base/errors.ts'

export class CannotListen extends KnownError {
  readonly code = 'CANNOT_LISTEN'
  readonly remedy = 'Give another address, or stop what listens there already.'
  readonly safeToRetry = true
}

/** @throws CannotListen */
export async function listen(
  server: net.Server,
  { host, port }: { readonly host: string; readonly port: number },
  backlog?: number,
): Promise<net.AddressInfo> {
  try {
    server.listen({ host, port, ...(backlog === undefined ? {} : { backlog }) })
    await once(server, 'listening')
  } catch (error) {
    throw new CannotListen(`cannot listen on ${host}:${port}: ${messageOf(error)}`, { cause: error })
  }
  return server.address() as net.AddressInfo
}
