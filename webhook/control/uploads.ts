/**
 * How many uploads are held at a time: by number, by bytes, and by pod, so that control's memory has a bound and no pod takes it all.
 *
 * What does not fit waits its turn in the order of coming, unread in the kernel's buffers; what waits too long, or finds too many waiting,
 * is told when to come again.
 */
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import { Refusal } from './refusal.ts'

export type UploadLimits = {
  readonly uploadsMax: number
  /** Objects held whole: at least the largest that is taken. */
  readonly bytesMax: number
  readonly uploadsPerPodMax: number
  /** Of `bytesMax`, what one pod may hold besides a single object: slow uploads of one pod must leave room for those of others. */
  readonly bytesPerPodMax: number
  readonly waitingMax: number
  readonly waitingPerPodMax: number
  readonly waitMilliseconds: number
}

export const standardUploadLimits: UploadLimits = {
  uploadsMax: 64,
  bytesMax: 128 * 1024 * 1024,
  uploadsPerPodMax: 8,
  bytesPerPodMax: 64 * 1024 * 1024,
  waitingMax: 1_000,
  waitingPerPodMax: 32,
  waitMilliseconds: 10_000,
}

type Waiting = { readonly pod: string; readonly bytes: number; readonly start: () => void }
type Share = { running: number; waiting: number; bytes: number }

export type Uploads = ReturnType<typeof createUploads>

export function createUploads(limits: UploadLimits = standardUploadLimits) {
  const shares = new Map<string, Share>()
  const queue: Waiting[] = []
  let running = 0
  let bytesHeld = 0

  const shareOf = (pod: string): Share => {
    const share = shares.get(pod) ?? { running: 0, waiting: 0, bytes: 0 }
    shares.set(pod, share)
    return share
  }

  function fits(bytes: number): boolean {
    return running < limits.uploadsMax && bytesHeld + bytes <= limits.bytesMax
  }

  /** Whether the pod has all that is its due. */
  function isSated(share: Share, bytes: number): boolean {
    return share.running >= limits.uploadsPerPodMax || (share.running > 0 && share.bytes + bytes > limits.bytesPerPodMax)
  }

  function begin(pod: string, bytes: number): () => void {
    const share = shareOf(pod)
    running++
    bytesHeld += bytes
    share.running++
    share.bytes += bytes
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      running--
      bytesHeld -= bytes
      share.running--
      share.bytes -= bytes
      forget(pod)
      startWaiting()
    }
  }

  function forget(pod: string): void {
    const share = shares.get(pod)
    if (share?.running === 0 && share.waiting === 0) shares.delete(pod)
  }

  /** A pod that has all that is its due is passed over; one whose object is large is not, else it would wait for ever. */
  function startWaiting(): void {
    for (let at = 0; at < queue.length;) {
      const { pod, bytes, start } = queue[at]!
      if (isSated(shareOf(pod), bytes)) {
        at++
        continue
      }
      if (!fits(bytes)) return
      queue.splice(at, 1)
      start()
    }
  }

  return {
    /**
     * Resolves with what gives the room back, once there is room for `bytes` of `pod`.
     * @throws Refusal TOO_MANY_UPLOADS or BUSY; the signal's reason when it is aborted
     */
    acquire({ podUid }: Pick<PodIdentity, 'podUid'>, bytes: number, signal: AbortSignal): Promise<() => void> {
      const share = shareOf(podUid)
      const isFree = queue.length === 0 && !isSated(share, bytes) && fits(bytes)
      if (isFree) return Promise.resolve(begin(podUid, bytes))
      if (share.waiting >= limits.waitingPerPodMax)
        return Promise.reject(
          new Refusal('TOO_MANY_UPLOADS', `${share.running} uploads of this pod are under way and ${share.waiting} wait`),
        )
      if (queue.length >= limits.waitingMax) {
        forget(podUid)
        return Promise.reject(new Refusal('BUSY', `${running} uploads are under way and ${queue.length} wait`))
      }
      return new Promise((resolve, reject) => {
        share.waiting++
        const leave = (): void => {
          share.waiting--
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
        }
        const waiting: Waiting = {
          pod: podUid,
          bytes,
          start() {
            leave()
            resolve(begin(podUid, bytes))
          },
        }
        const giveUp = (error: unknown): void => {
          queue.splice(queue.indexOf(waiting), 1)
          leave()
          forget(podUid)
          reject(error)
          startWaiting()
        }
        const onAbort = (): void => giveUp(signal.reason)
        const timer = setTimeout(
          () => giveUp(new Refusal('BUSY', `there was no room for an upload within ${limits.waitMilliseconds} ms`)),
          limits.waitMilliseconds,
        )
        queue.push(waiting)
        signal.addEventListener('abort', onAbort, { once: true })
        startWaiting()
        if (signal.aborted) onAbort()
      })
    },
    get running(): number {
      return running
    },
    get waiting(): number {
      return queue.length
    },
    get bytesHeld(): number {
      return bytesHeld
    },
  }
}
