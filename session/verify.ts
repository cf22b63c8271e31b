/**
 * The offline verifier: is everything in the store exactly what was recorded, and all of it?
 *
 * Reads the store once, in the order of its keys: ledgers and recorders first, then session by session. Memory: one
 * segment, one session's ledger events, 8 MiB read ahead, and what `verify/ledger-books.ts` holds of all sessions (about 150 bytes each).
 * Needs nothing but the store and what the caller trusts. What it can find without a trusted head: every change but a
 * cut of the ledger's last entries together with all objects that they name; of recorders that control attests also all of one recorder,
 * unless its chain of attestations is cut along.
 */
import type { LedgerEvent } from './ledger.ts'
import { ledgersPrefix, lossesPrefix, marksPrefix, nameOf, recordersPrefix, sessionPrefix } from './object-keys.ts'
import { sessionTime } from './session-id.ts'
import type { ObjectInformation, Store } from './stores/store.ts'
import { createAttestationChain, type ChainCounts } from './verify/attestation-chain.ts'
import { createExemptions } from './verify/exemptions.ts'
import { finding, type Finding } from './verify/finding.ts'
import { createLedgerBooks, type Trust } from './verify/ledger-books.ts'
import { createReadAhead } from './verify/read-ahead.ts'
import { areNamed, verifySession, type ListedSession } from './verify/verify-session.ts'

export { errorCodes, warningCodes, type Finding, type FindingCode } from './verify/finding.ts'
export type { Trust } from './verify/ledger-books.ts'

/** Of sessions that wait for the ledgers to be read on, so many objects are held. */
const laterObjectsMax = 10_000

export type VerifyCounts = {
  readonly sessions: number
  readonly segments: number
  readonly statements: number
  /** Of results, that recordings at level `statements` say they do not hold. */
  readonly leftOutBytes: number
  readonly ledgerEntries: number
  /** Recorders that are trusted because a key of `trust.attesters` attested them. */
  readonly attestedRecorders: number
  /** Of control's chain of attestations; absent where there is none, and of single sessions. */
  readonly chain?: ChainCounts
}

export type VerifyOptions = {
  /** Only these sessions, and all ledgers; otherwise every object in the store. */
  readonly sessions?: readonly string[]
  readonly trust?: Trust
  /** Called after every ledger entry, segment and session. */
  readonly onProgress?: (counts: VerifyCounts) => void
}

/**
 * Every finding, as soon as it is made.
 * @throws StoreUnavailable when the store does not answer; nothing that lies in the store makes it throw
 */
