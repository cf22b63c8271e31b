/**
 * The parameters of steno's own StartupMessage in custody: the agent's, with the user fixed and the operator's options winning.
 *
 * The server applies `options` before the parameters that stand alone, so a setting that the operator's options name is taken out of those.
 * Source: PostgreSQL's src/backend/utils/init/postinit.c (process_startup_options).
 */
import { invariant } from '../../base/invariant.ts'
import type { ConnectionSettings } from '../../postgres/connection-string.ts'
import { settingsNamed } from '../../postgres/startup-options.ts'

export function startupParameters(
  settings: ConnectionSettings,
  agent: { readonly database: string; readonly parameters: Readonly<Record<string, string>> },
): [string, string][] {
  invariant(settings.user !== null, 'custody has a user')
  const fixed = new Set(['user', 'database', 'options', 'replication', ...settingsNamed(settings.options ?? '')])
  const merged = new Map<string, string>()
  for (const [name, value] of Object.entries(agent.parameters)) {
    const plain = name.toLowerCase()
    // Protocol options are agreed between steno and each side on its own.
    if (!fixed.has(plain) && !plain.startsWith('_pq_.')) merged.set(name, value)
  }
  const named = (wanted: string): boolean => [...merged.keys()].some((name) => name.toLowerCase() === wanted)
  const applicationName = settings.applicationName ?? settings.fallbackApplicationName
  if (applicationName !== null && !named('application_name')) merged.set('application_name', applicationName)
  if (settings.clientEncoding !== null && !named('client_encoding')) merged.set('client_encoding', settings.clientEncoding)
  const options = [agent.parameters['options'] ?? '', settings.options ?? ''].filter((text) => text.trim() !== '').join(' ')
  if (options !== '') merged.set('options', options)
  return [['user', settings.user], ['database', agent.database], ...merged]
}
