/**
 * `POST /v1/marks`: one signed high-water mark of a recorder, for the RecordingStore that the header `steno-store` names. Answers 204.
 *
 * A mark counts when it is signed by the recorder's key, the recorder belongs to the pod whose token came with it, and its number is higher than
 * that of every mark before. The first mark of a recorder may come before its first object, and then gives the recorder to the pod as that would.
 */
import type { IncomingMessage } from 'node:http'
import { markBytesMax, readHighWaterMark, type HighWaterMark } from '../../../session/high-water-mark.ts'
import { BadDocument } from '../../../session/shape.ts'
import { notYours, type Owners } from '../owners.ts'
import { Refusal } from '../refusal.ts'
import { bodyLength, readBody } from '../request-body.ts'
import type { Route } from '../routes.ts'
import type { OpenedStore, Stores } from '../stores.ts'
import type { MarkKeeper } from './keep-marks.ts'
import { takenMark, withMark, type MarkMemory, type RecorderMarks } from './mark-memory.ts'

export type MarkRouteOptions = {
  readonly stores: Pick<Stores, 'named'>
  readonly ownersOf: (opened: OpenedStore) => Pick<Owners, 'podOf' | 'bind'>
  readonly memory: MarkMemory
  readonly keeper: Pick<MarkKeeper, 'load'>
  readonly now?: () => number
}

export function markRoute({ stores, ownersOf, memory, keeper, now = () => performance.now() }: MarkRouteOptions): Route {
  /** Marks of recorders that are looked up, so that of two at once the later one stays. */
  const lookedUp = new Map<string, Promise<Omit<RecorderMarks, 'pod'> | null>>()

  async function knownOf(store: string, recorder: string): Promise<Omit<RecorderMarks, 'pod'> | null> {
    const known = memory.get(store, recorder)
    if (known !== undefined) return known
    const key = `${store}/${recorder}`
    const running = lookedUp.get(key) ?? keeper.load(store, recorder).finally(() => lookedUp.delete(key))
    lookedUp.set(key, running)
    const loaded = await running
    return memory.get(store, recorder) ?? loaded
  }

  return {
    method: 'POST',
    path: '/v1/marks',
    async handle({ request, response, pod }) {
      const opened = stores.named(storeIn(request))
      const bytes = await readBody(request, bodyLength(request, markBytesMax))
      const mark = markIn(bytes)
      const { recorder } = mark
      const owners = ownersOf(opened)
      const owner = await owners.podOf(recorder)
      if (owner === null) await owners.bind(recorder, pod)
      else if (owner !== pod.podUid) throw notYours(recorder)
      const known = await knownOf(opened.name, recorder)
      if (known !== null && mark.number <= known.last.number) {
        response.setHeader('steno-mark-number', known.last.number)
        throw new Refusal('MARK_OLD', `mark ${mark.number} of recorder ${recorder} came, and ${known.last.number} is known`)
      }
      const waitsSince = mark.waitingBytes === 0 ? null : (known?.waitsSince ?? now())
      const { podUid, podName, podNamespace } = pod
      memory.set({
        ...{ recorder, store: opened.name, pod: { podUid, podName, podNamespace } },
        ...withMark(known, takenMark(mark, bytes)),
        ...{ kept: known?.kept ?? new Set(), keptAt: known?.keptAt ?? -Infinity, waitsSince },
      })
      response.writeHead(204).end()
    },
  }
}

function storeIn({ headers }: IncomingMessage): string {
  const store = headers['steno-store']
  if (typeof store !== 'string') throw new Refusal('BAD_REQUEST', 'the header steno-store names no RecordingStore')
  return store
}

function markIn(bytes: Buffer): HighWaterMark {
  try {
    return readHighWaterMark(bytes)
  } catch (error) {
    if (error instanceof BadDocument) throw new Refusal('OBJECT_UNFIT', error.message, { cause: error })
    throw error
  }
}
