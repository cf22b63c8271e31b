/**
 * The last high-water mark of each recorder, in memory: at most so many recorders and bytes; the one that was silent longest goes first.
 *
 * What is dropped here is not lost: `keep-marks.ts` has the newest of every recorder whose spool has something that waits in its store.
 */
import type { HighWaterMark } from '../../../session/high-water-mark.ts'
import { earlierMarksMax } from '../../../session/recorder-loss.ts'

export type MarkedPod = { readonly podUid: string; readonly podName: string; readonly podNamespace: string }

/** A mark as it came, and what of it is asked for often; its sessions are read from the bytes when they are needed. */
export type TakenMark = Pick<HighWaterMark, 'number' | 'process' | 'time' | 'waitingBytes' | 'earlierBytes'> & { readonly bytes: Buffer }

export type RecorderMarks = {
  readonly recorder: string
  /** The RecordingStore that the recorder writes to. */
  readonly store: string
  /** Null for marks that an earlier control kept, until the pod is heard again. */
  readonly pod: MarkedPod | null
  readonly last: TakenMark
  /** Last marks of processes before, while the last mark says that something of them waits; the oldest first. */
  readonly earlier: readonly TakenMark[]
  /** Marks of it that lie in the store. */
  readonly kept: ReadonlySet<number>
  /** When a mark was kept last, and since when something waits; milliseconds of a clock that never goes back. */
  readonly keptAt: number
  readonly waitsSince: number | null
}

const recordersMax = 20_000
const bytesMax = 64 * 1024 * 1024
/** For a mark's own fields and its place in the maps. */
const overheadBytes = 512

export type MarkMemory = ReturnType<typeof createMarkMemory>

export function createMarkMemory(limits: { readonly recordersMax?: number; readonly bytesMax?: number } = {}) {
  const most = { recorders: limits.recordersMax ?? recordersMax, bytes: limits.bytesMax ?? bytesMax }
  const recorders = new Map<string, RecorderMarks>()
  const byPod = new Map<string, Set<string>>()
  let bytes = 0

  const sizeOf = ({ last, earlier }: RecorderMarks): number =>
    [last, ...earlier].reduce((sum, mark) => sum + mark.bytes.length + overheadBytes, 0)

  function remove(key: string): void {
    const marks = recorders.get(key)
    if (marks === undefined) return
    recorders.delete(key)
    bytes -= sizeOf(marks)
    if (marks.pod === null) return
    const ofPod = byPod.get(marks.pod.podUid)
    ofPod?.delete(key)
    if (ofPod?.size === 0) byPod.delete(marks.pod.podUid)
  }

  return {
    get: (store: string, recorder: string): RecorderMarks | undefined => recorders.get(keyOf(store, recorder)),
    set(marks: RecorderMarks): void {
      const key = keyOf(marks.store, marks.recorder)
      remove(key) // And so to the end of the order.
      recorders.set(key, marks)
      bytes += sizeOf(marks)
      if (marks.pod !== null) {
        const ofPod = byPod.get(marks.pod.podUid) ?? new Set()
        ofPod.add(key)
        byPod.set(marks.pod.podUid, ofPod)
      }
      for (const oldest of recorders.keys()) {
        if (recorders.size <= most.recorders && bytes <= most.bytes) break
        if (oldest !== key) remove(oldest)
        else break
      }
    },
    delete: (store: string, recorder: string): void => remove(keyOf(store, recorder)),
    /** Recorders of which a mark of this pod came. */
    ofPod: (podUid: string): readonly RecorderMarks[] => [...(byPod.get(podUid) ?? [])].map((key) => recorders.get(key)!),
    values: (): IterableIterator<RecorderMarks> => recorders.values(),
    get size(): number {
      return recorders.size
    },
    get bytes(): number {
      return bytes
    },
  }
}

function keyOf(store: string, recorder: string): string {
  return `${store}/${recorder}`
}

/** What is known of a recorder once `mark` came: the mark of the process before stays as long as this process has not recovered its spool. */
export function withMark(before: Pick<RecorderMarks, 'last' | 'earlier'> | null, mark: TakenMark): Pick<RecorderMarks, 'last' | 'earlier'> {
  if (before === null || mark.earlierBytes === 0) return { last: mark, earlier: [] }
  const { last, earlier } = before
  const isNext = last.process !== mark.process && last.waitingBytes > 0
  return { last: mark, earlier: (isNext ? [...earlier, last] : earlier).slice(-earlierMarksMax) }
}

export function takenMark(mark: HighWaterMark, bytes: Buffer): TakenMark {
  const { number, process, time, waitingBytes, earlierBytes } = mark
  // Of its own: a view would hold the buffer that it was read into.
  return { number, process, time, waitingBytes, earlierBytes, bytes: Buffer.from(bytes) }
}
