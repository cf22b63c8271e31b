/**
 * Replicas of the webhook that run beside the cluster, in this process or one of their own, with a webhook configuration and Secrets of
 * the test's: what the tests of the runtime share.
 *
 * The API server calls them by `url:`, so they listen on an address that it reaches. Two releases would write the same statuses in turn, so
 * the chart's webhook, where it is installed, has no replicas meanwhile; its admission policies stay, and replicas say what it would say.
 */
import { admissionParametersName } from '../../crds/admission-parameters.ts'
import { generateKeyPairSync } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import { pino } from 'pino'
import { standardLeafIntervals, startWebhook, type Webhook, type WebhookSettings } from '../../webhook/main.ts'
import { apply, createNamespace, eventually, getJson, kubectl, ran } from './support/kubectl.ts'

const chartNamespace = 'steno-system'

export type RuntimeWorld = AsyncDisposable & {
  /** Of the webhook's objects. */
  readonly system: string
  /** An opted-in one, for agents. */
  readonly shop: string
  /** Of the MutatingWebhookConfiguration. */
  readonly configuration: string
  settings(instance: string, more?: Partial<WebhookSettings>): WebhookSettings
  /** In this process; stopped with the world. */
  start(instance: string, more?: Partial<WebhookSettings>): Promise<Webhook>
  /** From now on the API server asks this port about pods of `shop`, and takes no silence for an answer. */
  admitBy(port: number): Promise<void>
}

/** `shopLabels`: whether the namespace is opted in from the start. */
export async function createRuntimeWorld({ isOptedIn }: { readonly isOptedIn: boolean }): Promise<RuntimeWorld> {
  const replicas = await pauseChart()
  const system = await createNamespace('t-runtime-system')
  const shop = await createNamespace('t-runtime-shop', isOptedIn ? { 'steno.dev/inject': 'enabled' } : {})
  const { name: configuration } = system
  const parameters = await chartParameters()
  await forgetAuthorities()
  const started: Webhook[] = []
  await apply({
    ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'steno-control-key', namespace: system.name } },
    data: parameters.key ?? newKey(),
  })
  const settings = (instance: string, more: Partial<WebhookSettings> = {}): WebhookSettings => ({
    ...{ kubeconfig: null, namespace: system.name, instance },
    listen: { host: reachedAddress(), port: 0 },
    metricsListen: { host: '127.0.0.1', port: 0 },
    certificate: {
      ...{ kind: 'own', secret: 'steno-ca', names: [reachedAddress()] },
      authority: { rotateMilliseconds: 3_600_000, overlapMilliseconds: 3_600_000, validMilliseconds: 86_400_000 },
      leaf: standardLeafIntervals,
    },
    drainDelayMilliseconds: 0,
    sidecarImage: parameters.image,
    controlUrl: `https://steno-control.${chartNamespace}.svc:443`,
    relayEndpoint: `steno-relay.${chartNamespace}.svc:8443`,
    webhookConfiguration: configuration,
    parametersName: admissionParametersName,
    leaseName: 'steno-webhook',
    leaseTiming: { durationMilliseconds: 4_000, renewMillisecondsMax: 3_000, retryMilliseconds: 500 },
    statusMilliseconds: 100,
    rightsMilliseconds: 1_000,
    ...more,
  })
  return {
    ...{ system: system.name, shop: shop.name, configuration, settings },
    async start(instance, more) {
      const webhook = await startWebhook(settings(instance, more), pino({ level: process.env['E2E_LOG'] ?? 'silent' }))
      started.push(webhook)
      return webhook
    },
    admitBy: (port) => admitBy(configuration, shop.name, port),
    async [Symbol.asyncDispose]() {
      await kubectl(['delete', 'mutatingwebhookconfiguration', configuration, '--ignore-not-found'])
      await Promise.all(started.map((webhook) => webhook.stop()))
      await shop[Symbol.asyncDispose]()
      await system[Symbol.asyncDispose]()
      await forgetAuthorities()
      await resumeChart(replicas)
    },
  }
}

