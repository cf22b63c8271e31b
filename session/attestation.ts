/**
 * What somebody outside the agent's reach checked of a recorder: `attested/<recorder>.json`, a signed document of control's.
 *
 * Control writes it once, before it takes anything else of the recorder, and from then on takes nothing of that recorder from another
 * pod. It is signed with control's key, not the recorder's: whether that key is *yours* is for the reader to say, as with recorders.
 */
import type { KeyObject } from 'node:crypto'
import { attestationKey } from './object-keys.ts'
import { BadDocument, matching, nullable, object, oneOf, text, time, type Check } from './shape.ts'
import { keyThatSigned, readSignedDocument, signDocument } from './signed-document.ts'
import type { RecorderKey } from './recorder-key.ts'
import type { Store } from './stores/store.ts'

/** A few hundred bytes; names of Kubernetes objects have at most 253 characters. */
export const attestationBytesMax = 16 * 1024

/** The pod that a recorder runs in. From its token unless said otherwise. */
export type AttestedPod = {
  readonly podUid: string
  readonly podName: string
  readonly podNamespace: string
  readonly serviceAccount: string
  /** Null when the API server puts no node into tokens and the pod was not found. */
  readonly nodeName: string | null
  /** `ReplicaSet/shop-7d4`: the controller in the pod's metadata.ownerReferences; null for a bare pod, or when the pod was not found. */
  readonly owner: string | null
  /** The image of the sidecar, by digest when the kubelet has said it (status.initContainerStatuses[].imageID). */
  readonly image: string | null
}

export type Attestation = {
  readonly type: 'attestation'
  readonly version: 1
  readonly recorder: string
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly pod: AttestedPod
  /** Of control: base64 of the DER (SPKI) form. */
  readonly publicKey: string
}

/** `publicKey` is the key that signed it. */
export type ReadAttestation = { readonly attestation: Attestation; readonly publicKey: KeyObject }

const checkAttestation: Check<Attestation> = object<Attestation>({
  type: oneOf('attestation'),
  version: oneOf(1),
  recorder: matching(/^[0-9a-f]{32}$/, 'a recorder id'),
  time,
  pod: object<AttestedPod>({
    podUid: text,
    podName: text,
    podNamespace: text,
    serviceAccount: text,
    nodeName: nullable(text),
    owner: nullable(text),
    image: nullable(text),
  }),
  publicKey: text,
})

export function sealAttestation(
  fields: Pick<Attestation, 'recorder' | 'time' | 'pod'>,
  key: Pick<RecorderKey, 'publicKey' | 'sign'>,
): { readonly bytes: Buffer; readonly sha256: string } {
  const { recorder, pod } = fields
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const attestation: Attestation = { type: 'attestation', version: 1, recorder, time: fields.time, pod, publicKey }
  return signDocument(attestation, key)
}

/**
 * What `bytes` attest of `recorder`: signed by the key that they name, which is the caller's to trust.
 * @throws BadDocument
 */
export function readAttestation(bytes: Buffer, recorder: string): ReadAttestation {
  const signed = readSignedDocument(bytes, 'attestation')
  const attestation = checkAttestation(signed.value, 'the attestation')
  if (attestation.recorder !== recorder) throw new BadDocument(`this is the attestation of recorder ${attestation.recorder}`)
  const publicKey = keyThatSigned(signed, attestation.publicKey, 'the attestation')
  return { attestation, publicKey }
}

/** What the store holds of `recorder`, or null. @throws BadDocument, StoreUnavailable */
export async function findAttestation(store: Store, recorder: string): Promise<ReadAttestation | null> {
  const key = attestationKey(recorder)
  const head = await store.head(key)
  if (head === null) return null
  if (head.bytes > attestationBytesMax) throw new BadDocument(`the attestation is ${head.bytes} bytes long`)
  const bytes = await store.get(key)
  return bytes === null ? null : readAttestation(bytes, recorder)
}
