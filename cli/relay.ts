/** `steno relay`: what runs as the Deployment steno-relay; reads what it is told, runs it until a signal, and ends it in good order. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { startRelay, type RelaySettings } from '../relay/main.ts'
import { addClusterOptions, clusterSettings, runUntilSignal, seconds, trueOrFalse, type ClusterOptions } from './cluster-options.ts'

type Options = ClusterOptions & {
  readonly checkSourceAddress: boolean
  readonly drainSeconds: number
  readonly idleSeconds: number
  readonly connectSeconds: number
  readonly tunnelsMax: number
  readonly tunnelsPerPodMax: number
}

export function command(): Command {
  const bare = new Command('relay')
    .description(
      'Opens tunnels from the sidecars of a cluster to the databases that their pods’ policies name, and to nothing else: the network lets\n' +
        'agents’ pods reach this alone, and it takes only what shows the token that the sidecar has and the agent has not.',
    )
    .addOption(
      new Option(
        '--check-source-address <boolean>',
        'refuse connections from other addresses than the pod’s; false where the network rewrites them',
      )
        .choices(['true', 'false'])
        .default(true)
        .argParser(trueOrFalse),
    )
    .addOption(seconds('--drain-seconds <n>', 'how long tunnels may go on after SIGTERM', 30_000))
    .addOption(seconds('--idle-seconds <n>', 'a tunnel in which nothing moved for so long ends; 0: never', 24 * 60 * 60 * 1000))
    .addOption(seconds('--connect-seconds <n>', 'how long a database may take to accept a connection', 5_000))
    .addOption(new Option('--tunnels-max <n>', 'of all pods together').default(10_000).argParser(count))
    .addOption(new Option('--tunnels-per-pod-max <n>', 'of one pod').default(320).argParser(count))
  return addClusterOptions(bare)
    .addHelpText(
      'after',
      `
Examples:
  steno relay                                                       # in the cluster, as the chart runs it
  steno relay --check-source-address false                          # on a network that rewrites the addresses of pods
  kubectl --namespace steno-system logs deployment/steno-relay --follow

The log is on standard error: one line for each tunnel when it ends, and one for each refused request as long as there are few of them.
No line holds a token, and what passes through a tunnel is not looked at.

It ends on SIGTERM or SIGINT: readiness ends first, then tunnels may go on for --drain-seconds. A second signal does not wait.
Exit code 0: it ended in good order; 1: it did not start.`,
    )
    .action(async (options: Options) => {
      const settings = settingsFrom(options, process.env)
      await runUntilSignal(options, async (log) => {
        const relay = await startRelay(settings, log)
        return { ports: { port: relay.port, metrics: relay.metricsPort }, stop: () => relay.stop() }
      })
    })
}

export function settingsFrom(options: Options, environment: NodeJS.ProcessEnv): RelaySettings {
  const common = clusterSettings(options, 'steno-relay', environment)
  return {
    ...common,
    checkSourceAddress: options.checkSourceAddress,
    drainMilliseconds: options.drainSeconds * 1000,
    idleMillisecondsMax: options.idleSeconds === 0 ? null : options.idleSeconds * 1000,
    connectMillisecondsMax: options.connectSeconds * 1000,
    tunnelsMax: options.tunnelsMax,
    tunnelsPerPodMax: options.tunnelsPerPodMax,
    apiServerHost: environment['KUBERNETES_SERVICE_HOST'],
  }
}

function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1 to 999999.')
  return Number(text)
}
