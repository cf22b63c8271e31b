/**
 * What the store holds of a session that is not closed: where sealing goes on after a crash.
 *
 * A crash can fall between storing a segment and the ledger entry that names it. Such a segment is taken over as it is, and the
 * events that the ledger lacks are given back so that they can be entered.
 */
import type { SessionIdentity } from '../../session/identity.ts'
import { sha256Of } from '../../session/digest.ts'
import type { ManifestSegment } from '../../session/manifest.ts'
import { segmentKey, statementIndexKey } from '../../session/object-keys.ts'
import { putOnce } from '../../session/put-once.ts'
import { decodeRecords, type SessionRecord } from '../../session/records.ts'
import { openSegment } from '../../session/segment.ts'
import type { Store } from '../../session/stores/store.ts'

export type StoredPart = {
  readonly segments: readonly ManifestSegment[]
  readonly recovered: boolean
  /** Spool position behind the last stored record. */
  readonly spoolEnd: number
  /** True when the last stored segment ends the session: only manifest and ledger may be missing. */
  readonly isLast: boolean
}

/** Follows the stored records; `index` gives the statement index of the segment that was followed last. */
export type StoredSink = {
  segment(number: number): void
  record(record: SessionRecord, ordinal: number): void
  index(): Buffer
}

/**
 * Reads what is stored of a session, one segment at a time. Null when nothing is.
 * A crash can also fall between a segment and its index: the index is then made again from the segment's records.
 */
export async function readStoredPart(store: Store, identity: SessionIdentity, sink: StoredSink): Promise<StoredPart | null> {
  const segments: ManifestSegment[] = []
  let recovered = false
  let spoolEnd = 0
  let isLast = false
  for (let number = 1; ; number++) {
    const key = segmentKey(identity.session, number)
    const bytes = await store.get(key)
    if (bytes === null) break
    const { header, body, sha256 } = openSegment(bytes)
    sink.segment(number)
    let ordinal = header.records.from
    for (const record of decodeRecords(body)) sink.record(record, ordinal++)
    const indexKey = statementIndexKey(identity.session, number)
    let index = await store.get(indexKey)
    if (index === null) {
      index = sink.index()
      await putOnce(store, indexKey, index)
    }
    segments.push({
      number,
      key,
      sha256,
      bytes: bytes.length,
      rawBytes: header.rawBytes,
      records: header.records,
      index: { key: indexKey, sha256: sha256Of(index), bytes: index.length, statements: index.toString('latin1').split('\n').length - 1 },
    })
    recovered ||= header.recovered
    spoolEnd = header.spoolEnd.offset
    isLast = header.last
  }
  return segments.length === 0 ? null : { segments, recovered, spoolEnd, isLast }
}
