/** `steno sidecar`: what runs in a pod beside the agent. All it is told stands in its environment; the options are for tests outside a pod. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { createLog } from '../base/log.ts'
import { runSidecar } from '../sidecar/main.ts'

type Options = {
  readonly store?: string
  readonly spool: string
  readonly healthListen?: { readonly host: string; readonly port: number }
  readonly terminationLog: string
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

export function command(): Command {
  return new Command('sidecar')
    .description(
      "Stands between a pod's agent and its databases, as the webhook has put it there: reads STENO_SIDECAR_CONFIG and the other variables of its\n" +
        'container, records into the spool, and ships what it recorded to control.',
    )
    .option('--store <url>', "where recordings go instead of to the configuration's control")
    .option('--spool <folder>', 'the folder that holds recordings until the store has them', '/var/lib/steno/spool')
    .addOption(new Option('--health-listen <address>', 'where probes are answered, instead of on all addresses').argParser(address))
    .option('--termination-log <file>', 'where Kubernetes looks for the reason why the container ended', '/dev/termination-log')
    .addOption(new Option('--log-level <level>').choices(['debug', 'info', 'warn', 'error', 'silent']).default('info'))
    .addHelpText(
      'after',
      `
Examples:
  steno sidecar                                             # in a pod, where the webhook has set the environment
  kubectl logs POD --container steno --follow               # what it prints: one JSON object for each statement that ended
  steno sidecar --store file:///tmp/store --spool /tmp/spool --termination-log /tmp/ended   # outside a pod, with its environment

The log is on standard error.

Exit code 0: everything is shipped; 1: it did not start, or the spool still holds recordings; 78: the configuration, or a connection
string that moved here from the agent, does not fit the policy, and starting again will not help.`,
    )
    .action(async (options: Options) => {
      const code = await runSidecar({
        environment: process.env,
        storeUrl: options.store ?? null,
        spoolFolder: options.spool,
        healthListen: options.healthListen ?? null,
        terminationLog: options.terminationLog,
        log: createLog({ level: options.logLevel }),
      })
      // Sockets that their peers do not close are not waited for.
      process.exit(code)
    })
}

function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new InvalidArgumentError('Give host:port, as 127.0.0.1:0 or [::1]:0.')
  return { host: match[1] ?? match[2]!, port }
}
