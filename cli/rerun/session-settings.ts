/** The settings that a session began with, as far as a recording knows them: those that the server reports at start-up. */
import type { SessionIdentity } from '../../session/identity.ts'

/** Settings of a session that a client can ask for at its start, and that change what statements mean or how values read. */
const startupSettings = [
  'client_encoding',
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'search_path',
  'standard_conforming_strings',
  'default_transaction_read_only',
  'application_name',
] as const

/** As the server reported them when the recorded session began. */
export function settingsOf({ serverParameters }: SessionIdentity): [name: string, value: string][] {
  return startupSettings.flatMap((name): [string, string][] => {
    const value = serverParameters[name]
    if (value === undefined) return []
    // What is the default everywhere need not be said.
    if ((name === 'standard_conforming_strings' && value === 'on') || (name === 'default_transaction_read_only' && value === 'off'))
      return []
    return [[name, value]]
  })
}
