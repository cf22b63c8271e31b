/**
 * A pod's way to its databases: through the relay where the policy names one, and then measured against the direct one.
 */
import { isIP } from 'node:net'
import type { Log } from '../../base/log.ts'
import { SidecarConfigInvalid, type Listener, type SidecarConfig } from '../../crds/sidecar-config.ts'
import { ControlTrustMissing } from '../../session/stores/control.ts'
import { createClosedWay, type ClosedWay } from '../closed-way/closed-way.ts'
import { createDirectTries } from '../closed-way/direct-tries.ts'
import { createMeasure, type WayTarget } from '../closed-way/measure.ts'
import { notEnforced } from '../closed-way/not-enforced.ts'
import type { ListenerSettings } from '../settings.ts'
import { tunnelDial } from '../tunnel/dial.ts'
import { createRelayClient, type RelayClient } from '../tunnel/relay-client.ts'

export type PodWay = {
  readonly closedWay: ClosedWay
  /** Listeners, in the order of the configuration's, that go this way. */
  through(listeners: readonly ListenerSettings[]): ListenerSettings[]
  /** What a policy changed: `listeners` belong to `config.listeners`, one to one. */
  change(config: Pick<SidecarConfig, 'listeners' | 'enforcement'>, listeners: readonly ListenerSettings[]): void
}

type PodWayOptions = {
  /** One to one with the configuration's. */
  readonly listeners: readonly ListenerSettings[]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly log: Log
}

/** Connects to nothing yet. @throws SidecarConfigInvalid, ControlTrustMissing */
export function createPodWay(config: SidecarConfig, { listeners, environment, log }: PodWayOptions): PodWay {
  const relay = config.relay === null ? null : relayOf(config.relay.endpoint, environment)
  const { enforcement } = config
  const names = config.listeners.map(({ database }) => database)
  const closedWay =
    enforcement.mode === 'CredentialsOnly'
      ? notEnforced()
      : createClosedWay({
          targets: targetsOf(config.listeners, listeners),
          onOpenPath: enforcement.onOpenPath,
          measure: createMeasure({ relay: needed(relay), tryDirectly: createDirectTries() }),
          log,
        })
  return {
    closedWay,
    through: (given) =>
      given.map((listener, at) => ({
        ...listener,
        ...(relay === null ? {} : { dial: tunnelDial(relay, names[at]!) }),
        admit: (options) => closedWay.admit(names[at]!, options),
      })),
    change: (changed, given) =>
      closedWay.change({ targets: targetsOf(changed.listeners, given), onOpenPath: changed.enforcement.onOpenPath }),
  }
}

function relayOf(endpoint: string, environment: PodWayOptions['environment']): RelayClient {
  const caPem = environment['STENO_CONTROL_CA'] ?? ''
  if (caPem === '') throw new ControlTrustMissing('STENO_CONTROL_CA is not set, so the relay’s certificate cannot be checked')
  const tokenFile = environment['STENO_RELAY_TOKEN_FILE']
  return createRelayClient({ endpoint, caPem, ...(tokenFile === undefined ? {} : { tokenFile }) })
}

function needed(relay: RelayClient | null): RelayClient {
  if (relay === null) throw new SidecarConfigInvalid('relay', 'is null, and enforcement.mode is Relay')
  return relay
}

/** The hosts of the connection strings, and what else the policy names in full: the agent might go to any of them. */
export function targetsOf(named: readonly Listener[], listeners: readonly ListenerSettings[]): WayTarget[] {
  const targets = new Map<string, Map<string, { readonly host: string; readonly port: number }>>()
  for (const [at, { database, allowed }] of named.entries()) {
    const hosts = targets.get(database) ?? new Map<string, { readonly host: string; readonly port: number }>()
    targets.set(database, hosts)
    const add = (host: string, port: number): void => void hosts.set(`${host} ${port}`, { host, port })
    for (const { name, address, port } of listeners[at]?.upstream.hosts ?? []) add(plain(address ?? name), port)
    for (const host of allowed.hosts.map(plain)) if (isIP(host) !== 0 || !host.includes('*')) add(host, allowed.port)
  }
  return [...targets].map(([database, hosts]) => ({ database, hosts: [...hosts.values()] }))
}

/** One spelling of a name, without the brackets that policies may write around IPv6. */
const plain = (host: string): string => host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
