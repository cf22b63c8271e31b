/**
 * Certificates that somebody else makes, such as cert-manager: a Secret of type kubernetes.io/tls, followed as it changes.
 *
 * `ca.crt` in it says who is to be trusted. When that changes together with the leaf, the leaf waits for `overlapMilliseconds` while both
 * authorities are trusted, so that no client meets a leaf before it has heard of its authority.
 */
import { messageOf } from '../../base/errors.ts'
import { resources } from '../resources.ts'
import { watchResource } from '../watch-resource.ts'
import { certificatesIn, endOf, fits } from './authority.ts'
import {
  CertificateUnusable,
  createListeners,
  textsOf,
  type CertificateOptions,
  type CertificateSource,
  type Leaf,
  type SecretObject,
} from './certificates.ts'

type Given = { readonly leaf: Leaf; readonly authorities: readonly string[] }

/** Waits until the Secret is there, or `signal`. @throws CertificateUnusable when it was stopped before */
export async function startGivenCertificates(
  options: CertificateOptions & { readonly overlapMilliseconds: number; readonly signal: AbortSignal },
): Promise<CertificateSource> {
  const { cluster, namespace, secret, overlapMilliseconds, log, signal } = options
  const leafListeners = createListeners(log)
  const trustListeners = createListeners(log)
  let given = null as Given | null // Set by what the watch calls.
  let before: readonly string[] = []
  let overlapTimer: NodeJS.Timeout | undefined
  let forgetTimer: NodeJS.Timeout | undefined
  let arrived: () => void = () => undefined
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve
  })

  const trusted = (): readonly string[] => [...new Set([...(pending?.authorities ?? []), ...(given?.authorities ?? []), ...before])]
  let pending: Given | null = null

  function take(next: Given): void {
    clearTimeout(overlapTimer)
    clearTimeout(forgetTimer)
    const old = given
    const isKnown = old === null || next.authorities.every((cert) => old.authorities.includes(cert) || before.includes(cert))
    if (old === null || isKnown || hasEnded(old.leaf)) return use(next)
    pending = next
    before = [...new Set([...old.authorities, ...before])]
    trustListeners.call()
    overlapTimer = setTimeout(() => use(next), overlapMilliseconds)
    overlapTimer.unref()
  }

  function use(next: Given): void {
    pending = null
    given = next
    log.info({ secret }, 'the certificate of the Secret serves')
    leafListeners.call()
    trustListeners.call()
    arrived()
    clearTimeout(forgetTimer)
    // Replicas change one after the other; the authority of before is trusted until all have.
    forgetTimer = setTimeout(() => {
      before = []
      trustListeners.call()
    }, overlapMilliseconds)
    forgetTimer.unref()
  }

  const watch = watchResource<Given>({
    ...{ cluster, namespace, log },
    resource: resources.secrets,
    fieldSelector: `metadata.name=${secret}`,
    keep: (object) => givenIn(object as SecretObject, secret),
    onChange({ after }) {
      if (after !== undefined) take(after)
      else log.warn({ secret }, 'the Secret with the certificate is gone or unusable; what serves goes on')
    },
  })
  const stop = (): void => {
    watch.stop()
    clearTimeout(overlapTimer)
    clearTimeout(forgetTimer)
  }
  signal.addEventListener('abort', arrived)
  await Promise.race([watch.synced, arrival])
  if (given === null) log.warn({ secret, namespace }, 'there is no usable certificate in the Secret yet; it is waited for')
  await arrival
  signal.removeEventListener('abort', arrived)
  const first = given
  if (first === null) {
    stop()
    throw new CertificateUnusable(`the Secret ${namespace}/${secret} brought no certificate until steno was stopped`)
  }
  return {
    current: () => (given ?? first).leaf,
    onChange: leafListeners.add,
    trust: () => (trusted().length === 0 ? null : trusted().join('')),
    onTrustChange: trustListeners.add,
    stop,
  }
}

function givenIn(object: SecretObject, name: string): Given {
  const { 'tls.crt': cert = '', 'tls.key': key = '', 'ca.crt': authorities = '' } = textsOf(object)
  let isPair: boolean
  try {
    isPair = fits({ cert, key })
  } catch (error) {
    // The message of the cause would show the text that could not be read, and that may be a key.
    throw new CertificateUnusable(`tls.crt or tls.key of the Secret ${name} cannot be read (${(error as Error).name})`)
  }
  if (!isPair) throw new CertificateUnusable(`tls.key of the Secret ${name} is not the key of its tls.crt`)
  return { leaf: { cert, key }, authorities: certificatesIn(authorities) }
}

function hasEnded({ cert }: Leaf): boolean {
  try {
    return endOf(cert) <= Date.now()
  } catch (error) {
    throw new CertificateUnusable(`the certificate cannot be read: ${messageOf(error)}`)
  }
}
