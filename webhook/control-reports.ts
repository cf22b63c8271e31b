/**
 * How the webhook knows that control still says something: control renews a Lease (coordination.k8s.io/v1), as a kubelet does for its node.
 *
 * What stands in a RecordingStore's status is only as good as who wrote it is alive. No clock is compared with another machine's: control
 * is silent when the Lease was seen unchanged for long. Of two controls each renews the same one: it says that there is one at all.
 */
import { messageOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { ClusterClient } from '../cluster/client.ts'
import { ClusterRefused, isRefusal } from '../cluster/errors.ts'
import { pause } from '../cluster/pause.ts'
import { apiVersionOf, pathOf, resources } from '../cluster/resources.ts'

export type ReportTiming = {
  /** Between two renewals, and two looks. */
  readonly beatMilliseconds: number
  readonly silenceMillisecondsMax: number
}

export const standardReportTiming: ReportTiming = { beatMilliseconds: 30_000, silenceMillisecondsMax: 180_000 }

/** Of the Lease, in steno's namespace. */
const name = 'steno-control'
const requestMillisecondsMax = 10_000

type Lease = { readonly metadata?: { readonly resourceVersion?: string }; readonly spec?: object }

type At = { readonly cluster: Pick<ClusterClient, 'request'>; readonly namespace: string; readonly log: Log; readonly signal: AbortSignal }

/** Control's side. `onBeat` is called at each renewal: what control found is to be said again, for somebody may have changed it. Never rejects. */
export async function keepReporting(
  options: At & { readonly instance: string; readonly onBeat: () => void; readonly timing?: ReportTiming },
): Promise<void> {
  const { cluster, namespace, instance, log, signal, onBeat, timing = standardReportTiming } = options
  const path = pathOf(resources.leases, { namespace, name })

  async function renew(): Promise<void> {
    const lease = await readLease(options)
    const renewTime = new Date().toISOString().replace('Z', '000Z') // MicroTime.
    const seconds = Math.ceil(timing.silenceMillisecondsMax / 1000)
    const body = {
      ...{ apiVersion: apiVersionOf(resources.leases), kind: resources.leases.kind },
      metadata: { name, namespace, ...(lease === null ? {} : { resourceVersion: lease.metadata?.resourceVersion }) },
      spec: { holderIdentity: instance, leaseDurationSeconds: seconds, renewTime },
    }
    const common = { body, timeoutMilliseconds: requestMillisecondsMax }
    if (lease === null) await cluster.request({ method: 'POST', path: pathOf(resources.leases, { namespace }), ...common })
    else await cluster.request({ method: 'PUT', path, ...common })
  }

  while (!signal.aborted) {
    try {
      await renew()
    } catch (error) {
      const isOthers = isRefusal(error, 'Conflict') || isRefusal(error, 'AlreadyExists')
      if (!isOthers) log.warn({ lease: name, error: messageOf(error) }, 'control cannot say that it is there; trying again')
    }
    onBeat()
    await pause(timing.beatMilliseconds, signal)
  }
}

export type ControlReports = { isSilent(): boolean }

/** The webhook's side, until the signal. `onChange` is called when control falls silent and when it is heard again. */
export function watchReports(options: At & { readonly onChange: () => void; readonly timing?: ReportTiming }): ControlReports {
  const { log, signal, onChange, timing = standardReportTiming } = options
  let heard = { text: '', at: performance.now() }
  let isSilent = false

  async function look(): Promise<void> {
    try {
      const text = JSON.stringify((await readLease(options))?.spec ?? {})
      if (text !== heard.text) heard = { text, at: performance.now() }
    } catch (error) {
      // Nothing is known then, of control as little as of anything else; and without the right to look nothing ever is.
      if (error instanceof ClusterRefused && error.status === 403) heard = { ...heard, at: performance.now() }
      log.warn({ lease: name, error: messageOf(error) }, 'whether control is there cannot be seen; trying again')
    }
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await look()
      const isSilentNow = performance.now() - heard.at > timing.silenceMillisecondsMax
      if (isSilentNow !== isSilent) {
        isSilent = isSilentNow
        log[isSilent ? 'warn' : 'info']({ lease: name }, isSilent ? 'control has fallen silent' : 'control is heard again')
        onChange()
      }
      await pause(timing.beatMilliseconds, signal)
    }
  }

  void run()
  return { isSilent: () => isSilent }
}

/** Null when there is none. */
async function readLease({ cluster, namespace, signal }: At): Promise<Lease | null> {
  try {
    const path = pathOf(resources.leases, { namespace, name })
    return await cluster.request<Lease>({ method: 'GET', path, timeoutMilliseconds: requestMillisecondsMax, signal })
  } catch (error) {
    if (isRefusal(error, 'NotFound')) return null
    throw error
  }
}
