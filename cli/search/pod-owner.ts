/**
 * Which pods are of a workload, told by their names alone: a recording outlives the objects that could be asked.
 *
 * Kubernetes makes the names of a workload's pods from the workload's own (k8s.io/apiserver names.SimpleNameGenerator: 58 characters of the
 * base and five random ones; Deployments put a hash between, StatefulSets an ordinal, Jobs with indexes the index, CronJobs the minute).
 * A pod that somebody named so by hand counts as well. Knows no workloads of other kinds.
 */

/** What Kubernetes takes for random parts of names and for hashes of templates (k8s.io/apimachinery util/rand). */
const letters = '[bcdfghjklmnpqrstvwxz2456789]'
const baseCharactersMax = 58
const randomCharacters = 5

const workloadKinds = ['deployment', 'replicaset', 'statefulset', 'daemonset', 'job', 'cronjob'] as const
export type WorkloadKind = (typeof workloadKinds)[number]
export type Workload = { readonly kind: WorkloadKind; readonly name: string }

const shortNames: Readonly<Record<string, WorkloadKind>> = {
  deploy: 'deployment',
  rs: 'replicaset',
  sts: 'statefulset',
  ds: 'daemonset',
  cj: 'cronjob',
}

/** `KIND/NAME` as kubectl takes it: `deployment/worker`, `jobs.batch/import`, `sts/queue`. Null for anything else, pods too. */
export function parseWorkload(text: string): Workload | null {
  const [, typed = '', name = ''] = /^([A-Za-z]+)(?:\.[A-Za-z0-9.]+)?\/([^/]+)$/.exec(text) ?? []
  const singular = typed.toLowerCase().replace(/s$/, '')
  const kind = workloadKinds.find((candidate) => candidate === singular) ?? shortNames[typed.toLowerCase()] ?? shortNames[singular] ?? null
  return kind === null ? null : { kind, name }
}

/** What stands between the workload's name and the random characters, a dash behind it. */
const middles: Readonly<Record<Exclude<WorkloadKind, 'statefulset'>, string>> = {
  deployment: `${letters}{1,10}-`,
  replicaset: '',
  daemonset: '',
  job: String.raw`(?:\d{1,9}-)?`,
  cronjob: String.raw`\d{8,10}-(?:\d{1,9}-)?`,
}

export function isPodOf({ kind, name }: Workload, pod: string): boolean {
  if (kind === 'statefulset') return pod.startsWith(`${name}-`) && /^\d{1,10}$/.test(pod.slice(name.length + 1))
  const base = pod.slice(0, -randomCharacters)
  if (!new RegExp(`^${letters}{${randomCharacters}}$`).test(pod.slice(-randomCharacters))) return false
  const own = `${name}-`.slice(0, baseCharactersMax)
  if (!base.startsWith(own)) return false
  const rest = base.slice(own.length)
  if (new RegExp(`^${middles[kind]}$`).test(rest)) return true
  // What a long name leaves room for: the beginning of the hash or the number.
  return base.length === baseCharactersMax && /^[a-z0-9]*$/.test(rest) && middles[kind] !== '' && rest.length < 12
}
