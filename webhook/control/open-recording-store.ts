/**
 * From a RecordingStore's spec to the store: the folder of a volume, or a bucket with the credentials that its Secret holds.
 *
 * Credentials are read when a store is opened, and again when it is opened anew because it failed. They are neither kept nor logged here.
 */
import { messageOf } from '../../base/errors.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import type { OpenRecordingStore, StoreObject } from './stores.ts'

/** The decoded values of a Secret in steno's namespace. */
export type ReadSecret = (name: string) => Promise<ReadonlyMap<string, string>>

/** Reads Secrets of `namespace`. Its calls throw ClusterRefused, ClusterUnreachable. */
export function secretsOf(cluster: Pick<ClusterClient, 'request'>, namespace: string): ReadSecret {
  return async (name) => {
    const { data = {} } = await cluster.request<{ readonly data?: Readonly<Record<string, string>> }>({
      method: 'GET',
      path: pathOf(resources.secrets, { namespace, name }),
    })
    return new Map(Object.entries(data).map(([key, encoded]) => [key, Buffer.from(encoded, 'base64').toString('utf8')]))
  }
}

/** Without `readSecret`, stores whose credentials stand in a Secret cannot be opened. */
export function createOpenRecordingStore({ readSecret }: { readonly readSecret: ReadSecret | null }): OpenRecordingStore {
  return async (spec) => {
    const secretName = spec.type === 's3' ? spec.s3.credentials.secretName : undefined
    // A volume, or the workload's own identity, which the client library finds.
    return secretName === undefined ? openStore(storeUrlOf(spec)) : openBucket(storeUrlOf(spec), secretName, readSecret)
  }
}

async function openBucket(url: string, secretName: string, readSecret: ReadSecret | null): Promise<Store> {
  const unusable = (what: string, cause?: unknown): StoreUnavailable =>
    new StoreUnavailable(
      `the credentials of ${url} cannot be had: ${what}`,
      `Make Secret ${secretName} in steno's namespace with accessKeyId and secretAccessKey, and let steno-control get it: the chart's value control.readableSecrets={${secretName}}.`,
      cause,
    )
  if (readSecret === null) throw unusable('nobody reads Secrets here')
  const secret = await readSecret(secretName).catch((error: unknown) => {
    throw unusable(messageOf(error), error)
  })
  const [accessKeyId, secretAccessKey, sessionToken] = ['accessKeyId', 'secretAccessKey', 'sessionToken'].map((name) => secret.get(name))
  if (accessKeyId === undefined || secretAccessKey === undefined) throw unusable('a key of the Secret is missing')
  const { openS3Store, parseS3Url } = await import('../../session/stores/s3.ts')
  return openS3Store(parseS3Url(url), { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) })
}

/** The URL by which `openStore` knows it: `file:///var/lib/steno/store`, `s3://bucket/prefix?region=…&endpoint=…&path-style=true`. */
export function storeUrlOf(spec: StoreObject['spec']): string {
  if (spec.type === 'volume') return `file://${spec.volume.path.split('/').map(encodeURIComponent).join('/')}`
  const { bucket, prefix, region, endpoint, pathStyle } = spec.s3
  const url = new URL(`s3://${bucket}/${prefix ?? ''}`)
  if (region !== undefined) url.searchParams.set('region', region)
  if (endpoint !== undefined) url.searchParams.set('endpoint', endpoint)
  if (pathStyle === true) url.searchParams.set('path-style', 'true')
  return url.href
}
