/**
 * The part of a pod by which it is judged, and its digest: while the digest is the same, so is the verdict, and nobody need look at the pod.
 *
 * All but what changes without meaning anything for a judge: the status, of which the addresses alone are left, and the API server's
 * bookkeeping. Kubelet and control write conditions on every pod, and each write is another version of it.
 * Whoever judges is shown this part and nothing else (`live-pods.ts`), so there is nothing that it could read and whose change would go
 * unnoticed. Containers' image ids, the phase and conditions are no part of it: a judge that is to read one adds it here.
 */
import { hash } from 'node:crypto'
import type { V1Pod } from '@kubernetes/client-node'

const bookkeeping: readonly string[] = ['resourceVersion', 'managedFields']

/** As the API server has it; takes the items of lists and watches, too. */
export function judgedPartOf({ metadata, spec, status }: V1Pod): V1Pod {
  const described = Object.fromEntries(Object.entries(metadata ?? {}).filter(([field]) => !bookkeeping.includes(field)))
  const podIPs = status?.podIPs
  return { metadata: described, ...(spec === undefined ? {} : { spec }), status: podIPs === undefined ? {} : { podIPs } }
}

/**
 * Equal for equal parts. An API server writes the fields of an object always in the same order; were they in another, the pod would be looked
 * at once more than it must.
 */
export function judgedDigestOf(pod: V1Pod): string {
  return hash('sha256', JSON.stringify(judgedPartOf(pod)), 'base64')
}
