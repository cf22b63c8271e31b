/** The completion script for zsh: `_arguments` with the commands' own descriptions. */
import type { Tree, TreeCommand, TreeOption, ValueKind } from './completion-tree.ts'

export function zshScript({ program, commands }: Tree): string {
  const described = [...commands, { name: 'help', summary: 'display help for a command' }]
  return `#compdef steno
# Completion of steno for zsh: source <(steno completion zsh), or as a file named _steno in a folder of $fpath.

_steno_sessions() {
  local -a sessions store
  local at=\${words[(I)--store]}
  (( at > 0 && at < CURRENT )) && store=(--store "\${words[at + 1]}")
  sessions=(last \${(f)"$(_call_program sessions steno completion ids $store 2>/dev/null)"})
  compadd -V sessions -a sessions
}

_steno_commands() {
  local -a commands
  commands=(
${described.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`).join('\n')}
  )
  _describe -t commands 'steno command' commands
}

_steno() {
  local context state state_descr line curcontext=$curcontext
  typeset -A opt_args
  _arguments -C \\
${program.options.map((option) => `    ${optionSpecification(option)} \\`).join('\n')}
    '1: :_steno_commands' \\
    '*:: :->arguments'
  [[ $state == arguments ]] || return
  case $words[1] in
${commands.map(commandCase).join('\n')}
    help) _arguments '1: :_steno_commands' ;;
  esac
}

if [[ $funcstack[1] == _steno ]]; then _steno "$@"; else compdef _steno steno; fi
`
}

function commandCase(command: TreeCommand): string {
  const positional = command.arguments.map(({ name, value, isVariadic }, index) =>
    quoted(`${isVariadic ? '*' : index + 1}:${escaped(name)}:${action(value)}`),
  )
  const lines = [...command.options.map(optionSpecification), ...positional]
  return `    ${command.name})\n      _arguments \\\n${lines.map((line) => `        ${line}`).join(' \\\n')}\n      ;;`
}

/** `'(-V --version)'{-V,--version}'[…]'`, or with a value `'--color=[…]:value:(auto always never)'`. */
function optionSpecification({ long, short, summary, value, isVariadic }: TreeOption): string {
  const text = `[${escaped(summary)}]`
  const behind = value === null ? '' : `:value:${action(value)}`
  const repeated = isVariadic ? '*' : ''
  const spelling = value === null ? long : `${long}=`
  if (short === null) return quoted(`${repeated}${spelling}${text}${behind}`)
  return `${quoted(`(${short} ${long})`)}{${short},${spelling}}${quoted(`${text}${behind}`)}`
}

function action(value: ValueKind): string {
  switch (value.kind) {
    case 'choices':
      return `(${value.choices.join(' ')})`
    case 'file':
      return '_files'
    case 'folder':
      return '_files -/'
    case 'session':
      return '_steno_sessions'
    case 'any':
      return ' '
    default:
      return value satisfies never
  }
}

const escaped = (text: string): string => text.replace(/[[\]:\\]/g, (mark) => `\\${mark}`).replace(/\s+/g, ' ')
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
