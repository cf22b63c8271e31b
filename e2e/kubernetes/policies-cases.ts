/**
 * The form of the tables that say what the admission policies refuse of a pod that is created, and the changes that several of them make.
 * A case changes a pod that is right; it knows nothing of the API server that judges it.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { type InjectedPod, sidecarOf } from './policies-pods.ts'

export type Case = {
  readonly what: string
  readonly change: (pod: InjectedPod) => void
  /** True of the pod that an API server made which does not have the field: then there is nothing to refuse. */
  readonly isDropped?: (made: V1Pod) => boolean
}
export type Rule = { readonly policy: string; readonly rule: string; readonly refused: readonly Case[]; readonly admitted: readonly Case[] }

export const of = (what: string, change: (pod: InjectedPod) => void): Case => ({ what, change })
export const ofSidecar = (what: string, fields: object): Case => of(what, (pod) => Object.assign(sidecarOf(pod), fields))
/** Replaces a variable of the sidecar, or adds it. */
export const withVariable = (what: string, variable: { name: string; value?: string; valueFrom?: object }): Case =>
  of(what, (pod) => {
    const sidecar = sidecarOf(pod)
    sidecar.env = [...(sidecar.env ?? []).filter(({ name }) => name !== variable.name), variable]
  })
