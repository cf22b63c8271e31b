/**
 * Keeps the AdmissionParameters object in step with the ClusterSessionPolicies, control's key and the authorities. The images in it are the chart's;
 * those that it once named are remembered beside them, because a rollback of the chart forgets, and they and the authorities in an object of
 * steno's namespace too, because an uninstallation takes this one away.
 *
 * Makes none when there is none: without it the admission policies deny, which is what somebody who deleted it should see.
 */
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { controlCasMax, knownImagesMax } from '../../crds/admission-parameters.ts'
import type { PolicyWorld } from '../../cluster/policy-world.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import { watchResource } from '../../cluster/watch-resource.ts'
import { certificatesIn, endOf } from '../../cluster/certificates/authority.ts'
import { createMemory } from './remembered.ts'
import { admissionParametersOf } from './admission-parameters.ts'
import { isEqualJson } from '../../cluster/conditions.ts'

export function keepParameters(options: {
  readonly cluster: ClusterClient
  readonly world: PolicyWorld
  readonly name: string
  /** Steno's own. */
  readonly namespace: string
  /** PEM; null until control has made it. */
  readonly controlPublicKey: () => string | null
  /** PEM; those by which control and relay may be known now. */
  readonly controlCa: () => string | null
  readonly log: Log
  readonly onChange: () => void
  readonly signal: AbortSignal
}): { keep(): Promise<void> } {
  const { cluster, world, name, namespace, controlPublicKey, controlCa, log, onChange, signal } = options
  const memory = createMemory({ cluster, namespace })
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
      const remembered = await memory.recall()
      const knownImages = unique([...textsOf(seen.spec['images']), ...textsOf(seen.spec['knownImages']), ...remembered.images])
      const authorities = [certificatesIn(controlCa() ?? ''), textsOf(seen.spec['controlCas']), remembered.controlCas].flat()
      const wanted = {
        ...admissionParametersOf(policies, (of) => world.namespaces.get(of)?.labels),
        knownImages: knownImages.slice(0, knownImagesMax),
        controlCas: unique(authorities).filter(isCertificate).slice(0, controlCasMax),
        ...(key === null ? {} : { controlPublicKeys: [key] }),
      }
      await memory.remember({ images: wanted.knownImages, controlCas: wanted.controlCas })
      const has = { exemptPods: [], foreignInitContainers: [], knownImages: [], controlCas: [], ...seen.spec }
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

function textsOf(list: unknown): string[] {
  return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : []
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}

/**
 * One that has ended stays: it verifies nobody, but pods that were given it beside others go on by those, and a sidecar is fit only while all of what
 * it trusts is known.
 */
function isCertificate(cert: string): boolean {
  try {
    return !Number.isNaN(endOf(cert))
  } catch {
    return false
  }
}

/** Of `from`, the fields that `like` has. */
function pick(from: Readonly<Record<string, unknown>>, like: object): Record<string, unknown> {
  return Object.fromEntries(Object.keys(like).map((name) => [name, from[name]]))
}
