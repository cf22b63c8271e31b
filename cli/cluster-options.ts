/** The options that `steno webhook`, `steno control` and `steno relay` share, and what they mean. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { createLog, type Log } from '../base/log.ts'
import { standardAuthorityIntervals, standardLeafIntervals, type Address, type CertificateSettings } from '../cluster/process-settings.ts'

export type ClusterOptions = {
  readonly kubeconfig?: string
  readonly namespace?: string
  readonly instance?: string
  readonly listen: Address
  readonly metricsListen: Address
  readonly authoritySecret: string
  readonly certificateSecret?: string
  readonly certificateNames: readonly string[]
  readonly controlUrl?: string
  readonly relayEndpoint?: string
  readonly authorityRotateSeconds: number
  readonly authorityOverlapSeconds: number
  readonly authorityValidSeconds: number
  readonly leafRenewSeconds: number
  readonly leafValidSeconds: number
  readonly drainDelayMilliseconds: number
  readonly logFormat: 'json' | 'pretty'
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

/** Where a pod finds the namespace that it is in. */
const namespaceFile = '/var/run/secrets/kubernetes.io/serviceaccount/namespace'

export function addClusterOptions(command: Command, { drainDelayMilliseconds = 5_000 } = {}): Command {
  const { rotateMilliseconds, overlapMilliseconds, validMilliseconds } = standardAuthorityIntervals
  return command
    .addOption(new Option('--listen <address>', 'serve HTTPS here').default({ host: '', port: 8443 }, ':8443').argParser(listenAddress))
    .addOption(
      new Option('--metrics-listen <address>', 'serve /metrics, /healthz and /readyz here, in plain HTTP')
        .default({ host: '', port: 8080 }, ':8080')
        .argParser(listenAddress),
    )
    .option('--kubeconfig <file>', "how to reach the cluster; else KUBECONFIG, else the pod's own ServiceAccount")
    .option('--namespace <name>', "steno's namespace; else POD_NAMESPACE, else the pod's own, else steno-system")
    .option('--instance <name>', "this replica's name among others; else POD_NAME, else the host's name")
    .option('--authority-secret <name>', "the Secret with steno's own certificate authority; made when there is none", 'steno-ca')
    .option(
      '--certificate-secret <name>',
      'a Secret of type kubernetes.io/tls to serve with, as cert-manager makes it, instead of an authority of steno’s own',
    )
    .option('--control-url <url>', 'where sidecars find control; else https://steno-control.NAMESPACE.svc:443')
    .option('--relay-endpoint <host:port>', 'where sidecars find the relay; else steno-relay.NAMESPACE.svc:8443')
    .option('--certificate-names <name...>', 'more DNS names and addresses by which the server is reached', [])
    .addOption(seconds('--authority-rotate-seconds <n>', 'how long an authority signs until the next one follows', rotateMilliseconds))
    .addOption(
      seconds('--authority-overlap-seconds <n>', 'between telling clients of the next one and its first certificate', overlapMilliseconds),
    )
    .addOption(seconds('--authority-valid-seconds <n>', 'how long an authority is trusted', validMilliseconds))
    .addOption(seconds('--leaf-renew-seconds <n>', 'after so long another certificate is made', standardLeafIntervals.renewMilliseconds))
    .addOption(seconds('--leaf-valid-seconds <n>', 'how long a certificate is valid', standardLeafIntervals.validMilliseconds))
    .addOption(
      number(
        '--drain-delay-milliseconds <n>',
        'how long requests are still taken after SIGTERM, until nobody sends any',
        drainDelayMilliseconds,
      ),
    )
    .addOption(
      new Option('--log-format <format>', 'how the log on standard error reads: for programs or for people')
        .choices(['json', 'pretty'])
        .default('json'),
    )
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error', 'silent']).default('info'))
}

/** `service` is the name of the Service that clients call. */
export function clusterSettings(options: ClusterOptions, service: string, environment: NodeJS.ProcessEnv) {
  const namespace = options.namespace ?? given(environment['POD_NAMESPACE']) ?? podNamespace() ?? 'steno-system'
  const names = [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`, `${service}.${namespace}`, service]
  const certificate: CertificateSettings = {
    kind: options.certificateSecret === undefined ? 'own' : 'given',
    secret: options.certificateSecret ?? options.authoritySecret,
    names: [...names, ...options.certificateNames],
    authority: {
      rotateMilliseconds: options.authorityRotateSeconds * 1000,
      overlapMilliseconds: options.authorityOverlapSeconds * 1000,
      validMilliseconds: options.authorityValidSeconds * 1000,
    },
    leaf: { renewMilliseconds: options.leafRenewSeconds * 1000, validMilliseconds: options.leafValidSeconds * 1000 },
  }
  return {
    namespace,
    certificate,
    kubeconfig: options.kubeconfig ?? null,
    instance: options.instance ?? given(environment['POD_NAME']) ?? hostname(),
    listen: options.listen,
    metricsListen: options.metricsListen,
    drainDelayMilliseconds: options.drainDelayMilliseconds,
    controlUrl: options.controlUrl ?? `https://steno-control.${namespace}.svc:443`,
    relayEndpoint: options.relayEndpoint ?? `steno-relay.${namespace}.svc:8443`,
  }
}

/** Runs until SIGTERM or SIGINT has been answered; a second signal ends the process at once. */
export async function runUntilSignal(
  options: Pick<ClusterOptions, 'logLevel' | 'logFormat'>,
  start: (log: Log) => Promise<{ readonly ports: object; stop(): Promise<void> }>,
): Promise<void> {
  const log = createLog({ level: options.logLevel, format: options.logFormat })
  const { ports, stop } = await start(log)
  // Before anybody is told that it listens: who reads that may send a signal at once.
  const stopped = new Promise<void>((resolve) => {
    let isStopping = false
    const onSignal = (signal: NodeJS.Signals): void => {
      if (isStopping) process.exit(1)
      isStopping = true
      log.info({ signal }, 'stopping')
      void stop().then(resolve)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
  log.info(ports, 'listening')
  await stopped
  log.info('stopped')
  process.exit(0) // Idle connections to the API server are not waited for.
}

function podNamespace(): string | undefined {
  try {
    return given(readFileSync(namespaceFile, 'utf8').trim())
  } catch {
    return undefined // This is no pod, or one without a token.
  }
}

function given(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}

export function listenAddress(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535)
    throw new InvalidArgumentError('Give host:port, as 127.0.0.1:8443, [::1]:8443 or :8443 for all addresses.')
  return { host: match[1] ?? match[2] ?? '', port }
}

function number(flags: string, description: string, standard: number): Option {
  return new Option(flags, description).default(standard).argParser((text) => {
    if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('Give a whole number.')
    return Number(text)
  })
}

export function seconds(flags: string, description: string, standardMilliseconds: number): Option {
  return number(flags, description, standardMilliseconds / 1000)
}

/** For options that are said by `true` or `false`, as a chart's values are. */
export function trueOrFalse(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('Give true or false.')
  return text === 'true'
}
