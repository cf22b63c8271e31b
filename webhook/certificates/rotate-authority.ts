/**
 * What the leader does with the authority: makes a successor in time, waits until clients know it, and has it sign.
 *
 * Each step is one conditional write of the Secret, so that of two that believe to lead only one succeeds and the other reads again.
 */
import { messageOf } from '../../base/errors.ts'
import type { Log } from '../../base/log.ts'
import { isRefusal } from '../../cluster/errors.ts'
import { pause } from '../../cluster/pause.ts'
import { readAuthority, replaceAuthority, validityFrom, type AuthoritySecret } from '../../cluster/certificates/authority-secret.ts'
import { activated, nextStep, type AuthorityIntervals, type AuthorityState } from '../../cluster/certificates/authority-state.ts'
import { createAuthority, crossCertify } from '../../cluster/certificates/authority.ts'

/** At most so long between two looks, so that a change of clocks or of the Secret is met. */
const lookMillisecondsMax = 60_000
const retryMilliseconds = 1_000

export type RotationOptions = AuthoritySecret & {
  readonly intervals: AuthorityIntervals
  /** Whether clients were told of this authority (PEM). */
  readonly isDistributed: (cert: string) => boolean
  readonly log: Log
  /** Ends the work. */
  readonly signal: AbortSignal
}

/** Runs until the signal; never rejects. */
export async function rotateAuthority(options: RotationOptions): Promise<void> {
  const { log, signal, secret } = options
  while (!signal.aborted) {
    let milliseconds = retryMilliseconds
    try {
      milliseconds = await takeStep(options)
    } catch (error) {
      // Whoever serves by the authority makes a Secret that is gone again, and knows what was in it.
      if (!isRefusal(error, 'Conflict') && !isRefusal(error, 'NotFound'))
        log.warn({ secret, error: messageOf(error) }, 'the authority could not be looked after; trying again')
    }
    await pause(milliseconds, signal)
  }
}

/** Milliseconds until the next step may be due. */
async function takeStep(options: RotationOptions): Promise<number> {
  const { intervals, isDistributed, log, secret } = options
  const { state, resourceVersion } = await readAuthority(options)
  const now = Date.now()
  const step = nextStep(state, { now, isDistributed: state.next !== null && isDistributed(state.next.cert) }, intervals)
  if (step.kind === 'wait') {
    const isWaitingForClients = state.next !== null && state.next.distributedAt === null
    return Math.min(step.milliseconds, isWaitingForClients ? retryMilliseconds : lookMillisecondsMax)
  }
  await replaceAuthority(options, await stateAfter(step.kind, state, now, intervals), resourceVersion)
  log.info({ secret, step: step.kind }, stepTexts[step.kind])
  return 0
}

const stepTexts = {
  prepare: 'the next authority is there and will be trusted',
  note: 'clients know the next authority',
  activate: 'the next authority signs now',
}

async function stateAfter(
  kind: 'prepare' | 'note' | 'activate',
  state: AuthorityState,
  now: number,
  intervals: AuthorityIntervals,
): Promise<AuthorityState> {
  switch (kind) {
    case 'prepare': {
      const next = await createAuthority(validityFrom(now, intervals))
      return { ...state, next: { ...next, crossCert: await crossCertify(next.cert, state.active), distributedAt: null } }
    }
    case 'note':
      return { ...state, next: state.next === null ? null : { ...state.next, distributedAt: now } }
    case 'activate':
      return activated(state, now)
    default:
      return kind satisfies never
  }
}
