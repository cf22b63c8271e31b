/** What a server needs of certificates, wherever they come from. */
import type { ClusterClient } from '../client.ts'
import type { Log } from '../../base/log.ts'
import { KnownError } from '../../base/errors.ts'

/** PEM; behind the leaf stand the certificates that lead from it to older authorities. */
export type Leaf = { readonly key: string; readonly cert: string }

export type Certificates = {
  current(): Leaf
  /** Calls `listener` when `current()` has changed; returns what ends that. */
  onChange(listener: () => void): () => void
}

export type CertificateSource = Certificates & {
  /** The authorities by which clients may know the server, as PEM; null when that is not steno's to say. */
  trust(): string | null
  /** Calls `listener` when `trust()` has changed. */
  onTrustChange(listener: () => void): () => void
  stop(): void
}

export type CertificateOptions = {
  readonly cluster: ClusterClient
  readonly namespace: string
  /** The Secret's name. */
  readonly secret: string
  readonly log: Log
}

/** The Secret with the authority is not what steno wrote. */
export class AuthorityUnusable extends KnownError {
  readonly code = 'AUTHORITY_UNUSABLE'
  readonly remedy =
    'Restore the Secret, or delete it: steno then makes another authority, and pods that were admitted before must be made again to trust it.'
  readonly safeToRetry = true
}

/** The Secret that was named with --certificate-secret holds no certificate that can be used. */
export class CertificateUnusable extends KnownError {
  readonly code = 'CERTIFICATE_UNUSABLE'
  readonly remedy = 'Name a Secret of type kubernetes.io/tls with tls.crt, tls.key and, for clients to trust it, ca.crt.'
  readonly safeToRetry = true
}

export type SecretObject = {
  readonly metadata?: { readonly name?: string; readonly resourceVersion?: string }
  readonly data?: Readonly<Record<string, string>>
}

/** A Secret's values as text. */
export function textsOf(secret: SecretObject): Record<string, string> {
  return Object.fromEntries(Object.entries(secret.data ?? {}).map(([name, value]) => [name, Buffer.from(value, 'base64').toString('utf8')]))
}

/** Listeners that are called in order; one that throws is logged and does not keep the others from hearing. */
export function createListeners(log: Log) {
  const listeners = new Set<() => void>()
  return {
    add(listener: () => void): () => void {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    call(): void {
      for (const listener of listeners) {
        try {
          listener()
        } catch (error) {
          log.error({ error: error instanceof Error ? error.message : String(error) }, 'a change of certificates could not be taken in')
        }
      }
    },
  }
}
