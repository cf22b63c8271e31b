/** What control counts, for `/metrics`. Labels are names of stores that exist, methods and codes: never a pod, a key or a session. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { StoreStatus } from './stores.ts'
import type { Uploads } from './uploads.ts'

export type ControlMetrics = ReturnType<typeof createControlMetrics>

export function createControlMetrics({
  registry,
  uploads,
  statuses,
}: {
  readonly registry: Registry
  readonly uploads: Uploads
  readonly statuses: () => readonly StoreStatus[]
}) {
  const registers = [registry]
  const requests = new Counter({
    ...{ name: 'steno_control_requests_total', help: 'Requests answered, by method and HTTP status.', registers },
    labelNames: ['method', 'status'],
  })
  const refusals = new Counter({
    ...{ name: 'steno_control_refusals_total', help: 'Requests that were not served, by code (docs/shared-store.md).', registers },
    labelNames: ['code'],
  })
  const cut = new Counter({
    ...{
      name: 'steno_control_connections_cut_total',
      help: 'Connections of addresses that have or open too many, cut off before TLS.',
      registers,
    },
  })
  const stored = new Counter({
    ...{ name: 'steno_control_objects_stored_total', help: 'Objects put into a RecordingStore.', registers },
    labelNames: ['store'],
  })
  const storedBytes = new Counter({
    ...{ name: 'steno_control_stored_bytes_total', help: 'Bytes of these objects.', registers },
    labelNames: ['store'],
  })
  const putSeconds = new Histogram({
    ...{ name: 'steno_control_put_seconds', help: 'How long the store took for one put.', registers },
    ...{ labelNames: ['store'], buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 30] },
  })
  // Gauges that are asked when they are read.
  const asked = (name: string, help: string, read: () => number): Gauge =>
    new Gauge({
      ...{ name, help, registers },
      collect() {
        this.set(read())
      },
    })
  asked('steno_control_uploads_in_progress', 'Uploads that are held in memory.', () => uploads.running)
  asked('steno_control_uploads_waiting', 'Uploads that wait for their turn.', () => uploads.waiting)
  asked('steno_control_upload_bytes_held', 'Bytes reserved for uploads.', () => uploads.bytesHeld)
  const reachable = new Gauge({
    ...{ name: 'steno_control_store_reachable', help: '1: the store answers and was proven to overwrite nothing; else 0.', registers },
    labelNames: ['store', 'reason'],
    collect() {
      this.reset()
      for (const { name, isReachable, reason } of statuses()) this.set({ store: name, reason }, isReachable === true ? 1 : 0)
    },
  })

  return {
    registry,
    reachable,
    answered: (method: string, status: number): void => requests.inc({ method: methods.includes(method) ? method : 'other', status }),
    refused: (code: string): void => refusals.inc({ code }),
    cut: (): void => cut.inc(),
    put(store: string, seconds: number): void {
      putSeconds.observe({ store }, seconds)
    },
    stored(store: string, bytes: number): void {
      stored.inc({ store })
      storedBytes.inc({ store }, bytes)
    },
  }
}

const methods = ['GET', 'HEAD', 'PUT', 'DELETE', 'POST']
