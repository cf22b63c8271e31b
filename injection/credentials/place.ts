/** Whether what can be seen of a connection leads to what the policy names; the sidecar checks the rest when it has the values. */
import { hostMatches } from '../../crds/host-pattern.ts'
import type { MergedDatabase } from '../../crds/merge.ts'
import { sslModeOf } from '../../postgres/connection-forms/written-connection.ts'

/** Null is hidden, undefined is not given. */
export type SeenPlace = {
  readonly host: string | null | undefined
  readonly hostaddr: string | null | undefined
  readonly port: string | null | undefined
  readonly database: string | null | undefined
  readonly sslmode: string | null | undefined
}

const portDefault = '5432'
/** From the weakest to the strictest. */
const modes: readonly string[] = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full']

/**
 * What does not fit, as one sentence; null when all does. No value is named: of a password that is not encoded a piece may stand where the
 * host does.
 */
export function faultOfPlace({ host, hostaddr, port, database, sslmode }: SeenPlace, policy: MergedDatabase): string | null {
  const faults: string[] = []
  const hosts = [host, hostaddr].flatMap((list) => (list ? list.split(',') : []))
  if (hosts.some((one) => !policy.hosts.some((pattern) => hostMatches(pattern, one))))
    faults.push(`its host is none that the policy names for database ${policy.name} (${policy.hosts.join(', ')})`)
  // With the host hidden the port may be inside of it.
  const ports = port === null || hosts.length === 0 ? [] : (port || portDefault).split(',')
  if (ports.some((one) => (one || portDefault) !== String(policy.port))) faults.push(`its port is not ${policy.port}`)
  if (database && !policy.databaseNames.includes(database)) faults.push(`its database is none of ${policy.databaseNames.join(', ')}`)
  const mode = sslmode ? sslModeOf(sslmode, 'require') : null
  if (mode !== null && modes.indexOf(mode) < modes.indexOf(policy.tls.mode))
    faults.push(`it says sslmode=${mode}, and the policy demands ${policy.tls.mode}`)
  return faults.length === 0 ? null : faults.join('; ')
}
