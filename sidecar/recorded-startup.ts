/**
 * What of an agent's start-up parameters stands in the recording, made before any of them goes to the database.
 *
 * Parameters change what every later statement means (`search_path`, `role`), so what cannot be recorded is not sent. Values that may be
 * credentials are replaced in the recording only.
 */
import type { ConnectionSettings } from '../postgres/connection-string.ts'
import { redactStartupValue } from '../postgres/redaction/redact-startup.ts'
import type { StartupParameters } from '../session/identity.ts'
import { SessionRefused } from './session-refused.ts'

/** Of the parameters as JSON: a StartupMessage has at most 10,000 bytes, which only control characters make longer than this. */
const charactersMax = 16 * 1024
/** These have a place of their own in the identity. */
const elsewhere = new Set(['user', 'database'])

/** @throws SessionRefused for parameters that a recording has no room for */
export function recordedStartup(
  parameters: ReadonlyMap<string, string>,
  { user, options }: Pick<ConnectionSettings, 'user' | 'options'>,
): StartupParameters {
  const redacted = (pairs: Iterable<readonly [string, string]>): Record<string, string> =>
    Object.fromEntries([...pairs].map(([name, value]) => [name, redactStartupValue(name, value)]))
  // In pass-through the connection string says where the database is and nothing else.
  const own = user === null || options === null || options.trim() === '' ? [] : [['options', options] as const]
  const startup = {
    agent: redacted([...parameters].filter(([name]) => !elsewhere.has(name))),
    operator: redacted(own),
  }
  if (JSON.stringify(startup.agent).length > charactersMax)
    throw new SessionRefused(
      '08P01',
      'the start-up parameters are longer than a recording can hold',
      'Send fewer or shorter parameters when connecting; settings can be made by SET afterwards.',
    )
  return startup
}
