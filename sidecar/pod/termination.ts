/**
 * How much time a sidecar has when it is told to end.
 *
 * A pod's termination begins with the preStop hooks, and the agent's containers get SIGTERM. The sidecar gets its own when they have ended
 * or the grace period is used up, and from then on what is left of that, two seconds at the least. Its hook, GET /ship from the node, is how
 * it knows when all this began; the latest counts, so that a caller outside the pod who is not the kubelet can only make it believe that it
 * has more time, never that it has less. Calls of the pod's own processes say nothing of time.
 *
 * Not known: a deletion with a grace period of its own (`kubectl delete --grace-period`), which leaves less time or more.
 * Source: Kubernetes, pkg/kubelet/kuberuntime/kuberuntime_container.go, killContainer and minimumGracePeriodInSeconds.
 */
import { networkInterfaces } from 'node:os'

/** What the kubelet leaves a container whatever was used up before. */
const leftMillisecondsMin = 2_000
/** For writing down what is left, and for a signal that was late. */
const reserve = { share: 0.1, millisecondsMax: 500 } as const

export function createTermination({
  graceMilliseconds,
  now = () => performance.now(),
}: {
  readonly graceMilliseconds: number
  readonly now?: () => number
}) {
  let begunAt: number | null = null
  return {
    /** To be called when something outside the pod asks for /ship. */
    begins(): void {
      begunAt = now()
    },
    /** Asked at SIGTERM: how long the sidecar may take to end in order. `usedMilliseconds` is null when nobody told the beginning. */
    left(): { readonly withinMilliseconds: number; readonly usedMilliseconds: number | null } {
      const used = begunAt === null ? null : now() - begunAt
      // A beginning that is longer ago was none: this process would have been killed.
      const usedMilliseconds = used !== null && used <= graceMilliseconds + leftMillisecondsMin ? Math.round(used) : null
      const left = Math.max(leftMillisecondsMin, graceMilliseconds - (usedMilliseconds ?? 0))
      return { withinMilliseconds: left - Math.min(left * reserve.share, reserve.millisecondsMax), usedMilliseconds }
    },
  }
}

export type Termination = ReturnType<typeof createTermination>

/** Whether a connection that comes from `address` was made by a process of this pod: it is loopback's, or one of its interfaces'. */
export function isOwnAddress(address: string | undefined, interfaces = networkInterfaces()): boolean {
  if (address === undefined) return true // The connection is gone, and nothing of it is believed.
  const plain = withoutMapping(address)
  if (plain === '::1' || plain.startsWith('127.')) return true
  return Object.values(interfaces).some((each) => each?.some((own) => withoutMapping(own.address) === plain))
}

/** IPv4 as a socket of both families has it: `::ffff:10.0.0.1`. A zone (`fe80::1%eth0`) names the interface, not the address. */
function withoutMapping(address: string): string {
  return address
    .toLowerCase()
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/%.*$/, '')
}
