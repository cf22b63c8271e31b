/**
 * A session's manifest: signed, written when the session ends, names every segment and index by digest.
 *
 * Says the same as the ledger does of this session, in one object, so that one session can be read and handed on alone.
 */
import { checkClose, checkGap, checkIdentity, type Gap, type SessionClose, type SessionIdentity } from './identity.ts'
import type { RecorderKey } from './recorder-key.ts'
import { sessionIdCheck } from './session-id.ts'
import { BadDocument, flag, list, natural, object, oneOf, ordinal, sha256Hex, text, time, type Check } from './shape.ts'
import { readSignedDocument, signDocument, type SignedDocument } from './signed-document.ts'

/** The statement index of one segment, as ledger and manifest name it. */
export type IndexReference = { readonly key: string; readonly sha256: string; readonly bytes: number; readonly statements: number }

export type ManifestSegment = {
  readonly number: number
  readonly key: string
  readonly sha256: string
  readonly bytes: number
  readonly rawBytes: number
  readonly records: { readonly from: number; readonly to: number }
  readonly index: IndexReference
}

export type Manifest = {
  readonly type: 'manifest'
  readonly version: 1
  readonly session: string
  readonly recorder: string
  readonly identity: SessionIdentity
  /** Milliseconds since the epoch, as the session-open and session-close records have them. */
  readonly opened: number
  readonly closed: number
  readonly close: SessionClose
  readonly segments: readonly ManifestSegment[]
  /** The sum over all segments' indexes. */
  readonly statements: number
  readonly gaps: readonly Gap[]
  /** True when any part was sealed by a later start for a process that was killed. */
  readonly recovered: boolean
}

export const checkIndexReference: Check<IndexReference> = object<IndexReference>({
  key: text,
  sha256: sha256Hex,
  bytes: natural,
  statements: natural,
})
export const checkRecordRange = object<ManifestSegment['records']>({ from: natural, to: ordinal })

const checkManifest: Check<Manifest> = object<Manifest>({
  type: oneOf('manifest'),
  version: oneOf(1),
  session: sessionIdCheck,
  recorder: text,
  identity: checkIdentity,
  opened: time,
  closed: time,
  close: checkClose,
  segments: list(
    object<ManifestSegment>({
      number: ordinal,
      key: text,
      sha256: sha256Hex,
      bytes: natural,
      rawBytes: natural,
      records: checkRecordRange,
      index: checkIndexReference,
    }),
  ),
  statements: natural,
  gaps: list(checkGap),
  recovered: flag,
})

export function sealManifest(
  fields: Omit<Manifest, 'type' | 'version' | 'recorder'>,
  key: RecorderKey,
): { readonly bytes: Buffer; readonly sha256: string } {
  const manifest: Manifest = { type: 'manifest', version: 1, recorder: key.id, ...fields }
  return signDocument(manifest, key)
}

/** @throws BadDocument; whose signature it must bear is the caller's to check */
export function readManifest(bytes: Buffer): { readonly manifest: Manifest; readonly document: SignedDocument } {
  const document = readSignedDocument(bytes, 'manifest')
  const manifest = checkManifest(document.value, 'the manifest')
  if (manifest.identity.session !== manifest.session) throw new BadDocument('the manifest names another session than its identity')
  return { manifest, document }
}
