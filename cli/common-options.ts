/** The options that every command has, so that none has to name them: config file, colour, and the pager where a command uses one. */
import { Help, Option, type Command } from 'commander'
import { colourChoices } from './colour.ts'

export const commonOptionsHeading = 'Common options:'
const takingValue = ['--config', '--color']

export function addCommonOptions(command: Command, { paged }: { readonly paged: boolean }): Command {
  const add = (option: Option): void => {
    // A command may have said itself what such an option does in it.
    if (!command.options.some(({ long }) => long === option.long)) command.addOption(option.helpGroup(commonOptionsHeading))
  }
  if (paged) add(new Option('--no-pager', 'print on the terminal directly, not through $STENO_PAGER, $PAGER or less'))
  add(new Option('--color <when>', 'use colours').choices(colourChoices).default('auto'))
  add(new Option('--config <file>', 'a config file; else $STENO_CONFIG, else ~/.config/steno/config.json'))
  return command
}

/** An option's description for its help. That nothing is the default of one that may be repeated says itself. */
export function withoutEmptyDefault(option: Option): string {
  return new Help().optionDescription(option).replace(/ ?\(default: \[\]\)/, '')
}

/** The command's name as it was typed, before or behind common options; undefined when there is none. */
export function typedCommand(argv: readonly string[]): string | undefined {
  for (let at = 0; at < argv.length; at++) {
    const argument = argv[at]!
    if (!argument.startsWith('-')) return argument
    if (argument === '--') return undefined
    if (takingValue.includes(argument)) at++
  }
  return undefined
}

/** What was typed before the command's name holds as if it stood behind it. */
export function passDownCommonOptions(program: Command, command: Command): void {
  for (const { long } of program.options) {
    const option = command.options.find((candidate) => candidate.long === long)
    if (option === undefined) continue
    const name = option.attributeName()
    if (program.getOptionValueSource(name) === 'cli' && command.getOptionValueSource(name) !== 'cli')
      command.setOptionValueWithSource(name, program.getOptionValue(name), 'cli')
  }
}
