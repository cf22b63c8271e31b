/**
 * The settings that a session began with: what the server reported then, and what else agent and operator asked for by start-up parameters.
 *
 * Says what cannot be asked for again. Does not know whether another server has such settings, roles or schemas.
 */
import { isRedactedValue } from '../../postgres/redaction/redact-startup.ts'
import { readStartupOptions } from '../../postgres/startup-options.ts'
import type { SessionIdentity, StartupParameters } from '../../session/identity.ts'

/** Settings of a session that a client can ask for at its start, and that change what statements mean or how values read. */
const reportedSettings = [
  'client_encoding',
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'search_path',
  'standard_conforming_strings',
  'default_transaction_read_only',
  'application_name',
] as const
/** Parameters of the StartupMessage that are no settings. */
const notSettings = new Set(['user', 'database', 'options', 'replication'])
/** They take effect in a start-up packet and nowhere else. Source: the server's guc_tables.c, PGC_BACKEND and PGC_SU_BACKEND. */
const startOnly = new Set([
  'ignore_system_indexes',
  'jit_debugging_support',
  'jit_profiling_support',
  'local_preload_libraries',
  'log_connections',
  'log_disconnections',
  'post_auth_delay',
  'session_preload_libraries',
])

export type SessionSettings = {
  readonly settings: readonly (readonly [name: string, value: string])[]
  /** What was asked for and cannot be set, in words. */
  readonly notSet: readonly string[]
}

/** As the server reported them when the recorded session began, and behind them the others that start-up parameters named. */
export function settingsOf({ serverParameters, startup }: SessionIdentity): SessionSettings {
  const settings = new Map<string, readonly [string, string]>()
  const notSet: string[] = []
  for (const name of reportedSettings) {
    const value = serverParameters[name]
    if (value === undefined || isRedactedValue(value)) continue
    // What is the default everywhere need not be said.
    if ((name === 'standard_conforming_strings' && value === 'on') || (name === 'default_transaction_read_only' && value === 'off'))
      continue
    settings.set(name.toLowerCase(), [name, value])
  }
  const reported = new Set(reportedSettings.filter((name) => serverParameters[name] !== undefined).map((name) => name.toLowerCase()))
  for (const { name, value } of startup === undefined ? [] : askedFor(startup)) {
    if (name === null) notSet.push(`the option ${value}: it is for the server process, not a setting`)
    else if (isRedactedValue(value)) notSet.push(`${name}: its value was replaced before it was recorded, because it may be a credential`)
    else if (startOnly.has(name.toLowerCase())) notSet.push(`${name} = ${value}: it can be given at the start of a connection only`)
    else if (!reported.has(name.toLowerCase())) settings.set(name.toLowerCase(), [name, value])
  }
  return { settings: [...settings.values()], notSet }
}

/** In the order in which the server applies them: all options, the operator's last, and then what stands alone, but for what the operator fixed. */
function* askedFor({ agent, operator }: StartupParameters): Generator<{ readonly name: string | null; readonly value: string }> {
  const fixed = new Set<string>()
  for (const [parameters, fixes] of [
    [agent, false],
    [operator, true],
  ] as const) {
    for (const option of readStartupOptions(parameters['options'] ?? '')) {
      if (option.name === null) yield { name: null, value: option.word }
      else {
        if (fixes) fixed.add(option.name)
        yield option
      }
    }
  }
  for (const [name, value] of Object.entries(agent)) {
    const plain = name.toLowerCase()
    if (!notSettings.has(plain) && !plain.startsWith('_pq_.') && !fixed.has(plain)) yield { name, value }
  }
}
