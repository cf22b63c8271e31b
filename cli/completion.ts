/** `steno completion`: prints the script that makes a shell complete steno's commands, options, choices and session ids. */
import { Argument, Command } from 'commander'
import { bashScript } from './completion-bash.ts'
import { fishScript } from './completion-fish.ts'
import { printSessionIds } from './completion-sessions.ts'
import { treeOf } from './completion-tree.ts'
import { zshScript } from './completion-zsh.ts'
import { commonOptionsHeading } from './common-options.ts'
import type { WholeProgram } from './main.ts'
import { printLines } from './print-lines.ts'
import { storeOption, type StoreOptions } from './store-option.ts'

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const
const shells = Object.keys(scripts) as (keyof typeof scripts)[]

export function command(wholeProgram: WholeProgram): Command {
  const own: Command = new Command('completion')
    .helpCommand(false)
    .usage('[options] <shell>')
    .description('Prints a script that makes a shell complete the commands, options, choices and session ids of steno.')
    .addArgument(new Argument('<shell>', 'the shell that you use').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  source <(steno completion bash)                                     # in ~/.bashrc
  source <(steno completion zsh)                                      # in ~/.zshrc, behind compinit
  steno completion fish > ~/.config/fish/completions/steno.fish       # once

Exit codes: 0 done, 2 used wrongly.`,
    )
    .action(async (shell: keyof typeof scripts) => {
      const tree = treeOf(await wholeProgram(), { commonHeading: commonOptionsHeading })
      await printLines([scripts[shell](tree).trimEnd()])
    })
  // What the scripts ask while somebody types.
  own
    .command('ids', { hidden: true })
    .addOption(storeOption())
    .action((options: StoreOptions) => printSessionIds(options))
  return own
}
