/**
 * Requests and limits of the sidecar's container from what the policies ask: the most generous wins, so that no policy starves another's
 * agents, and a limit is never below its request, for Kubernetes refuses such a pod.
 */
import { defaultResources } from './defaults.ts'
import { compareQuantities } from './quantity.ts'

/** Requests and limits, complete: what a container spec takes. */
export type SidecarResources = { readonly requests: Readonly<Record<string, string>>; readonly limits: Readonly<Record<string, string>> }

type Quantities = { readonly [resource in (typeof resources)[number]]?: string }
type Asked = { readonly requests?: Quantities; readonly limits?: Quantities }

const resources = ['cpu', 'memory', 'ephemeral-storage'] as const

export function mergeResources(asked: readonly Asked[]): SidecarResources {
  const requests: Record<string, string> = {}
  const limits: Record<string, string> = {}
  const all = asked.length === 0 ? [{}] : asked
  const defaultRequests: Quantities = defaultResources.requests
  const defaultLimits: Quantities = defaultResources.limits
  for (const resource of resources) {
    const request = largest(all.flatMap((one) => one.requests?.[resource] ?? defaultRequests[resource] ?? []))
    if (request !== undefined) requests[resource] = request
    const given = all.map((one) => one.limits?.[resource] ?? defaultLimits[resource])
    // One policy without a limit wants none.
    if (given.includes(undefined)) continue
    const limit = largest([...given, request].filter((quantity) => quantity !== undefined))
    if (limit !== undefined) limits[resource] = limit
  }
  return { requests, limits }
}

function largest(quantities: readonly string[]): string | undefined {
  return quantities.reduce<string | undefined>(
    (most, quantity) => (most === undefined || (compareQuantities(quantity, most) ?? 0) > 0 ? quantity : most),
    undefined,
  )
}
