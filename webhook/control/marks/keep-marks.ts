/**
 * Marks that outlive a control: while something of a recorder waits in its spool, the newest mark goes into the recorder's store, at most each
 * ten seconds, under a name of its own; the one before is deleted then, and the last one when nothing waits any more.
 *
 * A spool that is emptied within ten seconds, as it is while all works, costs the store nothing. A control that ends in good order keeps what it
 * has not kept yet. Killed, it forgets ten seconds at most of what a recorder had said, unless that recorder speaks again.
 */
import { messageOf } from '../../../base/errors.ts'
import type { Log } from '../../../base/log.ts'
import { markBytesMax, readHighWaterMark } from '../../../session/high-water-mark.ts'
import { markKey, marksOfRecorderPrefix, nameOf } from '../../../session/object-keys.ts'
import { BadDocument } from '../../../session/shape.ts'
import type { Store } from '../../../session/stores/store.ts'
import { takenMark, withMark, type MarkMemory, type RecorderMarks, type TakenMark } from './mark-memory.ts'

export const keepMilliseconds = 10_000
const lookMilliseconds = 1_000
const atOnceMax = 8
/** Of one recorder, in its store; more are there only when the store deletes nothing, and then none is put. */
const keptMax = 8
const logMilliseconds = 60_000
const flushMillisecondsMax = 5_000

export type MarkKeeper = ReturnType<typeof createMarkKeeper>

/** `storeNamed` throws what the store of that name throws. `now` is of a clock that never goes back. */
export function createMarkKeeper({
  memory,
  storeNamed,
  log,
  now = () => performance.now(),
}: {
  readonly memory: MarkMemory
  readonly storeNamed: (name: string) => Store
  readonly log: Log
  readonly now?: () => number
}) {
  const underWay = new Set<string>()
  let loggedAt = -Infinity

  function warn(store: string, error: unknown): void {
    if (now() - loggedAt < logMilliseconds) return
    loggedAt = now()
    log.warn({ store }, `high-water marks cannot be kept in the store: ${messageOf(error)}`)
  }

  function wantedOf({ last, earlier }: RecorderMarks): readonly TakenMark[] {
    return last.waitingBytes === 0 ? [] : [...earlier, last]
  }

  function isDue(marks: RecorderMarks): boolean {
    const { last, kept, keptAt, waitsSince } = marks
    if (last.waitingBytes === 0) return kept.size > 0
    return waitsSince !== null && !kept.has(last.number) && now() - Math.max(keptAt, waitsSince) >= keepMilliseconds
  }

  /** Brings the store to what the memory says of one recorder. Never throws. */
  async function keep(marks: RecorderMarks): Promise<void> {
    const { recorder, store: name } = marks
    const key = `${name}/${recorder}`
    if (underWay.has(key)) return
    underWay.add(key)
    const kept = new Set(marks.kept)
    try {
      const store = storeNamed(name)
      const wanted = wantedOf(marks)
      for (const mark of wanted) {
        if (kept.has(mark.number) || kept.size >= keptMax) continue
        await store.putIfAbsent(markKey(recorder, mark.number), mark.bytes)
        kept.add(mark.number)
      }
      for (const number of [...kept]) {
        if (wanted.some((mark) => mark.number === number)) continue
        await store.delete(markKey(recorder, number))
        kept.delete(number)
      }
    } catch (error) {
      warn(name, error)
    } finally {
      underWay.delete(key)
      // A mark may have come meanwhile.
      const current = memory.get(name, recorder)
      if (current !== undefined) memory.set({ ...current, kept, keptAt: now() })
    }
  }

  async function keepAll(due: readonly RecorderMarks[]): Promise<void> {
    const queue = [...due]
    const work = async (): Promise<void> => {
      for (let marks = queue.shift(); marks !== undefined; marks = queue.shift()) await keep(marks)
    }
    await Promise.all(Array.from({ length: atOnceMax }, work))
  }

  let looking: Promise<void> | null = null
  function look(): Promise<void> {
    looking ??= keepAll([...memory.values()].filter(isDue)).finally(() => (looking = null))
    return looking
  }
  const timer = setInterval(() => void look(), lookMilliseconds).unref()

  return {
    look,
    /** What the store has of a recorder that this control has not heard before, or null. @throws what the store throws */
    async load(storeName: string, recorder: string): Promise<Omit<RecorderMarks, 'pod'> | null> {
      const store = storeNamed(storeName)
      let known: Pick<RecorderMarks, 'last' | 'earlier'> | null = null
      const kept = new Set<number>()
      for await (const { key, bytes } of store.list(marksOfRecorderPrefix(recorder))) {
        const name = nameOf(key)
        if (name.kind !== 'mark' || bytes > markBytesMax || kept.size >= keptMax) continue
        const found = await store.get(key)
        if (found === null) continue
        try {
          const mark = readHighWaterMark(found)
          if (mark.recorder !== recorder || mark.number !== name.number) continue
          kept.add(mark.number)
          known = withMark(known, takenMark(mark, found))
        } catch (error) {
          if (!(error instanceof BadDocument)) throw error // `steno verify` says so.
        }
      }
      if (known === null) return null
      const waitsSince = known.last.waitingBytes === 0 ? null : now()
      return { recorder, store: storeName, ...known, kept, keptAt: now(), waitsSince }
    },
    /** Removes what the store has of a recorder whose story is over. @throws what the store throws */
    async forget(storeName: string, recorder: string): Promise<void> {
      memory.delete(storeName, recorder)
      const store = storeNamed(storeName)
      const keys: string[] = []
      for await (const { key } of store.list(marksOfRecorderPrefix(recorder))) if (nameOf(key).kind === 'mark') keys.push(key)
      for (const key of keys) await store.delete(key)
    },
    /** Keeps what was not kept yet, as far as that takes no longer than five seconds. */
    async stop(): Promise<void> {
      clearInterval(timer)
      const due = [...memory.values()].filter(({ last, kept }) => (last.waitingBytes === 0 ? kept.size > 0 : !kept.has(last.number)))
      let late: NodeJS.Timeout | undefined
      const given = new Promise<void>((resolve) => (late = setTimeout(resolve, flushMillisecondsMax)))
      await Promise.race([keepAll(due), given])
      clearTimeout(late)
    },
  }
}
