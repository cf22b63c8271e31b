/**
 * What running pods were made with and an uninstallation must not forget: ConfigMap `steno-remembered` in steno's namespace, made at run time.
 *
 * The AdmissionParameters object goes with the release, and with it the images and authorities of pods that live on; this stays, as the Secrets
 * do. Holds no secret. Read once and then known, since only the leader writes it; a write by somebody else is met by reading it again.
 */
import type { ClusterClient } from '../../cluster/client.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { apiVersionOf, pathOf, resources } from '../../cluster/resources.ts'

export const rememberedName = 'steno-remembered'

/** Newest first. */
export type Remembered = { readonly images: readonly string[]; readonly controlCas: readonly string[] }

type ConfigMap = { readonly metadata?: { readonly resourceVersion?: string }; readonly data?: Readonly<Record<string, string>> }

export function createMemory({ cluster, namespace }: { readonly cluster: Pick<ClusterClient, 'request'>; readonly namespace: string }) {
  /** Null while it is not read; `resourceVersion` null: there is none. */
  let known: { readonly said: Remembered; readonly resourceVersion: string | null } | null = null
  const path = pathOf(resources.configMaps, { namespace, name: rememberedName })

  async function read(): Promise<NonNullable<typeof known>> {
    try {
      const { metadata, data } = await cluster.request<ConfigMap>({ method: 'GET', path })
      const said = { images: textsIn(data?.['images.json']), controlCas: textsIn(data?.['control-cas.json']) }
      return { said, resourceVersion: metadata?.resourceVersion ?? '' }
    } catch (error) {
      if (isRefusal(error, 'NotFound')) return { said: { images: [], controlCas: [] }, resourceVersion: null }
      throw error
    }
  }

  return {
    /** @throws ClusterRefused, ClusterUnreachable */
    async recall(): Promise<Remembered> {
      known ??= await read()
      return known.said
    },
    /** Does nothing when that is what is remembered. @throws ClusterRefused, ClusterUnreachable; Conflict when somebody else wrote it meanwhile */
    async remember(said: Remembered): Promise<void> {
      known ??= await read()
      if (JSON.stringify(known.said) === JSON.stringify(said)) return
      const { resourceVersion } = known
      known = null
      const labels = { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/managed-by': 'steno' }
      const body = {
        ...{ apiVersion: apiVersionOf(resources.configMaps), kind: resources.configMaps.kind },
        metadata: { name: rememberedName, namespace, labels, ...(resourceVersion === null ? {} : { resourceVersion }) },
        data: { 'images.json': JSON.stringify(said.images), 'control-cas.json': JSON.stringify(said.controlCas) },
      }
      const written =
        resourceVersion === null
          ? await cluster.request<ConfigMap>({ method: 'POST', path: pathOf(resources.configMaps, { namespace }), body })
          : await cluster.request<ConfigMap>({ method: 'PUT', path, body })
      known = { said, resourceVersion: written.metadata?.resourceVersion ?? '' }
    },
  }
}

/** What is no list of texts was not written by steno, and remembers nothing. */
function textsIn(json: string | undefined): string[] {
  try {
    const value: unknown = JSON.parse(json ?? '[]')
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
  } catch {
    return []
  }
}
