/**
 * One session, from its first statement on and as it grows, until it is closed. Holds one line of its index.
 *
 * Looks for the next part's index by its name; a session that a killed recorder left open is waited for, since a later start ends it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { KnownError } from '../../base/errors.ts'
import { statementIndexKey } from '../../session/object-keys.ts'
import { readIdentity, readSessionManifest } from '../../session/read-session.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { restMilliseconds, statementsOfPart, type Followed } from './followed.ts'

/** Ends when the session is closed and all of it was given, or when `signal` is aborted. @throws RecordingDamaged, StoreUnavailable */
export async function* followSession(store: Store, session: string, signal: AbortSignal): AsyncGenerator<Followed> {
  const identity = await readIdentity(store, session)
  yield { kind: 'opened', identity }
  for (let next = 1; !signal.aborted;) {
    const began = performance.now()
    // The manifest is stored behind the last part: read first, it says how many there are.
    const manifest = await readSessionManifest(store, session)
    let news = false
    for (; !signal.aborted && (await store.head(statementIndexKey(session, next))) !== null; next++) {
      news = true
      try {
        for await (const statement of statementsOfPart(store, session, next)) yield { kind: 'statement', identity, statement }
      } catch (error) {
        if (!(error instanceof KnownError) || error instanceof StoreUnavailable) throw error
        yield { kind: 'problem', message: error.message }
      }
    }
    if (manifest !== null) {
      if (next <= manifest.segments.length)
        yield { kind: 'problem', message: `a statement index is missing: ${statementIndexKey(session, next)}` }
      yield { kind: 'closed', identity, close: manifest.close }
      return
    }
    yield { kind: 'pause', news }
    await sleep(restMilliseconds(performance.now() - began), undefined, { signal }).catch(() => undefined)
  }
}
