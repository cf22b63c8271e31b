/**
 * From a request's bearer token to the pod, by TokenReview, with a short memory of what was reviewed.
 *
 * A verdict is kept for ten seconds at most, under the token's hash, so a deleted pod's token lives that much longer here than at the API
 * server. Bounded: so many verdicts are kept, and so many reviews are under way. Whoever sends made-up tokens, which costs nothing, uses up
 * the reviews of its own address and a memory of their own, and the fewer reviews are left the fewer it gets: eight addresses that take all they
 * can leave half of them. A token that held before is always reviewed again. Tokens are neither kept nor logged.
 *
 * Where the network gives many pods one address, the share of an address would be that of all of them, and one pod could keep the others' next tokens
 * waiting. There a token that claims to be of a pod that is watched counts for that pod instead. The claim is unchecked, but a pod's UID is not to be
 * guessed: who makes tokens up uses the share of the address and of those pods whose UIDs it knows, at least its own.
 */
import { hash } from 'node:crypto'
import { claimedPodOf, type ClaimedPod } from './claimed-pod.ts'
import type { PodIdentity, ReviewToken, TokenVerdict } from './pod.ts'
import { NotIdentified } from './not-identified.ts'

export const verdictMilliseconds = 10_000
const verdictsMax = 10_000
const refusedVerdictsMax = 1_000
/** Of tokens that have not held before: in all, and from one address. */
const reviewsMax = 64
const reviewsPerAddressMax = 8
/** An address has at most this part of what is free, so that a few that take all they get leave half of it to the others. */
const partOfFree = 8
const tokenCharactersMax = 16 * 1024

/** `address` is the peer's. */
export type Authenticate = (authorization: string | undefined, address: string) => Promise<PodIdentity>

type Kept = { readonly verdict: TokenVerdict; readonly until: number }

/** `now` is of a clock that never goes back. @throws NotIdentified (from the result) TOKEN_UNFIT, BUSY, CLUSTER_UNAVAILABLE */
export function createAuthentication({
  reviewToken,
  isWatched = null,
  now = () => performance.now(),
}: {
  readonly reviewToken: ReviewToken
  /** Whether there is such a pod with a sidecar; null where each pod has its own address, so that the claim of a token is not asked for. */
  readonly isWatched?: ((pod: ClaimedPod) => boolean) | null
  readonly now?: () => number
}): Authenticate {
  const held = new Map<string, Kept>()
  const refused = new Map<string, Kept>()
  const underWay = new Map<string, Promise<TokenVerdict>>()
  const strangers = new Map<string, number>()
  let strangersUnderWay = 0

  function keep(name: string, kept: Kept): void {
    held.delete(name)
    refused.delete(name)
    const [of, max] = kept.verdict.kind === 'pod' ? [held, verdictsMax] : [refused, refusedVerdictsMax]
    of.set(name, kept)
    if (of.size > max) of.delete(of.keys().next().value!)
  }

  async function review(name: string, token: string): Promise<TokenVerdict> {
    // From before the question on: what the answer says may be that old.
    const until = now() + verdictMilliseconds
    const verdict = await reviewToken(token)
    keep(name, { verdict, until })
    return verdict
  }

  /** Whose share a token that has not held before uses. */
  function sharerOf(token: string, address: string): string {
    const claimed = isWatched === null ? null : claimedPodOf(token)
    return claimed !== null && isWatched?.(claimed) === true ? `${address} ${claimed.podUid}` : address
  }

  async function reviewStranger(name: string, token: string, sharer: string): Promise<TokenVerdict> {
    const underReview = strangers.get(sharer) ?? 0
    const share = Math.min(reviewsPerAddressMax, Math.ceil((reviewsMax - strangersUnderWay) / partOfFree))
    if (underReview >= share) throw new NotIdentified('BUSY', 'too many tokens are being reviewed')
    strangersUnderWay++
    strangers.set(sharer, underReview + 1)
    try {
      return await review(name, token)
    } finally {
      strangersUnderWay--
      const left = (strangers.get(sharer) ?? 1) - 1
      if (left === 0) strangers.delete(sharer)
      else strangers.set(sharer, left)
    }
  }

  async function verdictOf(token: string, address: string): Promise<TokenVerdict> {
    const name = hash('sha256', token, 'base64')
    const known = held.get(name) ?? refused.get(name)
    if (known !== undefined && now() < known.until) return known.verdict
    const running = underWay.get(name)
    if (running !== undefined) return running
    const begun = held.has(name) ? review(name, token) : reviewStranger(name, token, sharerOf(token, address))
    underWay.set(name, begun)
    const forget = (): void => void underWay.delete(name)
    begun.then(forget, forget)
    return begun
  }

  return async (authorization, address) => {
    const token = /^Bearer ([\x21-\x7e]+)$/i.exec(authorization ?? '')?.[1]
    if (token === undefined) throw new NotIdentified('TOKEN_UNFIT', 'the request carries no bearer token')
    if (token.length > tokenCharactersMax) throw new NotIdentified('TOKEN_UNFIT', 'the bearer token is too long for one')
    const verdict = await verdictOf(token, address)
    if (verdict.kind === 'refused') throw new NotIdentified('TOKEN_UNFIT', `the token is refused: ${verdict.reason}`)
    return verdict.pod
  }
}
