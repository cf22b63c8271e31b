/** What a store alone has of each session, closed or not, found again by the application name that its client gave. */
import { pathToFileURL } from 'node:url'
import { readRecords, sessionIds } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import { readHeader } from '../../session/session-content.ts'
import { openStore } from '../../session/stores/open-store.ts'

/** What the database sent, in order, by application name. */
export async function backendBytesOf(storeFolder: string): Promise<Map<string, Buffer>> {
  const store = await openStore(pathToFileURL(storeFolder).href)
  const found = new Map<string, Buffer>()
  for await (const session of sessionIds(store, 'oldest')) {
    const first = await readHeader(store, session, 1)
    if (first === null) continue // Killed between making the session's folder and putting something into it.
    const { asserted } = first.identity
    const pieces: Buffer[] = []
    for await (const { type, payload } of readRecords(store, session)) if (type === recordType.backend) pieces.push(Buffer.from(payload))
    found.set(asserted['application_name'] ?? session, Buffer.concat(pieces))
  }
  return found
}
