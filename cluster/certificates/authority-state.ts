/**
 * The authorities at one time, and what has to happen next: a pure function from state, time and what clients know to a step.
 *
 * A change of authority never meets a client that does not know it. The next one is made and put among those to be trusted; once the
 * webhook's configuration carries it, and the API servers have had time to read that, it becomes the one that signs. Those before it stay
 * trusted until they end, and the certificates by which each vouches for its successor go with every leaf, for whoever knows only an old
 * one: a sidecar keeps the authorities that its pod was admitted with. A retired key is gone.
 */
import { certificatesIn, endOf, fits, type Issued } from './authority.ts'

export type AuthorityState = {
  /** Signs leaves. */
  readonly active: Issued
  /** Milliseconds since 1970. */
  readonly activeSince: number
  /** Trusted, and does not sign yet. `distributedAt`: when the webhook's configuration was first seen to carry it. */
  readonly next: (Issued & { readonly crossCert: string; readonly distributedAt: number | null }) | null
  /** Newest first: `active` as its predecessor vouches for it, that one as its own does, and so on. */
  readonly crossCerts: readonly string[]
  /** Predecessors that have not ended, newest first. */
  readonly retired: readonly string[]
}

export type AuthorityIntervals = {
  /** How long an authority signs before its successor is made. */
  readonly rotateMilliseconds: number
  /** Between the moment that clients were told of the successor and its first leaf. */
  readonly overlapMilliseconds: number
  /** How long an authority is valid. */
  readonly validMilliseconds: number
}

const day = 86_400_000
export const standardAuthorityIntervals: AuthorityIntervals = {
  rotateMilliseconds: 365 * day,
  overlapMilliseconds: 3_600_000,
  validMilliseconds: 3_650 * day,
}

/** Each costs about 700 bytes in every pod's specification and in every handshake. */
export const retiredMax = 9

export type AuthorityStep =
  | { readonly kind: 'wait'; readonly milliseconds: number }
  /** Make the successor and have it trusted. */
  | { readonly kind: 'prepare' }
  /** Note that clients know the successor now. */
  | { readonly kind: 'note' }
  | { readonly kind: 'activate' }

/** `isDistributed`: the webhook's configuration carries the successor. */
export function nextStep(
  state: AuthorityState,
  { now, isDistributed }: { readonly now: number; readonly isDistributed: boolean },
  { rotateMilliseconds, overlapMilliseconds }: AuthorityIntervals,
): AuthorityStep {
  const { next } = state
  if (next === null) {
    const left = state.activeSince + rotateMilliseconds - now
    return left <= 0 ? { kind: 'prepare' } : { kind: 'wait', milliseconds: left }
  }
  if (next.distributedAt === null) return isDistributed ? { kind: 'note' } : { kind: 'wait', milliseconds: overlapMilliseconds }
  const left = next.distributedAt + overlapMilliseconds - now
  return left <= 0 ? { kind: 'activate' } : { kind: 'wait', milliseconds: left }
}

/** The successor signs from now on. */
export function activated(state: AuthorityState, now: number): AuthorityState {
  const { active, next } = state
  if (next === null) return state
  const retired = [active.cert, ...state.retired].filter((cert) => endOf(cert) > now).slice(0, retiredMax)
  return {
    active: { cert: next.cert, key: next.key },
    activeSince: now,
    next: null,
    crossCerts: [next.crossCert, ...state.crossCerts].slice(0, retired.length),
    retired,
  }
}

/** Who is to be trusted, as PEM. */
export function trusted({ active, next, retired }: AuthorityState): string {
  return [active.cert, ...(next === null ? [] : [next.cert]), ...retired].join('')
}

/** As it lies in a Secret's `data`, values not yet in base64. */
export function secretDataOf(state: AuthorityState): Record<string, string> {
  const { active, activeSince, next, crossCerts, retired } = state
  const distributedAt = next?.distributedAt ?? null
  const dates = { activeSince: isoOf(activeSince), nextDistributedAt: distributedAt === null ? null : isoOf(distributedAt) }
  return {
    'ca.crt': trusted(state),
    'tls.crt': active.cert,
    'tls.key': active.key,
    'cross.crt': crossCerts.join(''),
    'retired.crt': retired.join(''),
    ...(next === null ? {} : { 'next.crt': next.cert, 'next.key': next.key, 'next-cross.crt': next.crossCert }),
    'state.json': JSON.stringify({ version: 1, ...dates }),
  }
}

/** @throws Error, without any key in its message, for data that no steno wrote */
export function stateOfSecretData(data: Readonly<Record<string, string>>): AuthorityState {
  const text = (name: string): string => {
    const value = data[name]
    if (value === undefined || value === '') throw new Error(`${name} is missing`)
    return value
  }
  const issued = (cert: string, key: string): Issued => {
    const pair = { cert: text(cert), key: text(key) }
    let isPair: boolean
    try {
      isPair = fits(pair)
    } catch {
      throw new Error(`${cert} or ${key} cannot be read`) // The cause would show the text that it could not read.
    }
    if (!isPair) throw new Error(`${key} is not the key of ${cert}`)
    return pair
  }
  const { version, activeSince, nextDistributedAt } = datesOf(text('state.json'))
  if (version !== 1) throw new Error(`state.json has version ${String(version)}; this release reads 1`)
  const next =
    data['next.crt'] === undefined
      ? null
      : {
          ...issued('next.crt', 'next.key'),
          crossCert: text('next-cross.crt'),
          distributedAt: nextDistributedAt === null ? null : millisecondsOf(nextDistributedAt),
        }
  return {
    active: issued('tls.crt', 'tls.key'),
    activeSince: millisecondsOf(activeSince),
    next,
    crossCerts: certificatesIn(data['cross.crt'] ?? ''),
    retired: certificatesIn(data['retired.crt'] ?? ''),
  }
}

function datesOf(json: string): { version?: unknown; activeSince?: unknown; nextDistributedAt?: unknown } {
  try {
    return JSON.parse(json) as { version?: unknown; activeSince?: unknown; nextDistributedAt?: unknown }
  } catch {
    throw new Error('state.json is no JSON')
  }
}

function isoOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}

function millisecondsOf(text: unknown): number {
  const milliseconds = typeof text === 'string' ? Date.parse(text) : NaN
  if (Number.isNaN(milliseconds)) throw new Error('state.json has a date that is none')
  return milliseconds
}
