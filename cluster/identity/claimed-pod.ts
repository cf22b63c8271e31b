/**
 * Which pod a token says that it is of, before anybody has checked it: good for sharing out what there is, and for nothing else.
 *
 * Reads the payload of a ServiceAccount's token (a JWT, RFC 7519; the claim `kubernetes.io` of bound tokens) and no signature: whoever knows a
 * pod's UID can claim to be it. Null for whatever is no such token.
 */
import type { PodIdentity } from './pod.ts'

export type ClaimedPod = Pick<PodIdentity, 'podUid' | 'podName' | 'podNamespace'>

export function claimedPodOf(token: string): ClaimedPod | null {
  const [, payload = '', ...rest] = token.split('.')
  if (rest.length !== 1) return null
  try {
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
      readonly 'kubernetes.io'?: {
        readonly namespace?: unknown
        readonly pod?: { readonly name?: unknown; readonly uid?: unknown } | null
      } | null
    } | null
    const bound = claims?.['kubernetes.io']
    const { name: podName, uid: podUid } = bound?.pod ?? {}
    const podNamespace = bound?.namespace
    if (typeof podUid !== 'string' || typeof podName !== 'string' || typeof podNamespace !== 'string') return null
    return { podUid, podName, podNamespace }
  } catch {
    return null // What JSON.parse says quotes the token.
  }
}
