/**
 * Keeps `caBundle` of the webhook's configuration what API servers are to trust, and knows whether it is.
 *
 * The configuration is the chart's; without it nothing is done but waiting for it. Each write carries the version that it was decided on.
 */
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import { watchResource } from '../../cluster/watch-resource.ts'
import { createWorkQueue } from '../../cluster/work-queue.ts'
import { certificatesIn } from '../../cluster/certificates/authority.ts'
import type { CertificateSource } from '../../cluster/certificates/certificates.ts'

type Configuration = { readonly resourceVersion: string; readonly bundles: readonly string[] }

export type WebhookTrust = {
  /** True when every webhook of the configuration carries this certificate (PEM). */
  has(cert: string): boolean
}

/** Runs until the signal. */
export function keepWebhookTrust(options: {
  readonly cluster: ClusterClient
  /** Name of the MutatingWebhookConfiguration. */
  readonly configuration: string
  readonly certificates: Pick<CertificateSource, 'trust' | 'onTrustChange'>
  readonly log: Log
  readonly signal: AbortSignal
}): WebhookTrust {
  const { cluster, configuration, certificates, log, signal } = options
  const queue = createWorkQueue({ concurrency: 1, log, work: keep })
  const refresh = (): void => queue.add(configuration)
  const watch = watchResource<Configuration>({
    ...{ cluster, log },
    resource: resources.mutatingWebhookConfigurations,
    fieldSelector: `metadata.name=${configuration}`,
    keep: configurationOf,
    onChange: refresh,
  })
  const forget = certificates.onTrustChange(refresh)
  signal.addEventListener('abort', () => {
    watch.stop()
    forget()
    void queue.stop()
  })
  void tellWhenMissing()

  async function tellWhenMissing(): Promise<void> {
    await watch.synced
    if (!signal.aborted && watch.size === 0) log.warn({ configuration }, 'there is no such webhook configuration; it is waited for')
  }

  async function keep(): Promise<void> {
    const seen = watch.get(configuration)
    const wanted = certificates.trust()
    if (seen === undefined || wanted === null || seen.bundles.every((bundle) => bundle === wanted)) return
    const value = Buffer.from(wanted).toString('base64')
    await cluster.request({
      method: 'PATCH',
      path: pathOf(resources.mutatingWebhookConfigurations, { name: configuration }),
      patch: 'json',
      body: [
        // Whoever changed it meanwhile may have changed the order of its webhooks; then this fails, and comes again.
        { op: 'test', path: '/metadata/resourceVersion', value: seen.resourceVersion },
        ...seen.bundles.map((_, at) => ({ op: 'add', path: `/webhooks/${at}/clientConfig/caBundle`, value })),
      ],
      signal,
    })
    log.info({ configuration }, 'the webhook configuration trusts what it should')
  }

  return {
    has(cert) {
      const bundles = watch.get(configuration)?.bundles ?? []
      return bundles.length > 0 && bundles.every((bundle) => certificatesIn(bundle).includes(cert))
    },
  }
}

function configurationOf(object: unknown): Configuration {
  const { metadata, webhooks } = object as {
    metadata?: { resourceVersion?: string }
    webhooks?: readonly { clientConfig?: { caBundle?: string } }[]
  }
  return {
    resourceVersion: metadata?.resourceVersion ?? '',
    bundles: (webhooks ?? []).map(({ clientConfig }) => Buffer.from(clientConfig?.caBundle ?? '', 'base64').toString('utf8')),
  }
}
