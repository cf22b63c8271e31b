/**
 * What a break-glass is in the cluster: a ClusterSessionPolicy `break-glass-NAMESPACE` with one entry of `exemptPods` that has an end, a label by which
 * it is found, and annotations that say until when it is meant and who asked for it.
 *
 * Its `until` ends it, by the API server's own clock at each pod (crds/exemption-end.ts); the object stays until somebody deletes it. One without
 * `until`, as earlier releases made it, has no end of its own and is said to be overdue. Who asked is what kubectl says of its user: asserted, not proven;
 * the API server's audit log has the proof. Pure.
 */
import { createHash } from 'node:crypto'
import { apiVersion } from '../../crds/schema-parts.ts'
import { BadUsage } from '../failure-report.ts'
import type { Concern } from './status-report.ts'

export const breakGlassLabel = 'steno.dev/break-glass'
export const untilAnnotation = 'steno.dev/break-glass-until'
export const requestedByAnnotation = 'steno.dev/requested-by'

const namePrefix = 'break-glass-'
/** Of a ClusterSessionPolicy (crds/schema-parts.ts, shortName). */
const nameCharactersMax = 63
const reasonCharactersMax = 256
const minuteMilliseconds = 60_000
export const durationMillisecondsMax = 7 * 24 * 60 * minuteMilliseconds

export type BreakGlass = {
  readonly namespace: string
  readonly matchLabels: Readonly<Record<string, string>>
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly until: number
  /** Null when kubectl does not say. */
  readonly requestedBy: string | null
}

