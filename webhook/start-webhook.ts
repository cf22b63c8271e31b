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
import { stenoVersion } from '../base/version.ts'
import type { Labels } from '../crds/label-selector.ts'
import type { AdmissionWorld } from '../injection/inject-pod.ts'
import { startAdmissionServer, type AdmissionServer } from './admission/server.ts'
import type { CertificateSource, SecretObject } from '../cluster/certificates/certificates.ts'
import { textsOf } from '../cluster/certificates/certificates.ts'
import { rotateAuthority } from './certificates/rotate-authority.ts'
import { keepWebhookTrust, type WebhookTrust } from './certificates/webhook-trust.ts'
import { openCluster } from '../cluster/client.ts'
import { startLeaderElection, type LeaderElection } from '../cluster/lease.ts'
import { pause } from '../cluster/pause.ts'
import { watchPolicyWorld, type PolicyWorld } from '../cluster/policy-world.ts'
import { resources } from '../cluster/resources.ts'
import { watchResource } from '../cluster/watch-resource.ts'
import { controlKeySecretName } from './control/control-key-secret.ts'
import { watchReports } from './control-reports.ts'
import { startHealthServer, WebhookCannotListen } from '../cluster/health-server.ts'
import { openCertificates } from '../cluster/certificates/open-certificates.ts'
import { readable, startReconcile, type Reconcile } from './reconcile/reconcile.ts'
import { standardNetworkSettings } from './reconcile/network-policies/settings.ts'
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
  let isDraining = false
  let certificates: CertificateSource | null = null
  let reconcile: Reconcile | null = null
  let admission: AdmissionServer | null = null
  let trust: WebhookTrust | null = null
  const trustEnding = new AbortController()

  const world = watchPolicyWorld({ cluster, log, ...timing })
  const controlKey = watchResource<{ readonly publicPem: string }>({
    ...{ cluster, namespace, log, ...timing },
    resource: resources.secrets,
    fieldSelector: `metadata.name=${controlKeySecretName}`,
    // The private half goes no further than this line.
    keep: (object) => ({ publicPem: textsOf({ data: { pem: (object as SecretObject).data?.['public.pem'] ?? '' } })['pem'] ?? '' }),
    onChange: () => reconcile?.refreshParameters(),
  })
  const controlPublicKey = (): string | null => {
    const pem = controlKey.get(`${namespace}/${controlKeySecretName}`)?.publicPem ?? ''
    return pem === '' ? null : pem
  }
  const admissionWorld = createAdmissionWorld({
    ...{ world, settings, log, controlPublicKey },
    controlCa: () => certificates?.trust() ?? null,
  })
  const registry = new Registry()
  const watched = { sessionpolicies: world.sessionPolicies, clustersessionpolicies: world.clusterPolicies, namespaces: world.namespaces }
  const metrics = addWebhookMetrics(registry, {
    certificates: () => certificates,
    reconcile: () => reconcile,
    silence: () => Object.entries(watched).map(([resource, watch]) => ({ resource, milliseconds: watch.silentMilliseconds() })),
  })

  const endAll = (): void => {
    stopping.abort()
    trustEnding.abort()
    world.stop()
    controlKey.stop()
    certificates?.stop()
    cluster.close()
  }
  const health = await startHealthServer({
    listen: settings.metricsListen,
    registry,
    reasonsNotReady: () => [
      ...(isDraining ? ['it is stopping'] : []),
      ...(admission === null ? ['it does not listen yet'] : []),
      ...(trust?.missing() ?? []),
      ...admissionWorld.missing(),
    ],
  }).catch((error: unknown) => {
    endAll()
    throw error
  })

  function lead(told: WebhookTrust, signal: AbortSignal): void {
    const { parametersName, instance, statusMilliseconds, rightsMilliseconds, certificate } = settings
    const network = settings.network ?? standardNetworkSettings(namespace)
    const reconcileSettings = { parametersName, instance, statusMilliseconds, rightsMilliseconds, network }
    const reports = watchReports({
      ...{ cluster, namespace, log, signal, onChange: () => reconcile?.refreshStores() },
      ...(settings.reportTiming === undefined ? {} : { timing: settings.reportTiming }),
    })
    const running = startReconcile({
      ...{ cluster, world, controlPublicKey, isControlSilent: reports.isSilent, log, signal },
      settings: watchTiming === undefined ? reconcileSettings : { ...reconcileSettings, watchTiming },
    })
    reconcile = running
    signal.addEventListener('abort', () => {
      if (reconcile === running) reconcile = null
    })
    told.refresh()
    if (certificate.kind === 'own')
      void rotateAuthority({
        ...{ cluster, namespace, log, signal },
        secret: certificate.secret,
        intervals: certificate.authority,
        isDistributed: (cert) => told.has(cert),
      })
  }

  try {
    const source = await openCertificates({ cluster, namespace, certificate: settings.certificate, log, signal: stopping.signal })
    certificates = source
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
        lead(told, signal)
        term = reconcile?.stopped ?? term
      },
    })
    election = elected
    let stopped: Promise<void> | null = null
    const stopOnce = async (): Promise<void> => {
      isDraining = true
      // A release that goes must not fill in what the next one's configuration lacks.
      trustEnding.abort()
      const resigned = elected.stop()
      await pause(settings.drainDelayMilliseconds, stopping.signal)
      await Promise.all([resigned, serving.close()])
      await term
      endAll()
      health.close()
    }
    return {
      port: serving.port,
      metricsPort: health.port,
      isLeader: () => elected.isLeader(),
      stop: () => (stopped ??= stopOnce()),
    }
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'the start failed')
    endAll()
    health.close()
    throw error
  }
}

