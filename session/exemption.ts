/**
 * What control states of pods that were made without a sidecar: `exemptions/<id>.json`, one signed document when an exemption began and one when it
 * ended, so that who reads recordings finds when and why there are none.
 *
 * Control states what the API server held when it looked. Who asked for it, and until when, is what the object says of itself: asserted, not proven.
 * Whether the key that signed it is *yours* is for the reader to say, as with attestations.
 */
import type { KeyObject } from 'node:crypto'
import { sha256Of } from './digest.ts'
import { exemptionKey } from './object-keys.ts'
import type { RecorderKey } from './recorder-key.ts'
import { BadDocument, dictionary, list, matching, natural, nullable, object, oneOf, text, time, type Check } from './shape.ts'
import { keyThatSigned, readSignedDocument, signDocument } from './signed-document.ts'
import type { Store } from './stores/store.ts'

/** 64 namespaces and 64 labels take a fifth of it. */
export const exemptionBytesMax = 64 * 1024

/** One entry of a ClusterSessionPolicy's `exemptPods`. */
export type Exempted = {
  readonly policyName: string
  readonly policyUid: string
  readonly namespaces: readonly string[]
  /** Labels that the pods have; none: all pods of these namespaces. */
  readonly matchLabels: Readonly<Record<string, string>>
  readonly reason: string
}

export type Exemption = Exempted & {
  readonly type: 'exemption'
  readonly version: 1
  readonly event: 'began' | 'ended'
  /** Of an end: the id of the document of its beginning. */
  readonly began: string | null
  /** When control saw it, milliseconds since the epoch. */
  readonly time: number
  /** metadata.generation of the policy when it was seen; of an end that of its beginning. */
  readonly generation: number
  /** The annotation steno.dev/requested-by; null without it. */
  readonly requestedBy: string | null
  /** The annotation steno.dev/break-glass-until; null without it. */
  readonly until: string | null
  /** metadata.managedFields[].manager: programs that wrote the policy. */
  readonly managers: readonly string[]
  /** Of control: base64 of the DER (SPKI) form. */
  readonly publicKey: string
}

export type ReadExemption = { readonly exemption: Exemption; readonly publicKey: KeyObject }

const id = matching(/^[0-9a-f]{32}$/, 'an id of an exemption')

const checkExemption: Check<Exemption> = object<Exemption>({
  type: oneOf('exemption'),
  version: oneOf(1),
  event: oneOf('began', 'ended'),
  began: nullable(id),
  time,
  ...{ policyName: text, policyUid: text, namespaces: list(text), matchLabels: dictionary(text), reason: text },
  ...{ generation: natural, requestedBy: nullable(text), until: nullable(text), managers: list(text), publicKey: text },
})

/** The same for equal entries of one policy, whatever their order. */
export function exemptedDigest({ policyUid, namespaces, matchLabels, reason }: Exempted): string {
  const labels = Object.entries(matchLabels).sort(([a], [b]) => (a < b ? -1 : 1))
  return sha256Of(Buffer.from(JSON.stringify([policyUid, namespaces.toSorted(), labels, reason]), 'utf8'))
}

/** Of any number of controls that see the same all give the same id. */
export function exemptionId(of: { readonly began: string } | { readonly exempted: Exempted; readonly generation: number }): string {
  const what = 'began' in of ? ['ended', of.began] : ['began', exemptedDigest(of.exempted), of.generation]
  return sha256Of(Buffer.from(JSON.stringify(what), 'utf8')).slice(0, 32)
}

export function sealExemption(
  fields: Omit<Exemption, 'type' | 'version' | 'publicKey'>,
  key: Pick<RecorderKey, 'publicKey' | 'sign'>,
): { readonly id: string; readonly bytes: Buffer } {
  const publicKey = key.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')
  const exemption: Exemption = { type: 'exemption', version: 1, ...fields, publicKey }
  return { id: idOf(exemption), bytes: signDocument(exemption, key).bytes }
}

function idOf(exemption: Exemption): string {
  if (exemption.event === 'began') return exemptionId({ exempted: exemption, generation: exemption.generation })
  return exemptionId({ began: exemption.began ?? '' })
}

/** Signed by the key that it names, which is the caller's to trust, and lying under its own name. @throws BadDocument */
export function readExemption(bytes: Buffer, named: string): ReadExemption {
  if (bytes.length > exemptionBytesMax) throw new BadDocument(`the record of an exemption is ${bytes.length} bytes long`)
  const signed = readSignedDocument(bytes, 'exemption')
  const exemption = checkExemption(signed.value, 'the record of an exemption')
  if ((exemption.event === 'ended') !== (exemption.began !== null))
    throw new BadDocument('the record of an exemption names a beginning, and is one')
  if (idOf(exemption) !== named) throw new BadDocument('the record of an exemption lies under a name that is not its own')
  const publicKey = keyThatSigned(signed, exemption.publicKey, 'the record of an exemption')
  return { exemption, publicKey }
}

/** Null when it is not there. @throws BadDocument, StoreUnavailable */
export async function findExemption(store: Store, named: string): Promise<ReadExemption | null> {
  const key = exemptionKey(named)
  const head = await store.head(key)
  if (head === null) return null
  if (head.bytes > exemptionBytesMax) throw new BadDocument(`the record of an exemption is ${head.bytes} bytes long`)
  const bytes = await store.get(key)
  return bytes === null ? null : readExemption(bytes, named)
}
