/**
 * One admission request for a pod, judged: a patch, a refusal, or neither.
 *
 * Pure; HTTP and the AdmissionReview envelope are elsewhere. A dry run is judged like any other, for there are no side effects to leave out.
 */
import type { V1Pod } from '@kubernetes/client-node'
import type { Labels } from '../crds/label-selector.ts'
import { sealed } from './admission-seal.ts'
import { injectPod, type AdmissionWorld } from './inject-pod.ts'
import { patchBetween, type JsonPatchOperation } from './json-patch.ts'
import { boundedWarnings, refusalMessage } from './refusal.ts'

export type PodReviewRequest = {
  readonly uid: string
  readonly namespace: string
  readonly namespaceLabels: Labels
  readonly pod: V1Pod
  readonly dryRun: boolean
  readonly operation: string
}

export type PodReview =
  | {
      readonly allowed: true
      /** For logs and metrics: what was done. */
      readonly outcome: 'injected' | 'unchanged' | 'exempt' | 'ignored'
      /** Empty when the pod stays as it is. */
      readonly patch: readonly JsonPatchOperation[]
      readonly warnings: readonly string[]
    }
  | {
      readonly allowed: false
      readonly outcome: 'refused'
      readonly message: string
      /** The rules that refused, each once, for logs and metrics. */
      readonly rules: readonly string[]
    }

/** Judges one request at a time in milliseconds since 1970. Nothing that a pod says makes it throw. */
export function reviewPod(request: PodReviewRequest, world: Omit<AdmissionWorld, 'namespaceLabels'>, now = Date.now()): PodReview {
  // A pod's containers can be added at its creation only; what may be changed later is for the admission policies to judge.
  if (request.operation !== 'CREATE') return { allowed: true, outcome: 'ignored', patch: [], warnings: [] }
  const injection = injectPod(request, world)
  switch (injection.kind) {
    case 'exempt':
      return { allowed: true, outcome: 'exempt', patch: [], warnings: [] }
    case 'refused':
      return {
        allowed: false,
        outcome: 'refused',
        message: refusalMessage(injection.refusals),
        rules: [...new Set(injection.refusals.map(({ rule }) => rule))],
      }
    case 'injected': {
      const { sealKey } = world
      const pod = sealKey === undefined ? injection.pod : sealed(injection.pod, request.namespace, sealKey, now)
      const patch = patchBetween(request.pod, pod)
      return { allowed: true, outcome: patch.length === 0 ? 'unchanged' : 'injected', patch, warnings: boundedWarnings(injection.warnings) }
    }
    default:
      return injection satisfies never
  }
}
