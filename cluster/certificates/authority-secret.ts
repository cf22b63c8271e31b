/** The authority's Secret: read it, make it when there is none, replace it as long as nobody else has. */
import { messageOf } from '../../base/errors.ts'
import type { ClusterClient } from '../client.ts'
import { isRefusal } from '../errors.ts'
import { apiVersionOf, pathOf, resources } from '../resources.ts'
import { activated, secretDataOf, stateOfSecretData, type AuthorityIntervals, type AuthorityState } from './authority-state.ts'
import { createAuthority, crossCertify } from './authority.ts'
import { AuthorityUnusable, textsOf, type SecretObject } from './certificates.ts'

export type AuthoritySecret = { readonly cluster: Pick<ClusterClient, 'request'>; readonly namespace: string; readonly secret: string }
export type StoredAuthority = { readonly state: AuthorityState; readonly resourceVersion: string }

/** Clocks of clients may run behind. */
const backdatedMilliseconds = 86_400_000

/** A certificate that begins a day ago, for clocks that run behind. */
export function validityFrom(
  now: number,
  { validMilliseconds }: Pick<AuthorityIntervals, 'validMilliseconds'>,
): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - backdatedMilliseconds), notAfter: new Date(now + validMilliseconds) }
}

/** @throws AuthorityUnusable, ClusterRefused, ClusterUnreachable */
export async function readAuthority({ cluster, namespace, secret }: AuthoritySecret): Promise<StoredAuthority> {
  return storedIn(
    await cluster.request<SecretObject>({ method: 'GET', path: pathOf(resources.secrets, { namespace, name: secret }) }),
    secret,
  )
}

/**
 * Of several replicas that find none, the API server lets one make it, and the others read that. `before` is what was there: clients know
 * it, so it stays trusted, and vouches for the one that is made.
 * @throws as `readAuthority`
 */
export async function readOrCreateAuthority(
  at: AuthoritySecret,
  intervals: AuthorityIntervals,
  before: AuthorityState | null = null,
): Promise<StoredAuthority> {
  try {
    return await readAuthority(at)
  } catch (error) {
    if (!isRefusal(error, 'NotFound')) throw error
  }
  const now = Date.now()
  const made = await createAuthority(validityFrom(now, intervals))
  const state: AuthorityState =
    before === null
      ? { active: made, activeSince: now, next: null, crossCerts: [], retired: [] }
      : activated({ ...before, next: { ...made, crossCert: await crossCertify(made.cert, before.active), distributedAt: now } }, now)
  try {
    const path = pathOf(resources.secrets, { namespace: at.namespace })
    return storedIn(await at.cluster.request<SecretObject>({ method: 'POST', path, body: secretOf(at, state, undefined) }), at.secret)
  } catch (error) {
    if (!isRefusal(error, 'AlreadyExists')) throw error
    return await readAuthority(at)
  }
}

/** @throws ClusterRefused with reason Conflict when the Secret is another than the one read */
export async function replaceAuthority(at: AuthoritySecret, state: AuthorityState, resourceVersion: string): Promise<void> {
  const path = pathOf(resources.secrets, { namespace: at.namespace, name: at.secret })
  await at.cluster.request({ method: 'PUT', path, body: secretOf(at, state, resourceVersion) })
}

function secretOf({ namespace, secret }: AuthoritySecret, state: AuthorityState, resourceVersion: string | undefined): object {
  const data = Object.entries(secretDataOf(state)).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
  return {
    apiVersion: apiVersionOf(resources.secrets),
    kind: resources.secrets.kind,
    metadata: {
      name: secret,
      namespace,
      labels: { 'app.kubernetes.io/name': 'steno', 'app.kubernetes.io/managed-by': 'steno' },
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    type: 'Opaque',
    data: Object.fromEntries(data),
  }
}

function storedIn(object: SecretObject, name: string): StoredAuthority {
  try {
    return { state: stateOfSecretData(textsOf(object)), resourceVersion: object.metadata?.resourceVersion ?? '' }
  } catch (error) {
    throw new AuthorityUnusable(`the Secret ${name} holds no authority of steno: ${messageOf(error)}`, { cause: error })
  }
}
