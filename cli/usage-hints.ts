/**
 * What somebody probably meant who typed what a command does not have: habits of psql, kubectl, grep and git. Commander itself names what differs by a
 * few letters.
 *
 * Goes by commander's own codes and texts; a text that it does not know stays as it is.
 */
import type { Command } from 'commander'

/** Shorter beginnings fit too much. */
const beginningCharactersMin = 4

/** Has the command's errors of usage end with what was probably meant. */
export function addUsageHints(command: Command): Command {
  const error = command.error.bind(command)
  command.error = (message, options) => error(withHint(message, options?.code ?? '', command), options)
  return command
}

export function withHint(message: string, code: string, command: Command): string {
  const meant = meantBy(message, code, command)
  if (meant === null) return message
  return `${message.replace(/\n\(Did you mean [^\n]*\)$/, '')}\n(Did you mean ${meant}?)`
}

function meantBy(message: string, code: string, command: Command): string | null {
  const [, typed = ''] = /'([^']*)'/.exec(message) ?? []
  const options = command.options.filter(({ hidden, long }) => !hidden && long !== undefined).map(({ long }) => long!)
  switch (code) {
    case 'commander.unknownOption': {
      // kubectl's.
      if (/^(?:-o|--output(?:=|$))/.test(typed) && options.includes('--json')) return '--json'
      if (message.includes('(Did you mean')) return null
      const begins = typed.length >= beginningCharactersMin ? options.filter((long) => long.startsWith(typed)) : []
      return begins.length > 1 ? `one of ${begins.join(', ')}` : (begins[0] ?? null)
    }
    case 'commander.unknownCommand':
      return typed === 'version' ? '--version' : null
    case 'commander.excessArguments':
      // grep's.
      return command.registeredArguments.length === 0 && options.includes('--text') ? '--text TEXT' : null
    default:
      return null
  }
}
