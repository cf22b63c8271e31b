/** `steno control`: what sidecars hand their recordings to. Options for tests and unusual installations; the chart gives almost none. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { createLog } from '../base/log.ts'
import { standardAuthorityIntervals, standardLeafIntervals, startControl, type ControlSettings } from '../webhook/main.ts'

type Address = { readonly host: string; readonly port: number }
type Options = {
  readonly kubeconfig?: string
  readonly namespace: string
  readonly instance: string
  readonly listen: Address
  readonly metricsListen: Address
  readonly readerListen: Address
  readonly reader: boolean
  readonly certificate: 'own' | 'given'
  readonly certificateSecret?: string
  readonly drainDelayMilliseconds: number
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

const secretsStandard = { own: 'steno-ca', given: 'steno-control-tls' } as const

export function command(): Command {
  return new Command('control')
    .description(
      'Takes sealed recordings from the sidecars of a cluster, checks whose they are, writes each once into its RecordingStore and gives a\n' +
        'signed receipt; gives auditors who may port-forward to it what is stored.',
    )
    .option('--kubeconfig <file>', "how to reach the API server; else KUBECONFIG, else the pod's ServiceAccount")
    .addOption(new Option('--namespace <name>', "steno's own namespace").env('POD_NAMESPACE').default('steno-system'))
    .addOption(new Option('--instance <name>', "this replica's name among others").env('POD_NAME').default('steno-control'))
    .addOption(new Option('--listen <address>', 'where sidecars connect (TLS)').default(all(8443), '0.0.0.0:8443').argParser(address))
    .addOption(
      new Option('--metrics-listen <address>', 'serve /metrics, /healthz and /readyz here (plain HTTP)')
        .default(all(8080), '0.0.0.0:8080')
        .argParser(address),
    )
    .addOption(
      new Option('--reader-listen <address>', 'where auditors read, by kubectl port-forward; a loopback address')
        .default({ host: '127.0.0.1', port: 8081 }, '127.0.0.1:8081')
        .argParser(address),
    )
    .option('--no-reader', 'let nobody read through this control')
    .addOption(
      new Option('--certificate <kind>', "own: signed by steno's own authority; given: a Secret that somebody else makes, as cert-manager")
        .choices(['own', 'given'])
        .default('own'),
    )
    .option('--certificate-secret <name>', `its Secret; else ${secretsStandard.own} (own) or ${secretsStandard.given} (given)`)
    .addOption(
      new Option('--drain-delay-milliseconds <n>', 'how long requests are taken after readiness has ended')
        .default(3_000)
        .argParser(milliseconds),
    )
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error', 'silent']).default('info'))
    .addHelpText(
      'after',
      `
Examples:
  steno control                                             # in the cluster, as the chart runs it
  kubectl --namespace steno-system logs deployment/steno-control --follow
  kubectl --namespace steno-system port-forward deployment/steno-control 8081   # then: steno sessions --store control+http://127.0.0.1:8081/default

The log is on standard error, one JSON object a line: one for each refused request and each change of a store. No line holds a token.

It ends on SIGTERM or SIGINT when what is under way has ended. Exit code 0: ended so; 1: it did not start.`,
    )
    .action(async (options: Options) => run(settingsFrom(options), options))
}

async function run(settings: ControlSettings, options: Options): Promise<void> {
  const log = createLog({ level: options.logLevel })
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve)
  })
  const control = await startControl(settings, log)
  log.info({ port: control.port, readerPort: control.readerPort, metricsPort: control.metricsPort }, 'listening')
  log.info({ signal: await ended }, 'stopping')
  await control.stop()
  log.info('stopped')
  process.exit(0)
}

function settingsFrom(options: Options): ControlSettings {
  const { namespace, certificate } = options
  return {
    kubeconfig: options.kubeconfig ?? null,
    namespace,
    instance: options.instance,
    listen: options.listen,
    metricsListen: options.metricsListen,
    readerListen: options.reader ? options.readerListen : null,
    certificate: {
      kind: certificate,
      secret: options.certificateSecret ?? secretsStandard[certificate],
      names: [
        'steno-control',
        `steno-control.${namespace}`,
        `steno-control.${namespace}.svc`,
        `steno-control.${namespace}.svc.cluster.local`,
      ],
      authority: standardAuthorityIntervals,
      leaf: standardLeafIntervals,
    },
    drainDelayMilliseconds: options.drainDelayMilliseconds,
  }
}

function all(port: number): Address {
  return { host: '0.0.0.0', port }
}

function address(text: string): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new InvalidArgumentError('Give host:port, as 127.0.0.1:0 or [::1]:0.')
  return { host: match[1] ?? match[2]!, port }
}

function milliseconds(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError('Give a whole number of milliseconds.')
  return Number(text)
}
