/**
 * What a caller may do with which object. A sidecar: put what its own recorder made, read its own, delete its own probe. A reader: read all.
 *
 * Everything that a put claims is checked against what is known from elsewhere: the pod from its token, the recorder's pod and the session's
 * recorder from the store, signatures by the recorder's published key. A segment's body is not unpacked, and of a manifest that is too large to
 * be built in everybody's memory only the signature and whose it is are checked; `steno verify` does the rest.
 */
import { verify } from 'node:crypto'
import { BadDocument } from '../../session/shape.ts'
import type { SessionIdentity } from '../../session/identity.ts'
import { readLedgerEntry, type LedgerEvent, type LedgerHead } from '../../session/ledger.ts'
import { readManifest } from '../../session/manifest.ts'
import {
  isRecorderId,
  ledgersPrefix,
  nameOf,
  recorderKey,
  sessionPrefix,
  sessionsPrefix,
  attestationKey,
} from '../../session/object-keys.ts'
import { readRecorderDocument } from '../../session/recorder-key.ts'
import { BadSegment, readSegmentHeader, SegmentNotReadable } from '../../session/segment.ts'
import { isSessionId } from '../../session/session-id.ts'
import { signedLinesOf } from '../../session/signed-document.ts'
import { checkOutline, outlineOf } from './claims.ts'
import { notYours, type Owners } from './owners.ts'
import type { PodIdentity } from '../../cluster/identity/pod.ts'
import type { Probes } from './probes.ts'
import { Refusal } from './refusal.ts'

export type Access = {
  /** Whether the object may be read; what may not be is, to this caller, not there. @throws Refusal */
  mayRead(key: string): Promise<boolean>
  /** @throws Refusal */
  checkList(prefix: string): Promise<void>
  /** Before anything of the object is read: that there is somebody to take it from. @throws Refusal */
  checkPutter(recorder: string | null): Promise<void>
  /** `recorder` is what the request's header claims, if anything. @throws Refusal */
  checkPut(key: string, bytes: Buffer, recorder: string | null): Promise<void>
  /** What was checked is stored, by this put or an earlier one, with this digest: what has to be done before the caller is told. @throws Refusal */
  stored(sha256: string): Promise<void>
  /** @throws Refusal */
  checkDelete(key: string): Promise<void>
  /** It is gone. */
  deleted(key: string): void
}

const probeBytesMax = 1024
const recorderDocumentBytesMax = 64 * 1024
/** An entry tells of some dozens of segments, each in half a KiB. */
const ledgerEntryBytesMax = 4 * 1024 * 1024
/** A larger manifest, of more than 8,000 segments, is not built. */
const manifestBuiltBytesMax = 4 * 1024 * 1024