export async function* verifyStore(
  given: Store,
  { sessions, trust = {}, onProgress = () => {} }: VerifyOptions = {},
): AsyncGenerator<Finding> {
  const { attesters = [], chainHead: head = null } = trust
  const ahead = createReadAhead(given)
  const { store } = ahead
  const chain = createAttestationChain(store, { attesters, head })
  const books = createLedgerBooks(store, trust, chain.ledgerOf)
  const counts = { sessions: 0, segments: 0, statements: 0, leftOutBytes: 0, ledgerEntries: 0 }
  const exemptions = createExemptions(store, attesters)
  const seen = new Set<string>()
  let current = null as ListedSession | null
  /** With objects that no ledger named when it was read: the recorder may have gone on since. */
  const later: ListedSession[] = []
  let laterObjects = 0
  let ledgersRead = false

  /** Once all ledgers that the store listed were taken. */
  async function* finishLedgers(): AsyncGenerator<Finding> {
    if (ledgersRead) return
    ledgersRead = true
    if (sessions !== undefined) return yield* books.finish()
    yield* chain.meetNamed(books)
    yield* books.finish()
    yield* chain.findUnnamed(books)
  }

  function told(): VerifyCounts {
    const named = chain.counts()
    return { ...counts, attestedRecorders: books.attestedCount(), ...(named === null ? {} : { chain: named }) }
  }

  async function* check(listed: ListedSession): AsyncGenerator<Finding> {
    yield* finishLedgers()
    seen.add(listed.session)
    const events = await books.eventsOf(listed.session)
    if (areNamed(listed.objects, events)) yield* verify(listed, events)
    else {
      later.push(listed)
      laterObjects += listed.objects.length
    }
    for (const { key } of listed.objects) ahead.forget(key)
    if (laterObjects > laterObjectsMax) yield* checkLater()
  }

  /** The ledgers are read on once for many sessions: that asks for each recorder that there is. */
  async function* checkLater(): AsyncGenerator<Finding> {
    if (later.length === 0) return
    yield* books.extend()
    const now = later.splice(0)
    laterObjects = 0
    const listed = ahead.through(now.flatMap(({ objects }) => objects))
    for (const session of now) {
      for (const _ of session.objects) await listed.next()
      yield* verify(session, await books.eventsOf(session.session))
      for (const { key } of session.objects) ahead.forget(key)
    }
  }

  async function* verify({ session, objects }: ListedSession, events: readonly LedgerEvent[]): AsyncGenerator<Finding> {
    counts.sessions += 1
    yield* verifySession(
      store,
      books,
      { session, objects, events },
      {
        onSegment: () => {
          counts.segments += 1
          onProgress(told())
        },
        onStatements(count, leftOutBytes) {
          counts.statements += count
          counts.leftOutBytes += leftOutBytes
        },
      },
    )
    onProgress(told())
  }

  /** The documents of recorders that have a ledger were read with it. */
  const isAskedFor = ({ key }: ObjectInformation): boolean => {
    const name = nameOf(key)
    return name.kind !== 'recorder' || books.book(name.recorder) === undefined
  }

  for await (const object of ahead.through(objectsToVerify(store, sessions), isAskedFor)) {
    const name = nameOf(object.key)
    switch (name.kind) {
      case 'foreign':
        yield finding('FOREIGN_OBJECT', `steno never gives an object the name ${JSON.stringify(object.key)}`, { key: object.key })
        break
      case 'probe':
        yield finding('PROBE_LEFT_BEHIND', 'a recorder was killed while it proved the store; this can be deleted', { key: object.key })
        break
      case 'ledger':
        yield* books.take(name.recorder, name.number)
        counts.ledgerEntries += 1
        onProgress(told())
        break
      case 'recorder':
        yield* books.meet(name.recorder)
        break
      case 'attestation':
        if ((yield* books.attestations.of(name.recorder)).kind === 'absent')
          yield finding('ATTESTATION_DAMAGED', 'the attestation is no readable object', { key: object.key })
        break
      case 'chain':
        yield* chain.take(name.number)
        break
      case 'exemption':
        yield* exemptions.take(name.id)
        break
      case 'loss':
      case 'mark':
        yield* books.losses.of(name.recorder)
        break
      default:
        // Keys come in order, so a session's objects stand together.
        if (current?.session !== name.session) {
          if (current !== null) yield* check(current)
          current = { session: name.session, objects: [] }
        }
        current.objects.push(object)
        continue
    }
    ahead.forget(object.key)
  }
  yield* exemptions.finish()
  if (current !== null) yield* check(current)
  yield* finishLedgers()
  yield* checkLater()
  // Sessions of which nothing is left but what the ledger says.
  for (const session of sessions ?? books.sessions()) if (!seen.has(session)) yield* check({ session, objects: [] })
  yield* books.losses.unseen((session) => sessions === undefined || sessions.includes(session))
  onProgress(told())
}

async function* objectsToVerify(store: Store, sessions: readonly string[] | undefined): AsyncGenerator<ObjectInformation> {
  if (sessions === undefined) return yield* store.list('')
  yield* store.list(ledgersPrefix)
  yield* store.list(lossesPrefix)
  yield* store.list(marksPrefix)
  yield* store.list(recordersPrefix)
  for (const session of [...new Set(sessions)].sort((a, b) => sessionTime(a) - sessionTime(b))) yield* store.list(sessionPrefix(session))
}
