/** The completion script for fish: one `complete` line per command, option and argument, with descriptions. */
import type { Tree, TreeCommand, TreeOption, ValueKind } from './completion-tree.ts'

export function fishScript({ program, commands }: Tree): string {
  return `# Completion of steno for fish: steno completion fish > ~/.config/fish/completions/steno.fish

function __steno_sessions
    set -l words (commandline -opc)
    set -l store
    for at in (seq 2 (count $words))
        if test "$words[$at]" = --store; and test (count $words) -gt $at
            set store --store $words[(math $at + 1)]
        end
    end
    echo last
    command steno completion ids $store 2>/dev/null
end

function __steno_needs_command
    set -l words (commandline -opc)
    not __fish_seen_subcommand_from ${commands.map(({ name }) => name).join(' ')} help
end

complete -c steno -f
${program.options.map((option) => optionLine('__steno_needs_command', option)).join('\n')}
${[...commands, { name: 'help', summary: 'display help for a command' }].map(({ name, summary }) => `complete -c steno -n __steno_needs_command -a ${name} -d ${quoted(summary)}`).join('\n')}
complete -c steno -n '__fish_seen_subcommand_from help' -a ${quoted(commands.map(({ name }) => name).join(' '))}
${commands.flatMap(commandLines).join('\n')}
`
}

function commandLines(command: TreeCommand): string[] {
  const condition = quoted(`__fish_seen_subcommand_from ${command.name}`)
  const lines = command.options.map((option) => optionLine(condition, option))
  for (const { value, summary } of command.arguments) {
    const words = offered(value)
    if (words !== '') lines.push(`complete -c steno -n ${condition}${words} -d ${quoted(summary)}`)
  }
  return lines
}

function optionLine(condition: string, { long, short, summary, value }: TreeOption): string {
  const spelling = `${short === null ? '' : ` -s ${short.slice(1)}`} -l ${long.replace(/^--/, '')}`
  const taken = value === null ? '' : ` -r${offered(value)}`
  return `complete -c steno -n ${condition}${spelling}${taken} -d ${quoted(summary)}`
}

function offered(value: ValueKind): string {
  switch (value.kind) {
    case 'choices':
      return ` -f -a ${quoted(value.choices.join(' '))}`
    case 'file':
      return ' -F'
    case 'folder':
      return " -f -a '(__fish_complete_directories)'"
    case 'session':
      return " -f -k -a '(__steno_sessions)'"
    case 'any':
      return ''
    default:
      return value satisfies never
  }
}

/** In single quotes fish knows escapes of the quote and of the backslash. */
const quoted = (text: string): string => `'${text.replace(/\s+/g, ' ').replace(/['\\]/g, (mark) => `\\${mark}`)}'`
