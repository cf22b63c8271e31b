/**
 * The way to a database through the relay: names go there as they are written, and nothing is resolved here.
 *
 * One tunnel leads to whichever of a name's addresses the relay reaches first. Where libpq would go through them all (the server that
 * answered is of the wrong kind, or does not take sessions yet) or choose by chance, the relay is asked for the addresses, and each is
 * dialled by itself.
 */
import { isIP } from 'node:net'
import { messageOf } from '../../base/errors.ts'
import { isSocketFolder, shuffle } from '../upstream/addresses.ts'
import type { Dial, PinnedHost, Place } from '../upstream/dial.ts'
import { AttemptFailed } from '../upstream/errors.ts'
import type { RelayClient } from './relay-client.ts'

/** `database`: its name in the policy. */
export function tunnelDial(relay: RelayClient, database: string): Dial {
  const nameOf = (host: PinnedHost): string => host.address ?? host.name

  async function addresses(host: PinnedHost, signal: AbortSignal): Promise<readonly string[]> {
    if (isIP(nameOf(host)) !== 0 || host.pinnedAddress !== undefined) return []
    try {
      const found = await relay.probe({ database, host: nameOf(host), port: host.port }, { signal })
      return found.flatMap(({ address, isReachable }) => (isReachable ? [address] : []))
    } catch (error) {
      if (error instanceof AttemptFailed) return [] // A tunnel that fails for the same reason says it.
      throw error
    }
  }
  const places = (host: PinnedHost, pinned: readonly string[]): Place[] =>
    pinned.map((address) => ({ name: nameOf(host), port: host.port, pinned: address }))

  return {
    async placesOf(host, { signal, shuffled }) {
      if (isSocketFolder(host)) throw new AttemptFailed('network', 'a Unix socket cannot be reached through the relay')
      const found = shuffled ? await addresses(host, signal) : []
      if (found.length > 0) return places(host, shuffle(found))
      return [{ name: nameOf(host), port: host.port, pinned: host.pinnedAddress ?? null }]
    },
    async placesBeside(host, reached, { signal }) {
      if (reached.length === 0) return [] // The relay has tried them all.
      return places(
        host,
        (await addresses(host, signal)).filter((address) => !reached.includes(address)),
      )
    },
    async connect(place, keepalive, { signal }) {
      if (!('name' in place)) throw new AttemptFailed('network', 'the relay is given names, not places')
      try {
        const { socket, address } = await relay.connect({ database, host: place.name, port: place.port }, place.pinned, { signal })
        socket.setKeepAlive(keepalive.enabled, keepalive.idleMilliseconds, keepalive.intervalMilliseconds, keepalive.count)
        return { socket, address, pin: (host) => ({ ...host, pinnedAddress: address }) }
      } catch (error) {
        throw error instanceof AttemptFailed ? error : new AttemptFailed('network', messageOf(error), error)
      }
    },
  }
}
