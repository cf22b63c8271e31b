/**
 * From a request's bearer token to the pod, by TokenReview, with a short memory of what was reviewed.
 *
 * A verdict is kept for ten seconds at most, under the token's hash, so a deleted pod's token lives that much longer here than at the API
 * server. Bounded: so many verdicts are kept, and so many reviews are under way. Whoever sends made-up tokens, which costs nothing, uses up
 * the reviews of its own address and a memory of their own; a token that held before is always reviewed again. Tokens are neither kept nor
 * logged.
 */
import { hash } from 'node:crypto'
import type { PodIdentity, ReviewToken, TokenVerdict } from './pod.ts'
import { NotIdentified } from './not-identified.ts'

export const verdictMilliseconds = 10_000
const verdictsMax = 10_000
const refusedVerdictsMax = 1_000
/** Of tokens that have not held before: in all, and from one address. */
const reviewsMax = 64
const reviewsPerAddressMax = 8
const tokenCharactersMax = 16 * 1024

/** `address` is the peer's. */
export type Authenticate = (authorization: string | undefined, address: string) => Promise<PodIdentity>

type Kept = { readonly verdict: TokenVerdict; readonly until: number }

/** `now` is of a clock that never goes back. @throws NotIdentified (from the result) TOKEN_UNFIT, BUSY, CLUSTER_UNAVAILABLE */
export function createAuthentication({
  reviewToken,
  now = () => performance.now(),
}: {
  readonly reviewToken: ReviewToken
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

  async function reviewStranger(name: string, token: string, address: string): Promise<TokenVerdict> {
    const ofAddress = strangers.get(address) ?? 0
    if (strangersUnderWay >= reviewsMax || ofAddress >= reviewsPerAddressMax)
      throw new NotIdentified('BUSY', 'too many tokens are being reviewed')
    strangersUnderWay++
    strangers.set(address, ofAddress + 1)
    try {
      return await review(name, token)
    } finally {
      strangersUnderWay--
      const left = (strangers.get(address) ?? 1) - 1
      if (left === 0) strangers.delete(address)
      else strangers.set(address, left)
    }
  }

  async function verdictOf(token: string, address: string): Promise<TokenVerdict> {
    const name = hash('sha256', token, 'base64')
    const known = held.get(name) ?? refused.get(name)
    if (known !== undefined && now() < known.until) return known.verdict
    const running = underWay.get(name)
    if (running !== undefined) return running
    const begun = held.has(name) ? review(name, token) : reviewStranger(name, token, address)
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
