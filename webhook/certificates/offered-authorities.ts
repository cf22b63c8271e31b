/**
 * The authorities that sidecars are given: of those that control and relay may show, the ones that the admission policies know.
 *
 * The admission policies compare a sidecar's authorities with the AdmissionParameters, so one that is not in these would have its pod refused. The
 * leader writes a successor there as soon as there is one; each replica gives it to pods only once it has seen it there for a while, for API
 * servers hear of it by watches of their own. A pod that has only the authority before verifies the successor by that one's word for it.
 */
import type { Log } from '../../base/log.ts'
import { certificatesIn } from '../../cluster/certificates/authority.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { resources } from '../../cluster/resources.ts'
import { watchResource, type WatchTiming } from '../../cluster/watch-resource.ts'

/** What an API server may be behind. */
export const settleMilliseconds = 2_000

export type OfferedAuthorities = {
  /** Of `trust` (PEM), what a pod is to be given now: all of it where the parameters name none of it, as before they were written first. */
  of(trust: string): string
  stop(): void
}

export function watchOfferedAuthorities(options: {
  readonly cluster: Pick<ClusterClient, 'request' | 'openStream'>
  /** Of the AdmissionParameters object. */
  readonly name: string
  readonly log: Log
  readonly timing?: Partial<WatchTiming>
  readonly now?: () => number
}): OfferedAuthorities {
  const { now = () => performance.now() } = options
  /** By certificate, when it was first seen among the parameters; those of the first sight have been there for a while. */
  let seen: ReadonlyMap<string, number> | null = null
  const watch = watchResource<readonly string[]>({
    ...options,
    resource: resources.admissionParameters,
    fieldSelector: `metadata.name=${options.name}`,
    keep: (object) => (object as { spec?: { controlCas?: readonly string[] } }).spec?.controlCas ?? [],
    onChange({ after = [] }) {
      const before = seen
      const at = before === null ? -Infinity : now()
      seen = new Map(after.map((cert) => [cert, before?.get(cert) ?? at]))
    },
  })
  return {
    of(trust) {
      const known = certificatesIn(trust).filter((cert) => seen?.has(cert) === true)
      const settled = known.filter((cert) => (seen?.get(cert) ?? 0) + settleMilliseconds <= now())
      if (known.length === 0) return trust
      return (settled.length === 0 ? known : settled).join('')
    },
    stop: () => watch.stop(),
  }
}
