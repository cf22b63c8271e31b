/**
 * What lists and views show of sessions that were cut off with their recorder: how much the last high-water mark claims beyond what is stored.
 *
 * Believes the statement of loss as it believes a manifest: proof is `verify`'s. Reads one small object for each recorder that has sessions without end.
 */
import type { MarkedSession } from './high-water-mark.ts'
import { inOrder } from './in-order.ts'
import { lossesPrefix, nameOf } from './object-keys.ts'
import { claimsOf, findRecorderLoss, type Claims, type ReadLoss, type RecorderLoss } from './recorder-loss.ts'
import { BadDocument } from './shape.ts'
import type { Store } from './stores/store.ts'

const readAtOnce = 16

/** Of a session without end whose recorder vanished. */
export type LostPart = {
  readonly why: RecorderLoss['why']
  /** When control stated it, in milliseconds since the epoch. */
  readonly stated: number
  /** Null when nobody knows how much: control heard no mark that names the session. */
  readonly missing: {
    readonly records: number
    /** Of those records; null when more was stored since the loss was stated, or too many segments were there to ask. */
    readonly bytes: number | null
    /** That the agent began and of which no line is in an index. */
    readonly statements: number
  } | null
}

export type LostSessions = ReturnType<typeof createLostSessions>

export function createLostSessions(store: Store) {
  const known = new Map<string, Promise<{ readonly read: ReadLoss; readonly claims: Claims | null } | null>>()

  async function find(recorder: string) {
    try {
      const read = await findRecorderLoss(store, recorder)
      return read === null ? null : { read, claims: claimsOf([...read.earlierMarks, read.mark]) }
    } catch (error) {
      if (error instanceof BadDocument) return null // Of no use here; `steno verify` names it.
      throw error
    }
  }

  function of(recorder: string): ReturnType<typeof find> {
    const found = known.get(recorder) ?? find(recorder)
    found.catch(() => known.delete(recorder))
    known.set(recorder, found)
    return found
  }

  return {
    /** Null unless `recorder` is stated to be lost. @throws StoreUnavailable */
    async part(
      recorder: string,
      session: string,
      stored: { readonly records: number; readonly statements: number },
    ): Promise<LostPart | null> {
      const lost = await of(recorder)
      if (lost === null) return null
      const { why, time, sessions } = lost.read.loss
      const claimed = lost.claims?.sessions.get(session)
      if (claimed === undefined) return { why, stated: time, missing: null }
      const seen = sessions.find((each) => each.session === session)
      const isAsSeen = seen === undefined || seen.stored.records === stored.records
      const bytes = seen === undefined || seen.stored.bytes === null ? null : Math.max(0, seen.claimed.bytes - seen.stored.bytes)
      const records = Math.max(0, claimed.records - stored.records)
      const statements = Math.max(0, claimed.statements - stored.statements)
      return { why, stated: time, missing: { records, bytes: records === 0 ? 0 : isAsSeen ? bytes : null, statements } }
    },

    /** Every session that statements of loss name, with its recorder: of some nothing else is left. Reads each statement. @throws StoreUnavailable */
    async named(): Promise<ReadonlyMap<string, { readonly recorder: string; readonly claimed: MarkedSession }>> {
      async function* recorders(): AsyncGenerator<string> {
        for await (const { key } of store.list(lossesPrefix)) {
          const name = nameOf(key)
          if (name.kind === 'loss') yield name.recorder
        }
      }
      async function* claimedBy(recorder: string): AsyncGenerator<readonly [string, MarkedSession][], void> {
        const lost = await find(recorder) // Not kept: there may be any number, and few are asked for again.
        yield (lost?.read.loss.sessions ?? []).flatMap(({ session }) => {
          const claimed = lost?.claims?.sessions.get(session)
          return claimed === undefined ? [] : [[recorder, claimed] as [string, MarkedSession]]
        })
      }
      const named = new Map<string, { readonly recorder: string; readonly claimed: MarkedSession }>()
      for await (const all of inOrder(recorders(), readAtOnce, claimedBy))
        for (const [recorder, claimed] of all) named.set(claimed.session, { recorder, claimed })
      return named
    },
  }
}