async function admitBy(configuration: string, shop: string, port: number): Promise<void> {
  await apply({
    ...{ apiVersion: 'admissionregistration.k8s.io/v1', kind: 'MutatingWebhookConfiguration', metadata: { name: configuration } },
    webhooks: [
      {
        ...{ name: 'pods.steno.dev', admissionReviewVersions: ['v1'], sideEffects: 'None', failurePolicy: 'Fail', timeoutSeconds: 5 },
        clientConfig: { url: `https://${reachedAddress()}:${port}/mutate` },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'], scope: 'Namespaced' }],
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': shop, 'steno.dev/inject': 'enabled' } },
      },
    ],
  })
  await eventually('the API server is told whom to trust', async () => {
    const { webhooks } = await getJson<{ webhooks: { clientConfig: { caBundle?: string } }[] }>([
      'mutatingwebhookconfiguration',
      configuration,
    ])
    return webhooks[0]?.clientConfig.caBundle ?? null
  })
}

/** An address of this machine that the API server reaches: that of the node in the cluster of `e2e/cluster`, else the first of others. */
export function reachedAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  const outer = addresses.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address)
  return outer.find((address) => address === '10.250.0.2') ?? outer[0] ?? '127.0.0.1'
}

/** The chart's admission policies know the chart's authorities; with none they compare none, until who leads has written its own. */
async function forgetAuthorities(): Promise<void> {
  const forgotten = JSON.stringify({ spec: { controlCas: [] } })
  await ran('kubectl', ['patch', 'admissionparameters.steno.dev', admissionParametersName, '--type=merge', '-p', forgotten])
}

function newKey(): Record<string, string> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const base64 = (pem: string | Buffer): string => Buffer.from(pem).toString('base64')
  return {
    'public.pem': base64(publicKey.export({ type: 'spki', format: 'pem' })),
    'private.pem': base64(privateKey.export({ type: 'pkcs8', format: 'pem' })),
  }
}

/** What the chart's admission policies take for right, where it is installed. */
async function chartParameters(): Promise<{ image: string; key: Record<string, string> | null }> {
  const parameters = await ran('kubectl', ['get', 'admissionparameters.steno.dev', 'steno', '-o', 'jsonpath={.spec.images[0]}'])
  const key = await ran('kubectl', ['get', 'secret', 'steno-control-key', '-n', chartNamespace, '-o', 'jsonpath={.data}'])
  return {
    image: parameters.code === 0 && parameters.stdout !== '' ? parameters.stdout : 'localhost/steno/pause:1',
    key: key.code === 0 && key.stdout !== '' ? (JSON.parse(key.stdout) as Record<string, string>) : null,
  }
}

/** How many replicas the chart's webhook had; null where there is none. */
async function pauseChart(): Promise<string | null> {
  const { code, stdout } = await ran('kubectl', [
    'get',
    'deployment',
    'steno-webhook',
    '-n',
    chartNamespace,
    '-o',
    'jsonpath={.spec.replicas}',
  ])
  if (code !== 0) return null
  await kubectl(['scale', 'deployment/steno-webhook', '-n', chartNamespace, '--replicas=0'])
  await eventually('the chart’s webhook is gone', async () => {
    const pods = await kubectl(['get', 'pods', '-n', chartNamespace, '-l', 'app.kubernetes.io/component=webhook', '-o', 'name'])
    return pods === '' || null
  })
  return stdout
}

async function resumeChart(replicas: string | null): Promise<void> {
  if (replicas === null) return
  await kubectl(['scale', 'deployment/steno-webhook', '-n', chartNamespace, `--replicas=${replicas}`])
  await kubectl(['rollout', 'status', 'deployment/steno-webhook', '-n', chartNamespace, '--timeout=120s'])
}

/** A pod that is admitted and never runs: no node is what it asks for. */
export function waitingPod(
  name: string,
  namespace: string,
  more: { readonly labels?: Record<string, string>; readonly serviceAccountName?: string } = {},
): object {
  const { labels = {}, serviceAccountName = 'default' } = more
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: {
      serviceAccountName,
      nodeSelector: { 'steno.dev/no-such-node': 'true' },
      containers: [{ name: 'agent', image: 'localhost/steno/pause:1', imagePullPolicy: 'IfNotPresent' }],
    },
  }
}

/** For one database that no pod has a credential for. */
export function policy(name: string, namespace: string, more: object = {}): object {
  return {
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name, namespace },
    spec: {
      databases: [{ name: 'orders', engine: 'postgresql', hosts: ['db.example.com'], databaseNames: ['orders'] }],
      ...more,
    },
  }
}
