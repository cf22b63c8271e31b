/**
 * For tests: what the `restricted` level of the Pod Security Standards says against a pod.
 *
 * Source: kubernetes.io, Pod Security Standards, restricted and baseline, as of Kubernetes 1.34; the end-to-end tests ask a real API server.
 */
import type { V1Pod } from '@kubernetes/client-node'

const volumeTypes = ['configMap', 'csi', 'downwardAPI', 'emptyDir', 'ephemeral', 'persistentVolumeClaim', 'projected', 'secret']

/** One sentence for each thing; empty when the pod is restricted. */
export function restrictedFaults({ spec }: V1Pod): string[] {
  const pod = spec?.securityContext
  const faults: string[] = []
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC'] as const) if (spec?.[field] === true) faults.push(field)
  for (const volume of spec?.volumes ?? [])
    if (!Object.keys(volume).some((type) => volumeTypes.includes(type))) faults.push(`the type of volume ${volume.name}`)
  if (pod?.runAsUser === 0) faults.push('the pod runs as root')
  for (const { name, securityContext: own, ports, lifecycle, startupProbe, livenessProbe, readinessProbe } of [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
  ]) {
    if (own?.allowPrivilegeEscalation !== false) faults.push(`${name} may escalate privileges`)
    if (own?.privileged === true) faults.push(`${name} is privileged`)
    if (!(own?.runAsNonRoot ?? pod?.runAsNonRoot ?? false)) faults.push(`${name} may run as root`)
    if (own?.runAsUser === 0) faults.push(`${name} runs as root`)
    if (!(own?.capabilities?.drop ?? []).includes('ALL')) faults.push(`${name} keeps capabilities`)
    if ((own?.capabilities?.add ?? []).some((capability) => capability !== 'NET_BIND_SERVICE')) faults.push(`${name} adds capabilities`)
    if (!['RuntimeDefault', 'Localhost'].includes((own?.seccompProfile ?? pod?.seccompProfile)?.type ?? ''))
      faults.push(`${name} has no seccomp profile`)
    if ((ports ?? []).some(({ hostPort }) => (hostPort ?? 0) !== 0)) faults.push(`${name} has a port of the node`)
    const handlers = [startupProbe, livenessProbe, readinessProbe, lifecycle?.preStop, lifecycle?.postStart]
    if (handlers.some((handler) => (handler?.httpGet?.host ?? '') !== '')) faults.push(`${name} makes the kubelet ask another host`)
  }
  return faults
}
