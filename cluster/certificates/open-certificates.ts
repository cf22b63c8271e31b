/** The certificates that the settings ask for. */
import type { Log } from '../../base/log.ts'
import type { CertificateSource } from './certificates.ts'
import { startGivenCertificates } from './given-certificates.ts'
import { startOwnCertificates } from './own-certificates.ts'
import type { ClusterClient } from '../client.ts'
import type { CertificateSettings } from '../process-settings.ts'

/** A foreign leaf of another authority waits so long, for clients to be told of that one first. */
const givenOverlapMilliseconds = 10_000

/** @throws KnownError; for certificates of others it waits until they are there, or `signal` */
export function openCertificates(options: {
  readonly cluster: ClusterClient
  readonly namespace: string
  readonly certificate: CertificateSettings
  readonly log: Log
  readonly signal: AbortSignal
}): Promise<CertificateSource> {
  const { cluster, namespace, certificate, log, signal } = options
  const { secret, names, authority, leaf } = certificate
  const common = { cluster, namespace, secret, log }
  return certificate.kind === 'own'
    ? startOwnCertificates({ ...common, names, authority, leaf })
    : startGivenCertificates({ ...common, overlapMilliseconds: givenOverlapMilliseconds, signal })
}
