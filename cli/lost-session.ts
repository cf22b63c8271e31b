/**
 * A session of which nothing was stored before its recorder vanished with its pod: what control states of it and of the pod, for `show`.
 *
 * Believes what it reads; proof is `verify`'s. Who spoke to which database is not known: that stood in what was lost.
 */
import { findAttestation, type AttestedPod } from '../session/attestation.ts'
import { segmentKey } from '../session/object-keys.ts'
import { createLostSessions, readSessionManifest, type LostPart } from '../session/read-session.ts'
import { BadDocument } from '../session/shape.ts'
import type { Store } from '../session/stores/store.ts'
import { lostText } from './lost-text.ts'
import { labelled } from './show-session.ts'
import { shownTime } from './times.ts'

export type LostSession = {
  readonly session: string
  readonly identity: null
  readonly recorder: string
  /** By its last mark, milliseconds since the epoch. */
  readonly opened: number
  readonly lastTime: number
  /** Null when nobody attested the recorder. */
  readonly pod: AttestedPod | null
  readonly lost: LostPart
}

/** Null for a session of which something is stored. @throws StoreUnavailable */
export async function findLostAsAWhole(store: Store, session: string): Promise<LostSession | null> {
  if ((await store.head(segmentKey(session, 1))) !== null || (await readSessionManifest(store, session)) !== null) return null
  const losses = createLostSessions(store)
  const named = (await losses.named()).get(session)
  if (named === undefined) return null
  const { recorder, claimed } = named
  const lost = await losses.part(recorder, session, { records: 0, statements: 0 })
  if (lost === null) return null
  return { session, identity: null, recorder, opened: claimed.opened, lastTime: claimed.lastTime, pod: await podOf(store, recorder), lost }
}

async function podOf(store: Store, recorder: string): Promise<AttestedPod | null> {
  try {
    return (await findAttestation(store, recorder))?.attestation.pod ?? null
  } catch (error) {
    if (error instanceof BadDocument) return null // Of no use here; `steno verify` names it.
    throw error
  }
}

export function lostSessionLines({ session, recorder, opened, lastTime, pod, lost }: LostSession): string[] {
  const where =
    pod === null
      ? []
      : [
          `${pod.podNamespace}/${pod.podName}`,
          `ServiceAccount ${pod.serviceAccount}`,
          ...(pod.nodeName === null ? [] : [`node ${pod.nodeName}`]),
          `UID ${pod.podUid}`,
        ]
  return [
    labelled('session', session),
    labelled('when', `${shownTime(opened)}, last heard of ${shownTime(lastTime)}`),
    labelled('recorder', recorder),
    ...(pod === null ? [] : [labelled('pod', where.join(', '))]),
    labelled('ended', lostText(lost)),
    labelled('', `stated by control at ${shownTime(lost.stated)}. Nothing of it was stored: who spoke, and what, is not known`),
  ]
}