/** As kubectl gives a ClusterSessionPolicy. */
export type FoundPolicy = {
  readonly metadata: {
    readonly name: string
    readonly creationTimestamp?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: {
    readonly exemptPods?: readonly {
      readonly namespaces: readonly string[]
      readonly matchLabels?: Readonly<Record<string, string>>
      readonly reason: string
      readonly until?: string
    }[]
  }
}

/** One a namespace; a long namespace is cut, and told apart by a digest. */
export function breakGlassName(namespace: string): string {
  const name = `${namePrefix}${namespace}`
  if (name.length <= nameCharactersMax) return name
  const digest = createHash('sha256').update(namespace).digest('hex').slice(0, 8)
  return `${name.slice(0, nameCharactersMax - digest.length - 1)}-${digest}`
}

export function breakGlassObject({ namespace, matchLabels, reason, until, requestedBy }: BreakGlass): object {
  return {
    apiVersion,
    kind: 'ClusterSessionPolicy',
    metadata: {
      name: breakGlassName(namespace),
      labels: { [breakGlassLabel]: 'true' },
      annotations: {
        [untilAnnotation]: new Date(until).toISOString(),
        ...(requestedBy === null ? {} : { [requestedByAnnotation]: requestedBy }),
      },
    },
    spec: { exemptPods: [{ namespaces: [namespace], matchLabels, reason, until: new Date(until).toISOString() }] },
  }
}

/** `90m`, `1h`, `2d` in milliseconds. @throws BadUsage */
export function parseFor(text: string): number {
  const [, amount, unit] = /^([1-9]\d{0,5})([mhd])$/.exec(text) ?? []
  const unitMilliseconds = { m: minuteMilliseconds, h: 60 * minuteMilliseconds, d: 24 * 60 * minuteMilliseconds }[unit ?? '']
  if (amount === undefined || unitMilliseconds === undefined)
    throw new BadUsage(`--for takes a duration such as 30m, 1h or 2d, not ${JSON.stringify(text)}`)
  const milliseconds = Number(amount) * unitMilliseconds
  if (milliseconds > durationMillisecondsMax)
    throw new BadUsage('--for takes seven days at most: for longer, write the exemption into a ClusterSessionPolicy of your own')
  return milliseconds
}

/** `app=agent,tier=batch`, equality only: that is what an exemption has. @throws BadUsage */
export function parseSelector(text: string | undefined): Record<string, string> {
  if (text === undefined) return {}
  return Object.fromEntries(
    text.split(',').map((word) => {
      const [, name, value] = /^([A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)==?([-A-Za-z0-9_.]*)$/.exec(word.trim()) ?? []
      if (name === undefined || value === undefined)
        throw new BadUsage(`--selector takes labels as app=agent,tier=batch, not ${JSON.stringify(word)}`)
      return [name, value]
    }),
  )
}

/** @throws BadUsage */
export function checkedReason(text: string): string {
  const reason = text.trim()
  if (reason === '' || reason.length > reasonCharactersMax)
    throw new BadUsage(`--reason takes a sentence that an auditor can read, of ${reasonCharactersMax} characters at most`)
  return reason
}

/** Null for a ClusterSessionPolicy that is no break-glass. */
export function breakGlassOf({ metadata, spec }: FoundPolicy): {
  readonly until: number | null
  readonly requestedBy: string | null
  /** Whether its time ends it. */
  readonly endsByItself: boolean
  readonly pods: string
  readonly reason: string
} | null {
  if (metadata.labels?.[breakGlassLabel] !== 'true') return null
  const exempt = spec?.exemptPods ?? []
  const endsByItself = exempt.every((entry) => entry.until !== undefined)
  const said = endsByItself
    ? exempt.map((entry) => Date.parse(entry.until ?? ''))
    : [Date.parse(metadata.annotations?.[untilAnnotation] ?? '')]
  const until = Math.max(...said)
  return {
    until: Number.isFinite(until) ? until : null,
    endsByItself,
    requestedBy: metadata.annotations?.[requestedByAnnotation] ?? null,
    pods: exempt.map(({ namespaces, matchLabels = {} }) => podsText(namespaces, matchLabels)).join('; ') || 'no pods',
    reason: exempt.map(({ reason }) => reason).join('; '),
  }
}

/** `2 h 5 min`; `under a minute`. */
export function leftText(milliseconds: number): string {
  const minutes = Math.floor(milliseconds / minuteMilliseconds)
  if (minutes === 0) return 'under a minute'
  const parts = [
    [Math.floor(minutes / 1440), 'd'],
    [Math.floor(minutes / 60) % 24, 'h'],
    [minutes % 60, 'min'],
  ] as const
  return parts.flatMap(([amount, unit]) => (amount === 0 ? [] : [`${amount} ${unit}`])).join(' ')
}

export function podsText(namespaces: readonly string[], matchLabels: Readonly<Record<string, string>>): string {
  const labels = Object.entries(matchLabels).map(([name, value]) => `${name}=${value}`)
  return `${labels.length === 0 ? 'all pods' : `pods with ${labels.join(',')}`} of ${namespaces.join(', ')}`
}

/** For `status`: one that runs is a warning; one whose time is over a note, or an error where nothing ends it. `now` in milliseconds since the epoch. */
export function breakGlassConcerns(clusterPolicies: readonly FoundPolicy[] | null, now = Date.now()): Concern[] {
  return (clusterPolicies ?? []).flatMap((policy): Concern[] => {
    const found = breakGlassOf(policy)
    if (found === null) return []
    const { until, endsByItself, requestedBy, pods, reason } = found
    const isOver = until === null || until <= now
    const namespace = policy.spec?.exemptPods?.[0]?.namespaces[0]
    const what = `Break-glass ${policy.metadata.name}`
    if (isOver && endsByItself && until !== null)
      return [
        {
          ...{ severity: 'note', what },
          message: `it ended by itself at ${new Date(until).toISOString()}: ${pods} get the sidecar again; those that were made meanwhile and have none are counted as BARE`,
          remedy: `Make those pods again; kubectl delete clustersessionpolicy ${policy.metadata.name} takes away what is left of it.`,
        },
      ]
    const since = policy.metadata.creationTimestamp === undefined ? '' : ` since ${policy.metadata.creationTimestamp}`
    const end =
      until === null
        ? 'nothing says until when'
        : isOver
          ? `it was to end ${new Date(until).toISOString()} and does not end by itself`
          : `until ${new Date(until).toISOString()} (${leftText(until - now)} left${endsByItself ? '' : ', and nothing ends it by itself'})`
    return [
      {
        severity: isOver ? 'error' : 'warning',
        what,
        message: `${pods} are made without the sidecar${since}, ${end}; asked for by ${requestedBy ?? 'somebody who is not named'}: ${reason}`,
        remedy:
          namespace === undefined || breakGlassName(namespace) !== policy.metadata.name
            ? `kubectl delete clustersessionpolicy ${policy.metadata.name} ends it.`
            : `kubectl steno break-glass -n ${namespace} --end ends it; then make the pods again.`,
      },
    ]
  })
}
