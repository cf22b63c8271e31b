/**
 * The completion script for bash, from 3.2 on (what macOS has). Needs nothing of the package bash-completion.
 *
 * The words are written into the script: only session ids are asked for while somebody types. Readline parts words at `=` and `:`;
 * `--option=value` is put together again, and what is offered begins behind the last of them.
 */
import type { Tree, TreeCommand, ValueKind } from './completion-tree.ts'

export function bashScript({ program, commands }: Tree): string {
  const named = [...commands.map(({ name }) => name), 'help']
  return `# Completion of steno for bash: source <(steno completion bash)

_steno_sessions() {
  # The store that is being typed about, else the usual one.
  local at store=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    if [[ \${COMP_WORDS[at]} == --store ]]; then
      [[ \${COMP_WORDS[at + 1]} == = ]] && ((at++))
      # file:///folder comes in three words.
      store=(--store "\${COMP_WORDS[at + 1]}")
      [[ \${COMP_WORDS[at + 2]} == : ]] && store=(--store "\${COMP_WORDS[at + 1]}:\${COMP_WORDS[at + 3]}")
    fi
  done
  "\${COMP_WORDS[0]}" completion ids \${store[@]+"\${store[@]}"} 2>/dev/null
}

_steno_value() {
  [[ $1 == file || $1 == folder ]] && local IFS=$'\\n' # A name may hold spaces.
  case $1 in
    file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$2")) ;;
    folder) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$2")) ;;
    session) COMPREPLY=($(compgen -W "last $(_steno_sessions)" -- "$2")) ;;
    any) COMPREPLY=() ;;
    *) COMPREPLY=($(compgen -W "$1" -- "$2")) ;;
  esac
}

_steno() {
  local IFS=$' \\t\\n' current=\${COMP_WORDS[COMP_CWORD]} option='' command='' position=0 at word value
  COMPREPLY=()
  # --option=value comes as three words, and as two while the value is still empty.
  if [[ $current == = ]]; then
    current=''
    option=\${COMP_WORDS[COMP_CWORD - 1]}
  elif ((COMP_CWORD > 1)) && [[ \${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
    option=\${COMP_WORDS[COMP_CWORD - 2]}
  elif ((COMP_CWORD > 1)) && [[ \${COMP_WORDS[COMP_CWORD - 1]} == -* ]]; then
    option=\${COMP_WORDS[COMP_CWORD - 1]}
  fi
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    if [[ $word == -- ]]; then
      _steno_value file "$current" # A program of somebody else and its arguments.
      return
    fi
    if [[ $word == -* || $word == = || $word == : ]]; then continue; fi
    if [[ \${COMP_WORDS[at - 1]} == = || \${COMP_WORDS[at - 1]} == : ]]; then continue; fi
    if [[ -n $(_steno_option_value "$command" "\${COMP_WORDS[at - 1]}") ]]; then continue; fi
    if [[ -z $command ]]; then command=$word; else ((position++)); fi
  done
  value=$(_steno_option_value "$command" "$option")
  if [[ -n $value ]]; then
    _steno_value "$value" "$current"
  elif [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$(_steno_options "$command")" -- "$current"))
  elif [[ -z $command ]]; then
    COMPREPLY=($(compgen -W "${named.join(' ')}" -- "$current"))
  else
    value=$(_steno_argument "$command" "$position")
    [[ -n $value ]] && _steno_value "$value" "$current"
  fi
}

_steno_options() {
  case $1 in
${[program, ...commands].map((command) => `    ${label(command, program)}) echo '${optionWords(command)}' ;;`).join('\n')}
  esac
}

_steno_option_value() {
  case "$1 $2" in
${[program, ...commands].flatMap((command) => optionCases(command, program)).join('\n')}
  esac
}

_steno_argument() {
  case "$1 $2" in
    'help 0') echo '${commands.map(({ name }) => name).join(' ')}' ;;
${commands.flatMap(argumentCases).join('\n')}
  esac
}

complete -F _steno steno
`
}

const label = (command: TreeCommand, program: TreeCommand): string => (command === program ? "''" : command.name)

const optionWords = ({ options }: TreeCommand): string => options.map(({ long }) => long).join(' ')

function optionCases(command: TreeCommand, program: TreeCommand): string[] {
  const name = command === program ? '' : command.name
  return command.options.flatMap(({ long, short, value }) => {
    if (value === null) return []
    const spellings = [long, ...(short === null ? [] : [short])].map((spelling) => `'${name} ${spelling}'`)
    return [`    ${spellings.join(' | ')}) echo '${wordsOf(value)}' ;;`]
  })
}

function argumentCases(command: TreeCommand): string[] {
  return command.arguments.map(({ value, isVariadic }, index) => {
    const pattern = isVariadic ? `'${command.name} '*` : `'${command.name} ${index}'`
    return `    ${pattern}) echo '${wordsOf(value)}' ;;`
  })
}

/** What `_steno_value` understands. Choices hold no quotes: they are words of steno's own. */
function wordsOf(value: ValueKind): string {
  return value.kind === 'choices' ? value.choices.join(' ') : value.kind
}
