/**
 * The patch that turns one pod into another (RFC 6902), made of whole fields.
 *
 * Each field that differs is set as a whole by one `add`, which replaces what is there (RFC 6902, 4.1): there is no arithmetic on places
 * in lists that could be wrong, and the order of operations does not matter. Only for the fields that an injection changes.
 */
import type { V1Pod } from '@kubernetes/client-node'
import { invariant } from '../base/invariant.ts'

export type JsonPatchOperation = { readonly op: 'add'; readonly path: string; readonly value: unknown }

const metadataFields = ['labels', 'annotations'] as const
const specFields = ['terminationGracePeriodSeconds', 'volumes', 'initContainers', 'containers'] as const

/** Empty when nothing differs. Fields outside the lists above have to be the same in both. */
export function patchBetween(before: V1Pod, after: V1Pod): JsonPatchOperation[] {
  const patch: JsonPatchOperation[] = []
  for (const field of metadataFields) add(`/metadata/${field}`, before.metadata?.[field], after.metadata?.[field])
  for (const field of specFields) add(`/spec/${field}`, before.spec?.[field], after.spec?.[field])
  return patch

  function add(path: string, old: unknown, value: unknown): void {
    if (isSameJson(old, value)) return
    invariant(value !== undefined, 'an injection takes no whole field away')
    patch.push({ op: 'add', path, value })
  }
}

/** Whether two values are the same JSON: in whatever order their fields stand, and of whatever class a client made them. */
function isSameJson(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
  if (Array.isArray(left) !== Array.isArray(right)) return false
  const [ours, theirs] = [fieldsOf(left), fieldsOf(right)]
  return ours.size === theirs.size && [...ours].every(([name, value]) => theirs.has(name) && isSameJson(value, theirs.get(name)))
}

/** Undefined is absent in JSON. */
function fieldsOf(object: object): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(object).filter(([, value]) => value !== undefined))
}
