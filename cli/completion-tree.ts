/**
 * The commands as plain data, for what is made from them: shell completion and the manual page.
 *
 * Read from commander's own description, so an option that is added to a command is complete everywhere at once. What a value is (a file, a
 * session, one of a few words) follows from the choices and from the placeholder: `<file>`, `<folder>`, `<session>`.
 */
import type { Argument, Command, Option, OutputConfiguration } from 'commander'

export type ValueKind =
  | { readonly kind: 'choices'; readonly choices: readonly string[] }
  | { readonly kind: 'file' }
  | { readonly kind: 'folder' }
  | { readonly kind: 'session' }
  | { readonly kind: 'any' }

export type TreeOption = {
  /** `--color` */
  readonly long: string
  /** `-V`, or null. */
  readonly short: string | null
  /** `--color <when>` as the help shows it. */
  readonly flags: string
  readonly summary: string
  /** Null when the option takes no value. */
  readonly value: ValueKind | null
  readonly isVariadic: boolean
  readonly isCommon: boolean
}

export type TreeArgument = { readonly name: string; readonly summary: string; readonly value: ValueKind; readonly isVariadic: boolean }

export type TreeCommand = {
  readonly name: string
  readonly summary: string
  readonly description: string
  /** `[options] <session>` */
  readonly usage: string
  readonly options: readonly TreeOption[]
  readonly arguments: readonly TreeArgument[]
  /** What its help says behind the options: examples, exit codes. */
  readonly epilogue: string
}

export type Tree = { readonly program: TreeCommand; readonly commands: readonly TreeCommand[] }

export function treeOf(program: Command, { commonHeading }: { readonly commonHeading: string }): Tree {
  const describe = (command: Command): TreeCommand => describeCommand(command, commonHeading)
  return { program: describe(program), commands: program.commands.map(describe) }
}

function describeCommand(command: Command, commonHeading: string): TreeCommand {
  const help = command.createHelp()
  return {
    name: command.name(),
    summary: command.summary() || command.description(),
    description: command.description(),
    usage: command.usage(),
    options: help.visibleOptions(command).map((option) => ({
      long: option.long ?? option.short ?? '',
      short: option.long === undefined ? null : (option.short ?? null),
      flags: option.flags,
      summary: help.optionDescription(option),
      value: option.required || option.optional ? valueOf(option) : null,
      isVariadic: option.variadic,
      isCommon: option.helpGroupHeading === commonHeading,
    })),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      summary: help.argumentDescription(argument),
      value: valueOf(argument),
      isVariadic: argument.variadic,
    })),
    epilogue: epilogueOf(command),
  }
}

function valueOf(given: Option | Argument): ValueKind {
  const { argChoices } = given
  if (argChoices !== undefined) return { kind: 'choices', choices: argChoices }
  const placeholder = 'flags' in given ? (/[<[]([\w-]+)/.exec(given.flags)?.[1] ?? '') : given.name()
  if (placeholder === 'file' || placeholder === 'folder') return { kind: placeholder }
  if (placeholder === 'session' || placeholder === 'id' || placeholder === 'sessions') return { kind: 'session' }
  return { kind: 'any' }
}

/** The help as it is printed, less the part that commander makes. */
function epilogueOf(command: Command): string {
  let printed = ''
  const before: OutputConfiguration = command.configureOutput()
  const { writeOut, getOutHasColors } = before
  command.configureOutput({ writeOut: (text) => void (printed += text), getOutHasColors: () => false })
  command.outputHelp()
  const made = command.helpInformation()
  command.configureOutput({
    ...(writeOut === undefined ? {} : { writeOut }),
    ...(getOutHasColors === undefined ? {} : { getOutHasColors }),
  })
  return printed.startsWith(made) ? printed.slice(made.length).trim() : ''
}