/** What reviews are judged by; remade when something of it has changed, not for each review. */
function createAdmissionWorld(options: {
  readonly world: PolicyWorld
  readonly settings: WebhookSettings
  readonly log: Log
  readonly controlPublicKey: () => string | null
  readonly controlCa: () => string | null
}): { current(): AdmissionWorld | null; missing(): string[] } {
  const { world, settings, log, controlPublicKey, controlCa } = options
  let policies: Pick<AdmissionWorld, 'policies' | 'clusterPolicies' | 'namespaceLabels' | 'unreadable'> | null = null
  world.subscribe(({ kind }) => {
    if (kind !== 'RecordingStore') policies = null
  })

  function read(): NonNullable<typeof policies> {
    const unreadable = [...world.sessionPolicies.values(), ...world.clusterPolicies.values()].filter(({ problem }) => problem !== null)
    for (const { namespace, name, problem } of unreadable)
      log.error({ namespace, name, problem }, 'a policy cannot be read; pods that it may be for are postponed')
    const blocking = (namespace: string) => unreadable.find((kept) => kept.namespace === undefined || kept.namespace === namespace)
    const namespaceLabels = new Map<string, Labels>()
    const problems = new Map<string, string>()
    for (const { name, labels } of world.namespaces.values()) {
      namespaceLabels.set(name, labels)
      const kept = blocking(name)
      if (kept !== undefined) problems.set(name, problemOf(kept))
    }
    return {
      policies: readable(world.sessionPolicies.values()),
      clusterPolicies: readable(world.clusterPolicies.values()),
      namespaceLabels,
      unreadable: problems,
    }
  }

  return {
    current() {
      const [ca, publicKey] = [controlCa(), controlPublicKey()]
      if (!world.isSynced() || ca === null || publicKey === null) return null
      policies ??= read()
      const { sidecarImage, controlUrl, relayEndpoint } = settings
      return { ...policies, sidecarImage, controlUrl, relayEndpoint, controlCa: ca, controlPublicKey: publicKey, version: stenoVersion }
    },
    missing() {
      return [
        ...(world.isSynced() ? [] : ['the policies of the cluster are not read yet']),
        ...(controlCa() === null ? ['the authority of control is not known yet; a given Secret needs ca.crt'] : []),
        ...((controlPublicKey() ?? '') === ''
          ? [`the Secret ${controlKeySecretName} is not there yet; control makes it when it starts`]
          : []),
      ]
    },
  }
}

function problemOf({ namespace, name, problem }: { namespace: string | undefined; name: string; problem: string | null }): string {
  const policy = namespace === undefined ? `ClusterSessionPolicy ${name}` : `SessionPolicy ${namespace}/${name}`
  return `steno cannot read ${policy}, which may be for this pod: ${problem}. Correct it, or apply the CustomResourceDefinitions of the release that runs; pods of the namespace are admitted then.`
}
