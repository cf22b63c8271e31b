/**
 * The webhook as a whole: what it knows of the cluster, its certificates, the admission server, and the leader's work.
 *
 * Start: health first, then certificates, then what the cluster says, then admission; ready once a review can be answered. Every replica
 * admits; one leads, which keeps statuses, parameters and authority. Stop: readiness ends, another may lead, and requests are still taken
 * until endpoints have forgotten this replica.
 */
import { Registry } from 'prom-client'
import { messageOf, systemCodeOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { createAdmissionWorld } from './admission/admission-world.ts'
import { startAdmissionServer, type AdmissionServer } from './admission/server.ts'
import type { CertificateSource, SecretObject } from '../cluster/certificates/certificates.ts'
import { textsOf } from '../cluster/certificates/certificates.ts'
import { keepWebhookTrust, type WebhookTrust } from './certificates/webhook-trust.ts'
import { openCluster } from '../cluster/client.ts'
import { startLeaderElection, type LeaderElection } from '../cluster/lease.ts'
import { startProcess } from '../cluster/process-life.ts'
import { watchPolicyWorld } from '../cluster/policy-world.ts'
import { resources } from '../cluster/resources.ts'
import { watchResource } from '../cluster/watch-resource.ts'
import type { SealKey } from '../injection/admission-seal.ts'
import { watchOfferedAuthorities } from './certificates/offered-authorities.ts'
import { controlKeyFrom } from './control/control-key.ts'
import { controlKeySecretName } from './control/control-key-secret.ts'
import { WebhookCannotListen } from '../cluster/health-server.ts'
import { openCertificates } from '../cluster/certificates/open-certificates.ts'
import { createLeaderWork } from './leader-work.ts'
import type { WebhookSettings } from './settings.ts'
import { addWebhookMetrics } from './webhook-metrics.ts'

export type Webhook = {
  readonly port: number
  readonly metricsPort: number
  isLeader(): boolean
  /** Ends in good order; a second call has the same result. */
  stop(): Promise<void>
}

/** @throws KnownError for a cluster, certificate or address that cannot be used */
export async function startWebhook(settings: WebhookSettings, log: Log): Promise<Webhook> {
  const { namespace, watchTiming } = settings
  const cluster = openCluster(settings)
  const stopping = new AbortController()
  const timing = watchTiming === undefined ? {} : { timing: watchTiming }
  let certificates: CertificateSource | null = null
  let admission: AdmissionServer | null = null
  let trust: WebhookTrust | null = null
  const trustEnding = new AbortController()

  const world = watchPolicyWorld({ cluster, log, ...timing })
  const controlKey = watchResource<{ readonly publicPem: string; readonly seal: SealKey }>({
    ...{ cluster, namespace, log, ...timing },
    resource: resources.secrets,
    fieldSelector: `metadata.name=${controlKeySecretName}`,
    keep: keysIn,
    onChange: () => leading.reconcile()?.refreshParameters(),
  })
  const controlPublicKey = (): string | null => {
    const pem = controlKey.get(`${namespace}/${controlKeySecretName}`)?.publicPem ?? ''
    return pem === '' ? null : pem
  }
  const leading = createLeaderWork({ cluster, world, settings, log, controlPublicKey, controlCa: () => certificates?.trust() ?? null })
  const authorities = watchOfferedAuthorities({ cluster, name: settings.parametersName, log, ...timing })
  const admissionWorld = createAdmissionWorld({
    ...{ world, settings, log, controlPublicKey },
    sealKey: () => controlKey.get(`${namespace}/${controlKeySecretName}`)?.seal,
    controlCa() {
      const served = certificates?.trust() ?? null
      return served === null ? null : authorities.of(served)
    },
  })
  const registry = new Registry()
  const watched = { sessionpolicies: world.sessionPolicies, clustersessionpolicies: world.clusterPolicies, namespaces: world.namespaces }
  const metrics = addWebhookMetrics(registry, {
    certificates: () => certificates,
    reconcile: leading.reconcile,
    silence: () => Object.entries(watched).map(([resource, watch]) => ({ resource, milliseconds: watch.silentMilliseconds() })),
  })

  const endAll = (): void => {
    stopping.abort()
    trustEnding.abort()
    world.stop()
    controlKey.stop()
    authorities.stop()
    certificates?.stop()
    cluster.close()
  }
  const reasonsNotReady = (): string[] => [
    ...(admission === null ? ['it does not listen yet'] : []),
    ...(trust?.missing() ?? []),
    ...admissionWorld.missing(),
  ]
  const life = await startProcess({ settings, registry, log, reasonsNotReady, endAll }, async () => {
    const source = await openCertificates({ cluster, namespace, certificate: settings.certificate, log, signal: stopping.signal })
    certificates = source
    source.onTrustChange(() => leading.reconcile()?.refreshParameters())
    const { listen } = settings
    const serving = await startAdmissionServer({
      ...{ listen, certificates: source, log },
      world: admissionWorld.current,
      onReviewed: metrics.reviewed,
    }).catch((error: unknown) => {
      if (systemCodeOf(error) === undefined) throw error
      throw new WebhookCannotListen(`cannot listen on ${listen.host}:${listen.port}: ${messageOf(error)}`, { cause: error })
    })
    admission = serving
    let election: LeaderElection | null = null
    const told = keepWebhookTrust({
      ...{ cluster, log, ...timing },
      configuration: settings.webhookConfiguration,
      certificates: source,
      writes: settings.certificate.kind === 'own',
      leads: () => election?.isLeader() ?? false,
      signal: trustEnding.signal,
    })
    trust = told
    let term: Promise<void> = Promise.resolve()
    const elected = startLeaderElection({
      ...{ cluster, namespace, log },
      name: settings.leaseName,
      identity: settings.instance,
      timing: settings.leaseTiming,
      lead(signal) {
        term = leading.begin(told, signal).stopped
      },
    })
    election = elected
    let resigned: Promise<void> = Promise.resolve()
    return {
      port: serving.port,
      isLeader: () => elected.isLeader(),
      beforeDrain() {
        // A release that goes must not fill in what the next one's configuration lacks.
        trustEnding.abort()
        resigned = elected.stop()
      },
      async stop() {
        await Promise.all([resigned, serving.close()])
        await term
      },
    }
  })
  const { port, isLeader } = life.serving
  return { port, isLeader, metricsPort: life.metricsPort, stop: life.stop }
}

/** Of control's key the public half, and what seals pods with the private one. @throws for a Secret that holds no key, without showing it */
function keysIn(object: unknown): { readonly publicPem: string; readonly seal: SealKey } {
  const { 'public.pem': publicPem = '', 'private.pem': privatePem } = textsOf(object as SecretObject)
  return { publicPem, seal: controlKeyFrom(privatePem, `Secret ${controlKeySecretName}`) }
}
