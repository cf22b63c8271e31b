/** `steno man`: prints the manual page, of steno as a whole or of one command. */
import { Argument, Command } from 'commander'
import { stenoVersion } from '../base/version.ts'
import { nearest } from './config-file-nearest.ts'
import { commonOptionsHeading } from './common-options.ts'
import { treeOf } from './completion-tree.ts'
import { BadUsage } from './failure-report.ts'
import type { WholeProgram } from './main.ts'
import { manualPage } from './man-page.ts'
import { printLines } from './print-lines.ts'

export function command(wholeProgram: WholeProgram): Command {
  const own: Command = new Command('man')
    .description('Prints the manual page in the format that man reads: of all commands, or of one.')
    .addArgument(new Argument('[command]', 'the command to print the page of'))
    .addHelpText(
      'after',
      `
Examples:
  steno man | man -l -                                          # read it
  steno man show | man -l -                                     # of one command
  steno man > ~/.local/share/man/man1/steno.1                   # keep it, for \`man steno\`

Exit codes: 0 done, 2 used wrongly, as for a command that does not exist.`,
    )
    .action(async (name: string | undefined) => {
      const tree = treeOf(await wholeProgram(), { commonHeading: commonOptionsHeading })
      const names = tree.commands.map((candidate) => candidate.name)
      if (name !== undefined && !names.includes(name)) {
        const meant = nearest(name, names)
        throw new BadUsage(`there is no command "${name}"${meant === null ? '' : `; did you mean "${meant}"?`}`)
      }
      await printLines(manualPage(tree, { version: stenoVersion, only: name ?? null }))
    })
  return own
}
