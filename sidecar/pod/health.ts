/**
 * What the kubelet and Prometheus ask of a sidecar: `/startz`, `/readyz`, `/healthz`, `/metrics`, and `/ship` (the preStop hook).
 *
 * On all of the pod's addresses, since probes come from the node. None of the answers waits for the store for longer than a second.
 */
import type { IncomingMessage } from 'node:http'
import type { Log } from '../../base/log.ts'
import { systemCodeOf } from '../../base/errors.ts'
import type { ClosedWay } from '../closed-way/closed-way.ts'
import { startMetricsServer, type MetricsServer, type TextAnswer } from '../metrics-server.ts'
import type { Recorder } from '../recorder.ts'
import type { Address } from '../settings.ts'
import { createShipping, type ShippingLimits } from './shipping.ts'
import { isOwnAddress, type Termination } from './termination.ts'

/** As prom-client has it; the library is loaded when somebody asks. */
const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'
const shippingLimits: ShippingLimits = {
  intervalMilliseconds: 5_000, // As old as records grow before they are sealed anyway.
  waitMillisecondsMax: 1_000,
  hastenMilliseconds: 60_000, // As long as most grace periods and longer.
  hastenAgainMilliseconds: 6 * 60_000,
}
const unspecified = { ipv6: '::', ipv4: '0.0.0.0' } as const

/** `listen` null: on all addresses, at `port`. @throws CannotListen */
export async function startHealthServer(
  recorder: Recorder,
  {
    listen,
    port,
    termination,
    closedWay,
    log,
  }: {
    readonly listen: Address | null
    readonly port: number
    readonly termination: Pick<Termination, 'begins'>
    readonly closedWay: Pick<ClosedWay, 'reasonsNotStarted' | 'reasonsNotReady'>
    readonly log: Log
  },
): Promise<MetricsServer> {
  const shipping = createShipping(recorder, shippingLimits)
  const ship = ({ socket }: IncomingMessage): Promise<TextAnswer> => {
    const fromPod = isOwnAddress(socket.remoteAddress)
    if (!fromPod) termination.begins()
    return shipping.ask({ fromPod })
  }
  const serve = (address: Address): Promise<MetricsServer> =>
    startMetricsServer({
      listen: address,
      metrics: { contentType: metricsContentType, text: () => recorder.metricsText() },
      reasonsNotReady: () => [...recorder.reasonsNotReady(), ...closedWay.reasonsNotReady()],
      routes: { '/startz': () => answerOf([...recorder.reasonsNotRecording(), ...closedWay.reasonsNotStarted()]), '/ship': ship },
    })
  if (listen !== null) return serve(listen)
  try {
    return await serve({ host: unspecified.ipv6, port }) // Takes IPv4 too.
  } catch (error) {
    const code = error instanceof Error ? systemCodeOf(error.cause) : undefined
    if (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL') throw error
    log.debug('this machine has no IPv6, and probes are answered over IPv4 alone')
    return serve({ host: unspecified.ipv4, port })
  }
}

function answerOf(reasons: readonly string[]): TextAnswer {
  return reasons.length === 0 ? { status: 200, text: 'ok\n' } : { status: 503, text: `${reasons.join('\n')}\n` }
}
