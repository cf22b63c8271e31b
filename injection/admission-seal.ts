/**
 * The seal that the webhook puts on a pod that it gave a sidecar, and whether a running pod bears it.
 *
 * Signed with control's key over the namespace, the time and the sidecar's configuration, in which the policy's hash and the mode of enforcement are: so
 * what the pod was made by is not its author's to say, also after the policy has changed. It names no pod, for at admission a pod may have neither
 * name nor UID; a copy of it is good for the same configuration in the same namespace, and only for pods that were created within minutes of it.
 * Says nothing of the other containers of the pod.
 */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'
import type { V1Pod } from '@kubernetes/client-node'
import { sidecarName } from './sidecar-container.ts'

export const admissionAnnotation = 'steno.dev/admission'

/** Between the clock of a webhook and that of an API server, with the time that a pod's creation takes. */
export const sealMillisecondsMax = 10 * 60_000
/** The API server may ask twice; a seal of so long ago is the first answer's. */
const sameAdmissionMilliseconds = 60_000

export type SealKey = {
  /** SubjectPublicKeyInfo in PEM. */
  readonly publicKeyPem: string
  /** Ed25519 (RFC 8032). */
  sign(bytes: Buffer): Buffer
}

/** The pod with a seal of now, or with the one that it has from a moment ago. Takes a pod with a sidecar. */
export function sealed(pod: V1Pod, namespace: string, key: SealKey, now: number): V1Pod {
  const facts = { namespace, config: configOf(pod) }
  const before = read(pod.metadata?.annotations?.[admissionAnnotation])
  if (before !== null && Math.abs(now - before.time) <= sameAdmissionMilliseconds && isSignedBy(key.publicKeyPem, before, facts)) return pod
  const time = Math.floor(now)
  const value = `${time}.${key.sign(bytesOf(time, facts)).toString('base64url')}`
  const metadata = Object.assign({}, pod.metadata, { annotations: { ...pod.metadata?.annotations, [admissionAnnotation]: value } })
  return Object.assign({}, pod, { metadata })
}

/** Whether the webhook of one of these keys (PEM) gave the pod, as the API server has it, the configuration that its sidecar has. */
export function bearsSeal(pod: V1Pod, publicKeys: readonly string[]): boolean {
  const seal = read(pod.metadata?.annotations?.[admissionAnnotation])
  if (seal === null || !(Math.abs(createdAt(pod) - seal.time) <= sealMillisecondsMax)) return false
  const facts = { namespace: pod.metadata?.namespace ?? '', config: configOf(pod) }
  return publicKeys.some((pem) => isSignedBy(pem, seal, facts))
}

/** Milliseconds since 1970; not a number for a pod that was never stored. */
export function createdAt({ metadata }: V1Pod): number {
  const { creationTimestamp } = metadata ?? {}
  return creationTimestamp === undefined ? Number.NaN : new Date(creationTimestamp).getTime()
}

type Seal = { readonly time: number; readonly signature: Buffer }
type Sealed = { readonly namespace: string; readonly config: string }

const sealPattern = /^([1-9][0-9]{0,14})\.([A-Za-z0-9_-]{86})$/

function read(value: string | undefined): Seal | null {
  const [, time = '', signature = ''] = sealPattern.exec(value ?? '') ?? []
  return time === '' ? null : { time: Number(time), signature: Buffer.from(signature, 'base64url') }
}

/** Begins as every document does that control signs, with a type of its own: none passes for another. */
function bytesOf(time: number, { namespace, config }: Sealed): Buffer {
  const sha256 = createHash('sha256').update(config).digest('hex')
  return Buffer.from(JSON.stringify({ type: 'admission', version: 1, podNamespace: namespace, time, configSha256: sha256 }), 'utf8')
}

function isSignedBy(publicKeyPem: string, { time, signature }: Seal, facts: Sealed): boolean {
  const key = keyOf(publicKeyPem)
  return key !== null && verify(null, bytesOf(time, facts), key, signature)
}

function keyOf(pem: string): KeyObject | null {
  try {
    const key = createPublicKey(pem)
    return key.asymmetricKeyType === 'ed25519' ? key : null
  } catch {
    return null // What stands among the keys and is none has signed nothing.
  }
}

function configOf({ spec }: V1Pod): string {
  const sidecar = (spec?.initContainers ?? []).find(({ name }) => name === sidecarName)
  return sidecar?.env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')?.value ?? ''
}
