/**
 * Control's paths beside the objects of stores: each a method, a path and what answers it, for sidecars alone.
 *
 * A table, so that a part of control adds its own line and `requests.ts` stays what finds out who asks and says what went wrong. Bodies are
 * small and read whole; what a route holds of them in memory is its own to bound.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import { Refusal } from './refusal.ts'

/** One request, of a pod that its token has shown; nothing is known yet of what the pod is. */
export type RouteAsk = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly pod: PodIdentity
  /** Aborted when the client is gone, and when the answer takes too long (not for `isLong`). */
  readonly signal: AbortSignal
}

export type Route = {
  readonly method: 'GET' | 'POST'
  /** Whole and exact, as `/v1/marks`: no parameters, no query. */
  readonly path: string
  /** True when the answer goes on as long as both sides are there. */
  readonly isLong?: boolean
  /** Answers, or throws a Refusal (refusal.ts) before it has sent anything; what else it throws is a DEFECT. */
  readonly handle: (ask: RouteAsk) => Promise<void>
}

/** The route for a request, or null when no route has this path. @throws Refusal METHOD_NOT_ALLOWED */
export function findRoute(routes: readonly Route[], { method, url }: Pick<IncomingMessage, 'method' | 'url'>): Route | null {
  const ofPath = routes.filter(({ path }) => path === url)
  const found = ofPath.find((route) => route.method === method)
  if (found !== undefined) return found
  if (ofPath.length === 0) return null
  const allowed = ofPath.map((route) => route.method).join(', ')
  throw new Refusal('METHOD_NOT_ALLOWED', `this path has ${allowed} only`, { remedy: `Use ${allowed}.` })
}
