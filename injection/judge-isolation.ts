/**
 * Whether a running pod has rights with which it could reach into its own sidecar or past it: what the admission policies refuse when a pod is
 * made (charts/steno, pod-privileges and pod-isolation), for a pod that is older than them or than its namespace's opt-in.
 *
 * Such a pod could drop the packets by which its sidecar measures the direct way, so nothing that is said of it would be true. Pure. A test
 * compares the capabilities with those of the chart.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { faultsOfIsolation, placedContainers } from './pod-shape.ts'
import { sidecarName } from './sidecar-container.ts'

/** What Pod Security `baseline` lets a container add, but for those that reach into the pod's network or processes. */
export const capabilitiesAllowed: readonly string[] = [
  ...['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', 'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP'],
  ...['SETUID', 'SYS_CHROOT'],
]

/** A sentence whose subject is the pod, without anything that its author wrote; null when there is nothing. */
export function faultOfIsolation(pod: V1Pod): string | null {
  const [shared] = faultsOfIsolation(pod)
  if (shared !== undefined) return `it shares what is its node's (${shared.rule}): ${shared.message}`
  const others = [
    ...placedContainers(pod).map(({ container }) => container.securityContext),
    ...(pod.spec?.ephemeralContainers ?? []).filter(({ name }) => name !== sidecarName).map(({ securityContext }) => securityContext),
  ].filter((context) => context !== undefined)
  if (others.some(({ privileged }) => privileged === true))
    return 'one of its containers is privileged, and can read and stop everything on its node'
  if (others.some(({ capabilities }) => (capabilities?.add ?? []).some((name) => !capabilitiesAllowed.includes(name))))
    return 'one of its containers adds a capability with which it could reach into the sidecar’s network or processes'
  if (others.some(({ procMount }) => procMount !== undefined && procMount !== 'Default'))
    return 'one of its containers has an unmasked /proc, by which it could change the pod’s network'
  return null
}