export function createSidecarAccess({
  pod,
  owners,
  probes,
}: {
  readonly pod: PodIdentity
  readonly owners: Owners
  readonly probes: Probes
}): Access {
  let entered: { readonly recorder: string; readonly ledger: LedgerHead; readonly events: readonly LedgerEvent[] } | null = null

  async function ownsSession(session: string): Promise<boolean> {
    const recorder = await owners.recorderOf(session)
    return recorder !== null && (await owners.isOf(recorder, pod))
  }

  /** @throws Refusal unless `recorder` came through this pod before */
  async function checkRecorder(recorder: string): Promise<void> {
    const owner = await owners.podOf(recorder)
    if (owner === null) throw new Refusal('RECORDER_UNKNOWN', `recorder ${recorder} has not published its key in this store`)
    if (owner !== pod.podUid) throw notYours(recorder)
  }

  /** @throws Refusal unless this pod's recorder stored the session's first segment */
  async function checkSession(session: string): Promise<string> {
    const recorder = await owners.recorderOf(session)
    if (recorder === null) throw new Refusal('OBJECT_UNFIT', `the first segment of session ${session} is not stored`)
    if (!(await owners.isOf(recorder, pod))) throw new Refusal('NOT_YOURS', `session ${session} belongs to another recorder`)
    return recorder
  }

  async function checkSegment(session: string, number: number, bytes: Buffer): Promise<string> {
    const header = readSegmentHeader(bytes)
    if (header.session !== session || header.number !== number) throw unfit('the segment is of another place than its name says')
    await checkRecorder(header.recorder)
    checkAttested(header.identity, pod)
    if (number > 1 && (await checkSession(session)) !== header.recorder)
      throw unfit('the segment is of another recorder than the first one')
    // Somebody else's may be there: control says so before a receipt for it could be taken for one of this.
    if (number === 1) {
      const owner = await owners.recorderOf(session)
      if (owner !== null && owner !== header.recorder) throw new Refusal('NOT_YOURS', `session ${session} belongs to another recorder`)
    }
    return header.recorder
  }

  async function checkLedgerEntry(recorder: string, number: number, bytes: Buffer): Promise<string> {
    await checkRecorder(recorder)
    const { line } = signedLinesOf(bytes, 'ledger entry')
    checkOutline(outlineOf(line, 'the ledger entry'), line.length, 'the ledger entry')
    const { entry, document } = readLedgerEntry(bytes)
    if (entry.recorder !== recorder || entry.number !== number) throw unfit('the ledger entry is of another place than its name says')
    if (!document.isSignedBy(await owners.publicKeyOf(recorder))) throw unfit('the ledger entry is not signed by its recorder')
    const sessions = new Set(entry.events.flatMap((event) => ('session' in event ? [event.session] : [])))
    // A ledger that names another's session would have `verify` doubt that session. One of which nothing is there, or nothing readable, was
    // stored and then taken away: that the ledger names it all the same is how `verify` finds that out.
    for (const session of sessions) {
      const owner = await ownerIfReadable(session)
      if (owner !== null && owner !== recorder) throw new Refusal('NOT_YOURS', `session ${session} belongs to another recorder`)
    }
    entered = { recorder, ledger: { number, sha256: document.sha256 }, events: entry.events }
    return recorder
  }

  async function ownerIfReadable(session: string): Promise<string | null> {
    try {
      return await owners.recorderOf(session)
    } catch (error) {
      if (error instanceof Refusal && error.code === 'OBJECT_UNFIT') return null
      throw error
    }
  }

  async function checkManifest(session: string, bytes: Buffer): Promise<string> {
    const recorder = await checkSession(session)
    const { line, signature } = signedLinesOf(bytes, 'manifest')
    if (!verify(null, line, await owners.publicKeyOf(recorder), signature)) throw unfit('the manifest is not signed by its recorder')
    const outline = outlineOf(line, 'the manifest')
    checkOutline(outline, line.length, 'the manifest')
    const { texts } = outline
    if (texts.get('type') !== 'manifest') throw unfit('this is not a manifest')
    if (texts.get('session') !== session || texts.get('recorder') !== recorder)
      throw unfit('the manifest is of another place than its name says')
    if (bytes.length <= manifestBuiltBytesMax) readManifest(bytes)
    return recorder
  }

  /** The recorder that the object is of; null for a probe. */
  async function checkObject(key: string, bytes: Buffer): Promise<string | null> {
    const name = nameOf(key)
    switch (name.kind) {
      case 'recorder':
        checkLength(key, bytes, recorderDocumentBytesMax)
        readRecorderDocument(bytes, name.recorder)
        await owners.bind(name.recorder, pod)
        return name.recorder
      case 'ledger':
        checkLength(key, bytes, ledgerEntryBytesMax)
        return checkLedgerEntry(name.recorder, name.number, bytes)
      case 'segment':
        return checkSegment(name.session, name.number, bytes)
      case 'index':
        return checkSession(name.session)
      case 'manifest':
        return checkManifest(name.session, bytes)
      case 'probe':
        checkLength(key, bytes, probeBytesMax)
        await owners.checkFit(pod)
        probes.claim(key, pod)
        return null
      case 'attestation':
      case 'chain':
      case 'exemption':
      case 'loss':
      case 'mark':
        throw new Refusal('NOT_YOURS', 'attestations, exemptions, marks and statements of loss are control’s to write')
      case 'foreign':
        throw new Refusal('OBJECT_UNFIT', 'steno gives no object such a name')
      default:
        return name satisfies never
    }
  }

  return {
    async mayRead(key) {
      const name = nameOf(key)
      switch (name.kind) {
        case 'recorder':
        case 'ledger':
        case 'attestation':
        case 'loss':
        case 'mark':
          return owners.isOf(name.recorder, pod)
        case 'segment':
        case 'index':
        case 'manifest':
          return ownsSession(name.session)
        case 'probe':
          return probes.isOf(key, pod)
        case 'chain':
        case 'exemption':
        case 'foreign':
          return false
        default:
          return name satisfies never
      }
    },
    async checkList(prefix) {
      if (!(await mayList(prefix))) throw new Refusal('NOT_YOURS', 'a sidecar lists its own recorder’s ledger and sessions only')
    },
    checkPutter: (recorder) => owners.checkPutter(recorder, pod),
    async checkPut(key, bytes, recorder) {
      try {
        const found = await checkObject(key, bytes)
        if (found !== null && recorder !== null && found !== recorder)
          throw unfit(`the object is of recorder ${found}, and the request says ${recorder}`)
      } catch (error) {
        if (error instanceof BadDocument || error instanceof BadSegment || error instanceof SegmentNotReadable)
          throw new Refusal('OBJECT_UNFIT', error.message, { cause: error })
        throw error
      }
    },
    async stored(sha256) {
      // Something else may lie there, which the caller learns from the receipt.
      if (entered?.ledger.sha256 === sha256) await owners.nameEntered(entered.recorder, entered.ledger, entered.events)
    },
    checkDelete(key) {
      const mayDelete = nameOf(key).kind === 'probe' && probes.isOf(key, pod)
      return mayDelete ? Promise.resolve() : Promise.reject(new Refusal('NOT_YOURS', 'a sidecar deletes nothing but its own probe'))
    },
    deleted: (key) => probes.forget(key),
  }

  async function mayList(prefix: string): Promise<boolean> {
    if (prefix.startsWith(ledgersPrefix)) {
      const [, recorder = '', rest] = prefix.split('/')
      return rest !== undefined && isRecorderId(recorder) && owners.isOf(recorder, pod)
    }
    if (prefix.startsWith(sessionsPrefix)) {
      const session = prefix.split('/')[2] ?? ''
      return isSessionId(session) && prefix.startsWith(sessionPrefix(session)) && ownsSession(session)
    }
    const recorder = /^[^/]+\/([0-9a-f]{32})\.json$/.exec(prefix)?.[1] ?? ''
    return [recorderKey(recorder), attestationKey(recorder)].includes(prefix) && owners.isOf(recorder, pod)
  }
}

