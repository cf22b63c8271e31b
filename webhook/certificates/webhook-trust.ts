/**
 * Keeps `caBundle` of the webhook's configuration what API servers are to trust, and knows whether they can verify this replica.
 *
 * The leader writes whatever is not as it should be. An entry that trusts nobody yet, as an installation makes it, is filled by whichever
 * replica sees it first: until then every pod of an opted-in namespace would be refused, and a Lease of the release before may be held for
 * a while, because an uninstallation takes the right to give it back before it ends the pod. The configuration is the chart's; without it
 * nothing is done but waiting for it. Each write carries the version that it was decided on. Certificates of others are theirs to announce:
 * then nothing is written, and the chart gives no right to.
 */
import { X509Certificate } from 'node:crypto'
import type { Log } from '../../base/log.ts'
import type { ClusterClient } from '../../cluster/client.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { pathOf, resources } from '../../cluster/resources.ts'
import { watchResource, type WatchTiming } from '../../cluster/watch-resource.ts'
import { createWorkQueue } from '../../cluster/work-queue.ts'
import { certificatesIn } from '../../cluster/certificates/authority.ts'
import type { CertificateSource } from '../../cluster/certificates/certificates.ts'

type Entry = { readonly name: string; readonly bundle: string }
type Configuration = { readonly resourceVersion: string; readonly entries: readonly Entry[] }

export type WebhookTrust = {
  /** True when every webhook of the configuration carries this certificate (PEM). */
  has(cert: string): boolean
  /** In words, why API servers cannot call this replica; empty when they can. */
  missing(): string[]
  /** Looks again, because this replica leads now. */
  refresh(): void
}

/** Runs until the signal. */
export function keepWebhookTrust(options: {
  readonly cluster: ClusterClient
  /** Name of the MutatingWebhookConfiguration. */
  readonly configuration: string
  readonly certificates: Pick<CertificateSource, 'current' | 'trust' | 'onTrustChange'>
  /** Whether the bundle is steno's to write: its certificates are its own. */
  readonly writes: boolean
  /** Whether this replica may change what another wrote. */
  readonly leads: () => boolean
  readonly log: Log
  readonly signal: AbortSignal
  readonly timing?: Partial<WatchTiming>
}): WebhookTrust {
  const { cluster, configuration, certificates, writes, leads, log, signal, timing } = options
  const queue = createWorkQueue({ concurrency: 1, log, work: keep })
  const refresh = (): void => queue.add(configuration)
  const watch = watchResource<Configuration>({
    ...{ cluster, log },
    ...(timing === undefined ? {} : { timing }),
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
    if (!writes || signal.aborted || seen === undefined || wanted === null) return
    const isLeader = leads()
    const wrong = seen.entries.flatMap(({ bundle }, at) => ((isLeader ? bundle !== wanted : bundle === '') ? [at] : []))
    if (wrong.length === 0) return
    const value = Buffer.from(wanted).toString('base64')
    try {
      await cluster.request({
        method: 'PATCH',
        path: pathOf(resources.mutatingWebhookConfigurations, { name: configuration }),
        patch: 'json',
        body: [
          // Whoever changed it meanwhile may have changed the order of its webhooks; then this fails, and comes again.
          { op: 'test', path: '/metadata/resourceVersion', value: seen.resourceVersion },
          ...wrong.map((at) => ({ op: 'add', path: `/webhooks/${at}/clientConfig/caBundle`, value })),
        ],
        signal,
      })
    } catch (error) {
      // Replicas that start together all fill it in, and one is first. The watch brings what it wrote, and that is looked at.
      if (!isLeader && (isRefusal(error, 'Invalid') || isRefusal(error, 'Conflict'))) return
      throw error
    }
    log.info({ configuration }, 'the webhook configuration trusts what it should')
  }

  return {
    has(cert) {
      const entries = watch.get(configuration)?.entries ?? []
      return entries.length > 0 && entries.every(({ bundle }) => certificatesIn(bundle).includes(cert))
    },
    missing() {
      // Without an authority that steno knows, what is trusted is not steno's to say.
      if (certificates.trust() === null) return []
      const seen = watch.get(configuration)
      if (seen === undefined || seen.entries.length === 0) return [`the webhook configuration ${configuration} is not there yet`]
      const { cert } = certificates.current()
      const without = seen.entries.filter(({ bundle }) => !verifies(cert, bundle)).map(({ name }) => name)
      if (without.length === 0) return []
      const whose = writes ? '' : "; its caBundle is cert-manager's cainjector to write, or the chart's value certificates.caBundle"
      return [
        `the webhook configuration ${configuration} does not trust this replica's certificate yet, in ${without.join(' and ')}${whose}`,
      ]
    },
    refresh,
  }
}

/** Whether a certificate of `chain` (PEM; the leaf first) is signed by one of `bundle`, each before it by one behind it. */
function verifies(chain: string, bundle: string): boolean {
  const [leaf, ...between] = certificatesIn(chain).map((pem) => new X509Certificate(pem))
  const anchors = certificatesIn(bundle).map((pem) => new X509Certificate(pem))
  const isSignedBy = (one: X509Certificate, other: X509Certificate): boolean => one.checkIssued(other) && one.verify(other.publicKey)
  const leads = (from: X509Certificate, left: readonly X509Certificate[]): boolean =>
    anchors.some((anchor) => isSignedBy(from, anchor)) ||
    left.some(
      (next) =>
        isSignedBy(from, next) &&
        leads(
          next,
          left.filter((other) => other !== next),
        ),
    )
  return leaf !== undefined && leads(leaf, between)
}

function configurationOf(object: unknown): Configuration {
  const { metadata, webhooks } = object as {
    metadata?: { resourceVersion?: string }
    webhooks?: readonly { name?: string; clientConfig?: { caBundle?: string } }[]
  }
  return {
    resourceVersion: metadata?.resourceVersion ?? '',
    entries: (webhooks ?? []).map(({ name = '', clientConfig }) => ({
      name,
      bundle: Buffer.from(clientConfig?.caBundle ?? '', 'base64').toString('utf8'),
    })),
  }
}
