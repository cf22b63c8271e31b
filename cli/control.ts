/** `steno control`: what sidecars hand their recordings to, and are told their policies by; runs it until a signal, and ends it in good order. */
import { Command, Option } from 'commander'
import type { Address } from '../cluster/process-settings.ts'
import { startControl } from '../webhook/main.ts'
import { addClusterOptions, clusterSettings, listenAddress, runUntilSignal, trueOrFalse, type ClusterOptions } from './cluster-options.ts'

type Options = ClusterOptions & { readonly readerListen: Address; readonly reader: boolean; readonly limitAddresses: boolean }

export function command(): Command {
  const bare = new Command('control')
    .description(
      'Takes sealed recordings from the sidecars of a cluster, checks whose they are, writes each once into its RecordingStore and gives a\n' +
        'signed receipt; gives auditors who may port-forward to it what is stored.',
    )
    .addOption(
      new Option('--reader-listen <address>', 'where auditors read, by kubectl port-forward; a loopback address')
        .default({ host: '127.0.0.1', port: 8081 }, '127.0.0.1:8081')
        .argParser(listenAddress),
    )
    .option('--no-reader', 'let nobody read through this control')
    .addOption(
      new Option('--limit-addresses <boolean>', 'bound the connections of each address; false where the network rewrites those of pods')
        .choices(['true', 'false'])
        .default(true)
        .argParser(trueOrFalse),
    )
  return addClusterOptions(bare, { drainDelayMilliseconds: 3_000 })
    .addHelpText(
      'after',
      `
Examples:
  steno control                                             # in the cluster, as the chart runs it
  kubectl --namespace steno-system logs deployment/steno-control --follow
  kubectl --namespace steno-system port-forward deployment/steno-control 8081   # then: steno sessions --store control+http://127.0.0.1:8081/default

The log is on standard error, one JSON object a line: one for each refused request and each change of a store. No line holds a token.

It ends on SIGTERM or SIGINT when what is under way has ended. A second signal does not wait. Exit code 0: it ended in good order; 1: it did
not start.`,
    )
    .action(async (options: Options) => {
      const settings = {
        ...clusterSettings(options, 'steno-control', process.env),
        readerListen: options.reader ? options.readerListen : null,
        limitAddresses: options.limitAddresses,
      }
      await runUntilSignal(options, async (log) => {
        const control = await startControl(settings, log)
        const { port, readerPort, metricsPort } = control
        return { ports: { port, readerPort, metricsPort }, stop: () => control.stop() }
      })
    })
}
