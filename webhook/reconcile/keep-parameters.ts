/**
 * Keeps the AdmissionParameters object in step with the ClusterSessionPolicies and control's key. The images in it are the chart's; those that it
 * once named are remembered beside them, because a rollback of the chart forgets.
 *
 * Makes none when there is none: without it the admission policies deny, which is what somebody who deleted it should see.
 */
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { knownImagesMax } from '../../crds/admission-parameters.ts'
import type { PolicyWorld } from '../../cluster/policy-world.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import { watchResource } from '../../cluster/watch-resource.ts'
import { admissionParametersOf } from './admission-parameters.ts'
import { isEqualJson } from '../../cluster/conditions.ts'

export function keepParameters(options: {
  readonly cluster: ClusterClient
  readonly world: PolicyWorld
  readonly name: string
  /** PEM; null until control has made it. */
  readonly controlPublicKey: () => string | null
  readonly log: Log
  readonly onChange: () => void
  readonly signal: AbortSignal
}): { keep(): Promise<void> } {
  const { cluster, world, name, controlPublicKey, log, onChange, signal } = options
  const watch = watchResource<{ resourceVersion: string; spec: Readonly<Record<string, unknown>> }>({
    ...{ cluster, log, onChange },
    resource: resources.admissionParameters,
    fieldSelector: `metadata.name=${name}`,
    keep: (object) => {
      const { metadata, spec } = object as { metadata?: { resourceVersion?: string }; spec?: Record<string, unknown> }
      return { resourceVersion: metadata?.resourceVersion ?? '', spec: spec ?? {} }
    },
  })
  signal.addEventListener('abort', () => watch.stop())
  return {
    /** @throws ClusterRefused, ClusterUnreachable */
    async keep() {
      await Promise.race([watch.synced, new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))])
      const seen = watch.get(name)
      if (seen === undefined || signal.aborted) {
        if (!signal.aborted)
          log.warn({ name }, 'there is no AdmissionParameters object, so the admission policies deny every pod of opted-in namespaces')
        return
      }
      const policies = [...world.clusterPolicies.values()].flatMap(({ policy }) => (policy === null ? [] : [policy]))
      const key = controlPublicKey()
      const wanted = {
        ...admissionParametersOf(policies, (namespace) => world.namespaces.get(namespace)?.labels),
        knownImages: knownImagesOf(seen.spec),
        ...(key === null ? {} : { controlPublicKeys: [key] }),
      }
      const has = { exemptPods: [], foreignInitContainers: [], knownImages: [], ...seen.spec }
      if (isEqualJson(pick(has, wanted), wanted)) return
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resources.admissionParameters, { name }),
        patch: 'merge',
        body: { metadata: { resourceVersion: seen.resourceVersion }, spec: wanted },
      })
    },
  }
}

function knownImagesOf({ images, knownImages }: Readonly<Record<string, unknown>>): string[] {
  const all = [images, knownImages].flatMap((list) => (Array.isArray(list) ? list.filter((image) => typeof image === 'string') : []))
  return [...new Set(all)].slice(0, knownImagesMax)
}

/** Of `from`, the fields that `like` has. */
function pick(from: Readonly<Record<string, unknown>>, like: object): Record<string, unknown> {
  return Object.fromEntries(Object.keys(like).map((name) => [name, from[name]]))
}
