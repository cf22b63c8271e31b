/**
 * Where a host of the connection string may be found: its socket path, its given address, or all that the name resolves to.
 */
import { randomInt } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { messageOf } from '../../base/errors.ts'
import type { UpstreamHost } from '../../postgres/connection-string.ts'
import type { Place } from './dial.ts'
import { AttemptFailed } from './errors.ts'

export const isSocketFolder = (host: UpstreamHost): boolean => host.address === null && /^[/@]/.test(host.name)

type LookUp = (name: string, options: { readonly all: true }) => Promise<readonly { readonly address: string }[]>

/** @throws AttemptFailed when the name does not resolve, or `signal` ends the wait */
export async function placesOf(
  host: UpstreamHost,
  { signal, shuffled, lookUp = lookup }: { readonly signal: AbortSignal; readonly shuffled: boolean; readonly lookUp?: LookUp },
): Promise<Place[]> {
  const { port } = host
  if (isSocketFolder(host)) {
    const path = `${host.name}/.s.PGSQL.${port}`
    return [{ path: path.startsWith('@') ? `\0${path.slice(1)}` : path }]
  }
  const address = host.address ?? host.name
  if (isIP(address) !== 0) return [{ address, port }]
  if (host.address !== null) throw new AttemptFailed('network', 'hostaddr is not an IP address')
  try {
    const name = host.isWhole === true && !address.endsWith('.') ? `${address}.` : address
    const found = await Promise.race([lookUp(name, { all: true }), aborted(signal)])
    const places = found.map((entry) => ({ address: entry.address, port }))
    return shuffled ? shuffle(places) : places
  } catch (error) {
    throw new AttemptFailed('network', `the name does not resolve: ${messageOf(error)}`, error)
  }
}

/** A fair shuffle in a copy. */
export function shuffle<Item>(items: readonly Item[]): Item[] {
  const result = [...items]
  for (let last = result.length - 1; last > 0; last--) {
    const chosen = randomInt(last + 1)
    ;[result[last], result[chosen]] = [result[chosen]!, result[last]!]
  }
  return result
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
