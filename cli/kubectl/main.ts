/**
 * `kubectl steno`: what steno does in a cluster, for people who already have kubectl: its status, what would happen to a pod and why, and
 * the cluster's recordings.
 *
 * Speaks to the cluster by kubectl alone, so contexts, credentials and rights are kubectl's own. Exit codes: 0 done, 1 failed or refused,
 * 2 used wrongly; commands that read recordings end as `steno` itself does.
 */
import { Command } from 'commander'
import { systemCodeOf } from '../../base/errors.ts'
import { stenoVersion } from '../../base/version.ts'
import { hasColour, palette } from '../colour.ts'
import { withoutEmptyDefault } from '../common-options.ts'
import { BadUsage, exitCode, report } from '../failure-report.ts'
import { asTyped, pluginName } from '../program-name.ts'
import { addUsageHints } from '../usage-hints.ts'
import { breakGlassCommand } from './break-glass.ts'
import { checkCommand } from './check.ts'
import { completions } from './completion.ts'
import { explainCommand } from './explain.ts'
import { probeCommand } from './probe.ts'
import { readings, recordingCommand } from './recordings.ts'
import { statusCommand } from './status.ts'
import { supportBundleCommand } from './support-bundle.ts'

async function main(argv: readonly string[]): Promise<void> {
  const asJson = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : argv.length).includes('--json')
  try {
    if (argv[0] === '__complete') return await complete(argv.slice(1))
    refuseEarlyOptions(argv)
    const program = await programFor(argv, asJson)
    await program.parseAsync(argv, { from: 'user' })
  } catch (error) {
    const code = report(error, { asJson })
    if (code !== exitCode.failed || process.exitCode === undefined) process.exitCode = code
  }
}

/** kubectl itself takes these before its commands, so that is where people write them. @throws BadUsage */
function refuseEarlyOptions([first = '']: readonly string[]): void {
  const [name = ''] = first.split('=')
  if (!['-n', '--namespace', '-A', '--all-namespaces', '--context', '--kubeconfig', '--steno-namespace'].includes(name)) return
  throw new BadUsage(`${name} stands behind the command: kubectl steno COMMAND ${name} …`)
}

async function complete(words: readonly string[]): Promise<void> {
  process.stdout.write(await completions(words, (argv) => programFor(argv, true)))
}

/** The program, with the command that `argv` names; of the other commands that read recordings it knows the names. */
async function programFor(argv: readonly string[], asJson: boolean): Promise<Command> {
  const at = argv.findIndex((word) => !word.startsWith('-'))
  const named = argv[at] === 'help' ? argv[at + 1] : argv[at]
  const program = new Command('kubectl steno')
    .description('Shows what steno does in a cluster, and reads what it recorded there.')
    .version(stenoVersion, '-V, --version')
    .enablePositionalOptions()
    .addHelpText(
      'after',
      `
Examples:
  kubectl steno status                       # what is not as it should be, then policies, pods and stores
  kubectl steno check -f pod.yaml -n shop    # would this pod be admitted, and what would become of it?
  kubectl steno explain agent-7d4 -n shop    # which policies a running pod has, and where its credential went
  kubectl steno explain deployment/agent -n shop   # the same of each pod of a workload
  kubectl steno probe orders -n shop         # would the database talk to somebody who is not the relay?
  kubectl steno sessions -n shop --since 1h  # what the pods of a namespace did
  kubectl steno tail                         # statements as they are stored
  kubectl steno replay last                  # the newest session of the cluster
  kubectl steno support-bundle               # what helps to find a fault, without secrets, in one archive

Reading recordings needs the right to port-forward to control: the Role steno-auditor in steno's namespace.
The kubectl that is asked is the one on PATH, or the one that the variable KUBECTL names.
Exit codes: 0 done, 1 failed or refused, 2 used wrongly; commands that read recordings have those of \`steno\`.`,
    )
  for (const command of [statusCommand(), explainCommand(), checkCommand(), probeCommand(), supportBundleCommand(), breakGlassCommand()])
    program.addCommand(command)
  for (const [name, { summary }] of Object.entries(readings)) {
    const isNamed = name === named
    program.addCommand(isNamed ? await recordingCommand(name, argv.slice(at + 1)) : new Command(name).summary(summary).description(summary))
  }
  const { bold } = palette(true) // Commander takes the colours out again where there shall be none.
  for (const command of [program, ...program.commands]) {
    addUsageHints(command)
      .exitOverride()
      .showHelpAfterError('(add --help for what can be given)')
      .configureHelp({ styleTitle: bold, optionDescription: withoutEmptyDefault })
      .configureOutput({
        // Help of a command that steno has too speaks of `steno`.
        writeOut: (text) => void process.stdout.write(asTyped(text, pluginName)),
        writeErr: (text) => void (asJson || process.stderr.write(asTyped(text, pluginName))),
        getOutHasColors: () => hasColour(undefined, process.stdout, process.env),
        getErrHasColors: () => hasColour(undefined, process.stderr, process.env),
      })
  }
  return program
}

// A reader that has seen enough (`| head`) is no failure.
process.stdout.on('error', (error) => {
  if (!['EPIPE', 'ERR_STREAM_DESTROYED'].includes(systemCodeOf(error) ?? '')) throw error
})

await main(process.argv.slice(2))
