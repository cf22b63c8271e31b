/**
 * Certificates without cert-manager: the authority lies in a Secret, made by whichever replica comes first; each replica signs a leaf of its
 * own and holds it in memory only.
 *
 * Follows the Secret, so that all replicas change with it; `rotate-authority.ts` is what changes it. The leaf is made again long before it
 * ends. A Secret that turns unusable changes nothing of what already serves, and is told in the log. One that is deleted is made again, and
 * the authority that was in it vouches for its successor as it does when they rotate: pods that know only the one before go on.
 */
import { messageOf } from '../../base/errors.ts'
import { watchResource } from '../watch-resource.ts'
import { resources } from '../resources.ts'
import { createBackoff } from '../backoff.ts'
import { readOrCreateAuthority } from './authority-secret.ts'
import { stateOfSecretData, trusted, type AuthorityIntervals, type AuthorityState } from './authority-state.ts'
import { issueLeaf } from './authority.ts'
import { createListeners, textsOf, type CertificateOptions, type CertificateSource, type Leaf, type SecretObject } from './certificates.ts'

export type LeafIntervals = {
  readonly validMilliseconds: number
  /** After so long another leaf is signed. */
  readonly renewMilliseconds: number
}

const day = 86_400_000
export const standardLeafIntervals: LeafIntervals = { validMilliseconds: 30 * day, renewMilliseconds: 10 * day }
/** Clocks of clients may run behind. */
const backdatedMilliseconds = day
/** After a leaf could not be made. */
const retryMilliseconds = 60_000
/** Node takes a longer timer for one of a millisecond. */
const timerMillisecondsMax = 2 ** 31 - 1

/** @throws KnownError when the Secret cannot be read or made */
export async function startOwnCertificates(
  options: CertificateOptions & {
    /** DNS names and addresses by which clients reach the server. */
    readonly names: readonly string[]
    readonly authority: AuthorityIntervals
    readonly leaf: LeafIntervals
  },
): Promise<CertificateSource> {
  const { cluster, namespace, secret, names, log } = options
  const leafListeners = createListeners(log)
  const trustListeners = createListeners(log)
  const stopping = new AbortController()
  let { state } = await readOrCreateAuthority(options, options.authority)
  let leaf = await leafFor(state)
  let renewTimer = renewLater()
  let againTimer: NodeJS.Timeout | undefined
  let changing = Promise.resolve()

  async function leafFor({ active, crossCerts }: AuthorityState): Promise<Leaf> {
    const now = Date.now()
    const validity = { notBefore: new Date(now - backdatedMilliseconds), notAfter: new Date(now + options.leaf.validMilliseconds) }
    const { cert, key } = await issueLeaf(active, names, validity)
    return { key, cert: [cert, ...crossCerts].join('') }
  }

  function renewLater(milliseconds = options.leaf.renewMilliseconds): NodeJS.Timeout {
    const renew = (): void => change(async () => setLeaf(await leafFor(state)))
    return setTimeout(renew, Math.min(milliseconds, timerMillisecondsMax)).unref()
  }

  function setLeaf(next: Leaf): void {
    leaf = next
    clearTimeout(renewTimer)
    if (stopping.signal.aborted) return
    renewTimer = renewLater()
    leafListeners.call()
  }

  /** One after the other: a leaf of an authority that is no longer the active one must not come last. */
  function change(work: () => Promise<void>): void {
    changing = changing.then(work).catch((error: unknown) => {
      log.error({ secret, error: messageOf(error) }, 'a certificate could not be made; what serves goes on')
      clearTimeout(renewTimer)
      if (!stopping.signal.aborted) renewTimer = renewLater(retryMilliseconds)
    })
  }

  async function follow(next: AuthorityState): Promise<void> {
    const before = state
    // The leaf first: were it to fail, this replica would go on as it was and say so.
    const isOtherLeaf = next.active.cert !== before.active.cert || next.crossCerts.join('') !== before.crossCerts.join('')
    const made = isOtherLeaf ? await leafFor(next) : null
    state = next
    if (trusted(next) !== trusted(before)) trustListeners.call()
    if (made === null) return
    log.info({ secret }, 'another authority signs now')
    setLeaf(made)
  }

  const backoff = createBackoff({ firstMilliseconds: 500, mostMilliseconds: 30_000 })

  /** One try at a time, between which leaves are renewed: a Secret may stay damaged for longer than a leaf lives. */
  async function makeAgain(): Promise<void> {
    if (stopping.signal.aborted || watch.get(`${namespace}/${secret}`) !== undefined) return
    try {
      await follow((await readOrCreateAuthority(options, options.authority, state)).state)
      backoff.reset()
    } catch (error) {
      log.error({ secret, error: messageOf(error) }, 'the authority could not be made again; trying again')
      clearTimeout(againTimer)
      againTimer = setTimeout(() => change(makeAgain), backoff.next()).unref()
    }
  }

  const watch = watchResource<AuthorityState>({
    ...{ cluster, namespace, log },
    resource: resources.secrets,
    fieldSelector: `metadata.name=${secret}`,
    keep: (object) => stateOfSecretData(textsOf(object as SecretObject)),
    onChange({ after }) {
      if (after !== undefined) return change(() => follow(after))
      log.warn({ secret }, 'the Secret with the authority is gone or unusable; if it is gone, another is made')
      change(makeAgain)
    },
  })

  return {
    current: () => leaf,
    onChange: leafListeners.add,
    trust: () => trusted(state),
    onTrustChange: trustListeners.add,
    stop() {
      stopping.abort()
      clearTimeout(renewTimer)
      clearTimeout(againTimer)
      watch.stop()
    },
  }
}
