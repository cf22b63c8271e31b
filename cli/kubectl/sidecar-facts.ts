/**
 * What a running pod says of its own sidecar: its state, what it was given at admission, and which variables of the agents lead to it.
 *
 * Values of variables are looked at for the sidecar's address and not kept. Source of the fields: Kubernetes, PodStatus and ContainerState.
 */
import type { V1ContainerState, V1Pod } from '@kubernetes/client-node'
import { followedHashOf, policyCondition, recordingCondition, stenoConditionOf, type StenoCondition } from '../../cluster/pod-watch.ts'
import { parseSidecarConfig, SidecarConfigInvalid } from '../../crds/sidecar-config.ts'
import { sidecarName } from './world.ts'

export type SidecarFacts = {
  /** `running since …`, `waiting: ImagePullBackOff` */
  readonly state: string
  readonly isRunning: boolean
  readonly restarts: number
  /** How it ended the last time, with what it said; null when it never did. */
  readonly lastEnd: string | null
  readonly image: string
  /** Null on a pod without annotations of steno's. */
  readonly policies: string | null
  readonly hash: string | null
  readonly version: string | null
  /** What it says of its recordings and of the policy that it goes by, as control wrote it; null from releases that say nothing. */
  readonly recorded: StenoCondition | null
  readonly followed: (StenoCondition & { readonly hash: string | null }) | null
  readonly uses: readonly { readonly container: string; readonly variable: string; readonly localPort: number }[]
}

/** Null for a pod that has no sidecar. */
export function sidecarFactsOf({ metadata, spec, status }: V1Pod): SidecarFacts | null {
  const sidecar = spec?.initContainers?.find(({ name }) => name === sidecarName)
  if (sidecar === undefined) return null
  const live = status?.initContainerStatuses?.find(({ name }) => name === sidecarName)
  const annotations = metadata?.annotations ?? {}
  const last = live?.lastState?.terminated ?? live?.state?.terminated
  const conditions = (status?.conditions ?? []) as unknown as Parameters<typeof stenoConditionOf>[0]
  const followed = stenoConditionOf(conditions, policyCondition)
  const ports = localPortsIn(sidecar.env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')?.value)
  const others = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].filter(({ name }) => name !== sidecarName)
  return {
    state: stateText(live?.state),
    isRunning: live?.state?.running !== undefined,
    restarts: live?.restartCount ?? 0,
    lastEnd: last === undefined ? null : endText(last),
    image: sidecar.image ?? '',
    policies: annotations['steno.dev/policy'] ?? null,
    hash: annotations['steno.dev/policy-hash'] ?? null,
    version: annotations['steno.dev/version'] ?? null,
    recorded: stenoConditionOf(conditions, recordingCondition),
    followed: followed === null ? null : { ...followed, hash: followedHashOf(followed) },
    uses: others.flatMap(({ name: container, env = [] }) =>
      env.flatMap(({ name: variable, value = '' }) =>
        ports.filter((port) => leadsTo(value, port)).map((localPort) => ({ container, variable, localPort })),
      ),
    ),
  }
}

function stateText(state: V1ContainerState | undefined): string {
  if (state?.running !== undefined) return `running since ${timeText(state.running.startedAt)}`
  if (state?.waiting !== undefined) return `waiting: ${[state.waiting.reason, state.waiting.message].filter(Boolean).join(': ')}`
  if (state?.terminated !== undefined) return endText(state.terminated)
  return 'not started yet'
}

function endText({ exitCode, reason, message, finishedAt }: NonNullable<V1ContainerState['terminated']>): string {
  const said = message === undefined || message.trim() === '' ? '' : `: ${message.trim()}`
  return `${reason ?? 'ended'} with exit code ${exitCode} at ${timeText(finishedAt)}${said}`
}

/** kubectl gives times as text, whatever the type says. */
function timeText(time: unknown): string {
  return time instanceof Date ? time.toISOString() : typeof time === 'string' ? time : 'a time unknown'
}

function localPortsIn(config: string | undefined): number[] {
  if (config === undefined) return []
  try {
    return parseSidecarConfig(config).listeners.map(({ localPort }) => localPort)
  } catch (error) {
    if (!(error instanceof SidecarConfigInvalid)) throw error
    return [] // Of another release, or none of steno's.
  }
}

function leadsTo(value: string, port: number): boolean {
  return new RegExp(`(?:127\\.0\\.0\\.1|localhost|\\[::1\\]):${port}(?!\\d)`).test(value)
}
