/** A webhook configuration on a double of the API server, as an installation makes it, and what keeps its bundles. It admits nothing. */
import type { CertificateSource } from '../../cluster/certificates/certificates.ts'
import type { TestApi } from '../../cluster/test-api.ts'
import { testLog } from '../../cluster/test-support.ts'
import { keepWebhookTrust } from './webhook-trust.ts'

export const configurationPath = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/steno'

export function trustOf(
  api: TestApi,
  certificates: CertificateSource,
  { leads, signal, writes = true }: { leads: boolean; signal: AbortSignal; writes?: boolean },
) {
  const { log } = testLog()
  return keepWebhookTrust({ cluster: api.client, configuration: 'steno', certificates, writes, leads: () => leads, log, signal })
}

/** As an installation makes it: with no bundle, unless one is given for an entry. */
export function putConfiguration(api: TestApi, bundles: readonly (string | null)[]): void {
  const webhooks = bundles.map((bundle, at) => ({
    name: ['brought.steno.dev', 'pods.steno.dev'][at],
    clientConfig: { url: 'https://127.0.0.1', ...(bundle === null ? {} : { caBundle: Buffer.from(bundle).toString('base64') }) },
  }))
  api.put(configurationPath, { metadata: { name: 'steno' }, webhooks })
}

/** The bundles of its entries, in their order; empty text for an entry without one. */
export function bundlesOf(api: TestApi): string[] {
  const webhooks = (api.get(configurationPath)?.['webhooks'] ?? []) as { clientConfig: { caBundle?: string } }[]
  return webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle ?? '', 'base64').toString())
}
