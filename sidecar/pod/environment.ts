/**
 * What a sidecar is told by its container's environment: the configuration, who its pod is, and the values that moved here from the agent.
 *
 * The values are secrets. They are taken out of the environment as they are read, so that no thread that is started later, and nothing
 * that prints its environment, has them. What the kernel shows in /proc/<pid>/environ stays as it was at the start; only this user
 * and root can read it, and no other container of the pod sees this one's processes.
 */
import {
  caVariablePattern,
  parseSidecarConfig,
  SidecarConfigInvalid,
  sourceVariablePattern,
  type SidecarConfig,
} from '../../crds/sidecar-config.ts'

export type PodEnvironment = {
  readonly config: SidecarConfig
  /** Facts of the pod, under the names that control compares with the token's. */
  readonly attested: Readonly<Record<string, string>>
  /** Values of the variables that listeners name. */
  readonly values: ReadonlyMap<string, string>
}

/** Each fact of the pod and the variable that the kubelet fills by `fieldRef`. */
const facts = {
  podName: 'STENO_POD_NAME',
  podNamespace: 'STENO_POD_NAMESPACE',
  podUid: 'STENO_POD_UID',
  serviceAccount: 'STENO_SERVICE_ACCOUNT',
  nodeName: 'STENO_NODE_NAME',
} as const

/** Reads `environment` and removes from it what no other part needs. @throws SidecarConfigInvalid; removed is everything even then */
export function takePodEnvironment(environment: Record<string, string | undefined>): PodEnvironment {
  const values = new Map<string, string>()
  for (const [name, value] of Object.entries(environment)) {
    if (!sourceVariablePattern.test(name) && !caVariablePattern.test(name)) continue
    if (value !== undefined) values.set(name, value)
    delete environment[name]
  }
  const text = environment['STENO_SIDECAR_CONFIG']
  if (text === undefined || text === '') throw new SidecarConfigInvalid('', 'is missing')
  const config = parseSidecarConfig(text)
  const known = Object.entries(facts).map(([fact, variable]) => [fact, environment[variable] ?? ''] as const)
  return { config, values, attested: Object.fromEntries(known.filter(([, value]) => value !== '')) }
}
