/** What a store has of one session, from its manifest or from the headers of its segments; nothing is unpacked. */
import { readHeader, readSessionManifest } from '../../../session/session-content.ts'
import { findLastNumber } from '../../../session/last-number.ts'
import type { StoredAmount } from '../../../session/recorder-loss.ts'
import { segmentKey } from '../../../session/object-keys.ts'
import type { Store } from '../../../session/stores/store.ts'

/** A session with more segments has its bytes left unsaid: each is a request. */
const segmentsAskedMax = 256

/** `isWhole`: the session is closed, and its manifest is there. @throws RecordingDamaged, and what the store throws */
export async function storedAmount(store: Store, session: string): Promise<{ readonly amount: StoredAmount; readonly isWhole: boolean }> {
  const manifest = await readSessionManifest(store, session)
  if (manifest !== null) {
    const { segments, closed } = manifest
    const bytes = segments.reduce((sum, { rawBytes }) => sum + rawBytes, 0)
    const amount = { segments: segments.length, records: segments.at(-1)?.records.to ?? 0, bytes, lastTime: closed }
    return { amount, isWhole: true }
  }
  const segments = await findLastNumber(async (number) => (await store.head(segmentKey(session, number))) !== null)
  if (segments === 0) return { amount: { segments, records: 0, bytes: 0, lastTime: null }, isWhole: false }
  let bytes: number | null = segments > segmentsAskedMax ? null : 0
  for (let number = 1; bytes !== null && number < segments; number++) bytes += (await readHeader(store, session, number))?.rawBytes ?? 0
  const last = await readHeader(store, session, segments)
  if (bytes !== null) bytes += last?.rawBytes ?? 0
  return { amount: { segments, records: last?.records.to ?? 0, bytes, lastTime: last?.lastTime ?? null }, isWhole: false }
}
