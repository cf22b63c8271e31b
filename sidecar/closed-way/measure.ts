/**
 * One measurement of one database: does the relay reach it, and can this pod reach it past the relay?
 *
 * Closed: no address takes a direct connection while the relay reaches one. Open: one took it, which is told at once, whatever the relay
 * says. Unknown: neither. Addresses are those that the relay resolves; what it said last is tried while it is asked, and when it does
 * not answer. Held per host: 16 addresses, which is all that the relay gives; of more it gives others each time. Of many hosts the first, which
 * the connection string names, are measured each time and the others in turn; of a pattern those alone that connection strings name.
 *
 * Not known: the relay shares its own answer among all who ask for up to 5 s, so a server that ends within that time can look Closed once.
 */
import { isIP } from 'node:net'
import { messageOf } from '../../base/errors.ts'
import type { RelayClient } from '../tunnel/relay-client.ts'
import type { DirectOutcome, DirectTry } from './direct-tries.ts'

export type WayTarget = {
  /** The database's name in the policy. */
  readonly database: string
  /** Names or addresses; no patterns. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
}

export type Measured =
  | { readonly state: 'Closed'; readonly addresses: readonly string[] }
  /** `through`: the address and port that took a connection. */
  | { readonly state: 'Open'; readonly addresses: readonly string[]; readonly through: string }
  | { readonly state: 'Unknown'; readonly addresses: readonly string[]; readonly why: string }

const addressesMax = 16
/** In one measurement. */
const triesMax = 64
const hostsMax = 8
const hostsAlways = 4

/** `onOpen` is called when the first address takes a connection, before the rest is known. Never throws. */
export type Measure = (target: WayTarget, options: { readonly onOpen: (through: string) => void }) => Promise<Measured>

export function createMeasure({
  relay,
  tryDirectly,
}: {
  readonly relay: Pick<RelayClient, 'probe'>
  readonly tryDirectly: DirectTry
}): Measure {
  /** By `host port`, what the relay said last. */
  const said = new Map<string, readonly string[]>()
  /** By database, how many hosts had their turn, and the one that was found open last, which keeps its turn. */
  const turns = new Map<string, number>()
  const open = new Map<string, string>()

  function hostsOf({ database, hosts }: WayTarget): WayTarget['hosts'] {
    if (hosts.length <= hostsMax) return hosts
    const others = hosts.slice(hostsAlways)
    const at = (turns.get(database) ?? 0) % others.length
    turns.set(database, at + hostsMax - hostsAlways)
    const inTurn = [...others.slice(at), ...others.slice(0, at)]
    const wasOpen = inTurn.filter(({ host, port }) => open.get(database) === `${host} ${port}`)
    return [...new Set([...hosts.slice(0, hostsAlways), ...wasOpen, ...inTurn.slice(0, hostsMax - hostsAlways)])]
  }

  return async (target, { onOpen }) => {
    const { database } = target
    const outcomes = new Map<string, Promise<DirectOutcome>>()
    const addresses = new Set<string>()
    let through: string | null = null
    const noteOpen = async (name: string, key: string, trying: Promise<DirectOutcome>): Promise<DirectOutcome> => {
      const outcome = await trying
      if (outcome === 'connected' && through === null) {
        through = name
        open.set(database, key)
        onOpen(name)
      }
      return outcome
    }
    const tryAll = (found: readonly string[], key: string, port: number): void => {
      for (const address of found) {
        const name = nameOf(address, port)
        if (outcomes.has(name) || outcomes.size >= triesMax) continue
        addresses.add(address)
        outcomes.set(name, noteOpen(name, key, tryDirectly(address, port)))
      }
    }
    let isReached = false
    const reasons: string[] = []
    const ask = async (host: string, port: number): Promise<void> => {
      const key = `${host} ${port}`
      tryAll(isIP(host) === 0 ? (said.get(key) ?? []) : [host], key, port)
      try {
        const answered = await relay.probe({ database, host, port }, { signal: neverAborted })
        const found = answered.slice(0, addressesMax)
        said.set(
          key,
          found.map(({ address }) => address),
        )
        tryAll(said.get(key)!, key, port)
        if (found.some(({ address, isReachable }) => isReachable && outcomes.has(nameOf(address, port)))) isReached = true
        else reasons.push(`the relay reaches no address of ${host}:${port}`)
      } catch (error) {
        reasons.push(messageOf(error))
      }
    }
    await Promise.all(hostsOf(target).map(({ host, port }) => ask(host, port)))
    const results = await Promise.all(outcomes.values())
    const tried = [...addresses]
    if (through !== null) return { state: 'Open', addresses: tried, through }
    open.delete(database)
    if (results.includes('undecided')) return { state: 'Unknown', addresses: tried, why: 'this process could not open a connection' }
    if (!isReached) return { state: 'Unknown', addresses: tried, why: [...new Set(reasons)].join('; ') }
    return { state: 'Closed', addresses: tried }
  }
}

const nameOf = (address: string, port: number): string => (isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`)

const neverAborted = new AbortController().signal
