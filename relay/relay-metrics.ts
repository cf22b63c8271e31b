/** What the relay counts, for `/metrics`. Labels are codes, kinds and directions: never a pod, a host or a database. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { refusals, type RefusalCode } from './refusal.ts'
import { endKinds, type EndKind } from './splice.ts'

export type RelayMetrics = ReturnType<typeof createRelayMetrics>

export type Counts = {
  readonly tunnels: number
  readonly bytesToDatabase: number
  readonly bytesToPod: number
}

export function createRelayMetrics({
  registry,
  counts,
  connections,
}: {
  readonly registry: Registry
  /** Asked when the metrics are. Bytes only rise. */
  readonly counts: () => Counts
  readonly connections: () => number
}) {
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> =>
    new Counter({ name, help, registers, labelNames: [...labelNames] })
  const opened = counter('steno_relay_tunnels_opened_total', 'Tunnels that were opened.')
  const closed = counter('steno_relay_tunnels_closed_total', 'Tunnels that ended, by what ended them.', ['kind'])
  const refused = counter('steno_relay_refusals_total', 'Requests that were not served, by code (docs/relay.md).', ['code'])
  const cut = counter('steno_relay_connections_cut_total', 'Connections of addresses that have too many, cut off before their handshake.')
  const handshakes = counter('steno_relay_handshakes_failed_total', 'TLS handshakes that failed.')
  const probes = counter('steno_relay_probes_total', 'Probes that were answered.')
  for (const kind of endKinds) closed.inc({ kind }, 0)
  for (const code of Object.keys(refusals)) refused.inc({ code }, 0)
  const connectSeconds = new Histogram({
    ...{ name: 'steno_relay_connect_seconds', help: 'From a request to its tunnel: token, pod, name and connection.', registers },
    buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  })
  const asked = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read())
      },
    })
  asked('steno_relay_tunnels', 'Tunnels that are open.', () => counts().tunnels)
  asked('steno_relay_connections', 'Connections that are open, tunnels and others.', connections)
  const bytes: Counter<'direction'> = new Counter({
    ...{ name: 'steno_relay_bytes_total', help: 'Bytes that passed, by direction.', registers, labelNames: ['direction'] },
    collect() {
      const { bytesToDatabase, bytesToPod } = counts()
      bytes.reset()
      bytes.inc({ direction: 'to_database' }, bytesToDatabase)
      bytes.inc({ direction: 'to_pod' }, bytesToPod)
    },
  })
  return {
    opened(seconds: number): void {
      opened.inc()
      connectSeconds.observe(seconds)
    },
    closed: (kind: EndKind): void => closed.inc({ kind }),
    refused: (code: RefusalCode): void => refused.inc({ code }),
    cut: (): void => cut.inc(),
    handshakeFailed: (): void => handshakes.inc(),
    probed: (): void => probes.inc(),
  }
}