/** An auditor: sees everything, changes nothing. */
export const readerAccess: Access = {
  mayRead: () => Promise.resolve(true),
  checkList: () => Promise.resolve(),
  checkPutter: () => Promise.reject(new Refusal('METHOD_NOT_ALLOWED', 'the reader takes nothing')),
  checkPut: () => Promise.reject(new Refusal('METHOD_NOT_ALLOWED', 'the reader takes nothing')),
  stored: () => Promise.resolve(),
  checkDelete: () => Promise.reject(new Refusal('METHOD_NOT_ALLOWED', 'the reader deletes nothing')),
  deleted: () => undefined,
}

/** What the sidecar says of its own pod must be what its token says; other attested facts are not control's. */
function checkAttested({ attested }: SessionIdentity, pod: PodIdentity): void {
  for (const name of ['podUid', 'podName', 'podNamespace', 'serviceAccount', 'nodeName'] as const) {
    const said = attested[name]
    if (said !== undefined && pod[name] !== null && said !== pod[name])
      throw new Refusal(
        'OBJECT_UNFIT',
        `the segment says ${name} is ${JSON.stringify(said.slice(0, 253))}, and the token says ${pod[name]}`,
      )
  }
}

function checkLength(key: string, bytes: Buffer, bytesMax: number): void {
  if (bytes.length > bytesMax) throw new Refusal('OBJECT_TOO_LONG', `${key} has ${bytes.length} bytes, and may have ${bytesMax}`)
}

function unfit(what: string): Refusal {
  return new Refusal('OBJECT_UNFIT', what)
}
