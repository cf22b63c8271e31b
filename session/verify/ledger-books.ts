/**
 * Every recorder's ledger, checked entry by entry, and where in them each session is spoken of.
 *
 * Holds, for each session, the numbers of the entries that name it (about 150 bytes and 8 more per entry), and a
 * cache of `entriesKeptMax` entries, and for each recorder what was attested of it. The events themselves are read again from the store, signature checked, when a
 * session is verified, so memory does not grow with segments.
 */
import type { KeyObject } from 'node:crypto'
import type { ChainHead } from '../attestation-chain.ts'
import { readLedgerEntry, type LedgerEntry, type LedgerEvent, type LedgerHead } from '../ledger.ts'
import type { AnchoredHead } from '../ledger-head.ts'
import { attestationKey, ledgerKey, recorderKey } from '../object-keys.ts'
import { readRecorderDocument } from '../recorder-key.ts'
import { BadDocument } from '../shape.ts'
import { signedDocumentBytesMax } from '../signed-document.ts'
import type { Store } from '../stores/store.ts'
import { createAttestations, type Attested } from './attestations.ts'
import { finding, type Finding } from './finding.ts'
import { createLosses } from './losses.ts'

const entriesKeptMax = 256
/**
 * An object is stored before the ledger names it. One that is named by no entry is taken for one that waits only while
 * it is this close to the ledger's last entry: recorders retry for long, but then the ledger stands still too.
 */
export const awaitsLedgerMilliseconds = 10 * 60 * 1000

/** What the verifier was told to believe, from outside the store. Nothing given means: whoever is in there, with a warning. */
export type Trust = {
  readonly recorders?: readonly string[]
  /** Each also says that its recorder is trusted. */
  readonly heads?: readonly AnchoredHead[]
  /** Keys of control: a recorder that one of them attested is trusted. */
  readonly attesters?: readonly KeyObject[]
  /** The last entry of control's chain of attestations that the reader knows of. */
  readonly chainHead?: ChainHead
  /** What a recorder that is not named above is, once any is named: an error unless told otherwise. */
  readonly strangers?: 'error' | 'warning'
}

export type Book = {
  readonly recorder: string
  /** Null when the recorder's document is missing or damaged, which is found once; signatures then cannot be checked. */
  readonly publicKey: KeyObject | null
  /** Number of the last entry seen. */
  last: number
  /** Digest of the last entry, null when it could not be believed. */
  lastSha256: string | null
  /** Time of the last entry, milliseconds since the epoch. */
  lastTime: number
  /** True when the last event is that the recorder stopped. */
  stopped: boolean
}

/** Where one session is spoken of. */
type Mentions = { readonly recorder: string; readonly entries: number[] }

/** `seenByControl`: the last entry of a recorder's ledger that control's chain names; null when it names none. */
export function createLedgerBooks(store: Store, trust: Trust, seenByControl: (recorder: string) => LedgerHead | null = () => null) {
  const books = new Map<string, Book>()
  const mentions = new Map<string, Mentions[]>()
  const kept = new Map<string, LedgerEntry>()
  const attesters = trust.attesters ?? []
  const attestations = createAttestations(store, attesters)
  const losses = createLosses(store, { attestations, attesters, bookOf: (recorder) => books.get(recorder) })
  /** Keys of control that nobody trusts and that were told of. */
  const strangeAttesters = new Set<string>()
  const attestedRecorders = new Set<string>()
  const trusted = new Set([...(trust.recorders ?? []), ...(trust.heads ?? []).map((head) => head.recorder)])

  function* judgeTrust(recorder: string, attested: Attested): Generator<Finding> {
    const key = recorderKey(recorder)
    if (trusted.has(recorder)) return
    if (attested.kind === 'absent' && seenByControl(recorder) !== null) return // Its attestation is missed already.
    if (attested.kind === 'attested' && attested.isTrusted) {
      attestedRecorders.add(recorder)
      return
    }
    const isAnyTrusted = trusted.size > 0 || (trust.attesters ?? []).length > 0
    if (!isAnyTrusted || trust.strangers === 'warning') {
      if (attested.kind === 'attested') {
        if (!strangeAttesters.has(attested.by))
          yield finding(
            'ATTESTER_NOT_PINNED',
            `key ${attested.by} attests recorders, but nobody said that it is your control's: pin it with --trust-control`,
            { key: attestationKey(recorder) },
          )
        strangeAttesters.add(attested.by)
        return
      }
      yield finding(
        'RECORDER_NOT_PINNED',
        `recorder ${recorder} signed what it signed, but nobody said that it is yours: pin it with --trust-recorder ${recorder}, or --spool`,
        { key },
      )
    } else {
      const but = attested.kind === 'attested' ? `; key ${attested.by} attests it, which you do not trust either` : ''
      yield finding('RECORDER_UNTRUSTED', `recorder ${recorder} is none of those that you trust${but}`, { key })
    }
  }

  /** The book of `recorder`, opened with its published key at first sight. */
  async function* bookOf(recorder: string): AsyncGenerator<Finding, Book> {
    const known = books.get(recorder)
    if (known !== undefined) return known
    yield* judgeTrust(recorder, yield* attestations.of(recorder))
    const publicKey = yield* publicKeyOf(recorder)
    const book: Book = { recorder, publicKey, last: 0, lastSha256: null, lastTime: 0, stopped: false }
    books.set(recorder, book)
    return book
  }

  async function* publicKeyOf(recorder: string): AsyncGenerator<Finding, KeyObject | null> {
    const key = recorderKey(recorder)
    const bytes = await store.get(key)
    if (bytes === null) {
      yield finding('RECORDER_MISSING', `recorder ${recorder} has not published its key, so nothing that it signed can be checked`, { key })
      return null
    }
    try {
      return readRecorderDocument(bytes, recorder)
    } catch (error) {
      if (!(error instanceof BadDocument)) throw error
      yield finding('RECORDER_DAMAGED', error.message, { key })
      return null
    }
  }

  /** Takes the next entry that the store has; entries must come in the order of their numbers. */
  async function* take(recorder: string, number: number): AsyncGenerator<Finding> {
    const book = yield* bookOf(recorder)
    const key = ledgerKey(recorder, number)
    if (number !== book.last + 1) {
      const missing = number === book.last + 2 ? `entry ${book.last + 1} is` : `entries ${book.last + 1} to ${number - 1} are`
      yield finding('LEDGER_HOLE', `${missing} missing from the ledger of recorder ${recorder}`, {
        key: ledgerKey(recorder, book.last + 1),
      })
      book.lastSha256 = null
    }
    const follows = number === book.last + 1
    const before = book.lastSha256
    book.last = number
    book.lastSha256 = null
    const { entry, sha256, problem } = await readEntry(book, number)
    yield* checkAnchors(recorder, number, sha256)
    if (entry === null) {
      if (problem !== null) yield problem
      return
    }
    // After an entry that cannot be believed the chain starts anew: that entry was named already.
    if (follows && entry.previous !== before && (number === 1 || before !== null)) {
      yield finding('LEDGER_CHAIN', `entry ${number} of recorder ${recorder} follows another entry than number ${number - 1}`, { key })
    }
    book.lastSha256 = sha256
    book.lastTime = entry.time
    book.stopped = entry.events.at(-1)?.kind === 'recorder-stopped'
    for (const event of entry.events) if ('session' in event) mention(event.session, recorder, number)
  }

  function mention(session: string, recorder: string, number: number): void {
    const all = mentions.get(session) ?? []
    if (all.length === 0) mentions.set(session, all)
    let own = all.find((candidate) => candidate.recorder === recorder)
    if (own === undefined) all.push((own = { recorder, entries: [] }))
    if (own.entries.at(-1) !== number) own.entries.push(number)
  }

  async function readEntry(
    book: Book,
    number: number,
  ): Promise<{ readonly entry: LedgerEntry | null; readonly sha256: string | null; readonly problem: Finding | null }> {
    const key = ledgerKey(book.recorder, number)
    const bad = (
      code: 'LEDGER_DAMAGED' | 'LEDGER_SIGNATURE' | 'LEDGER_MISPLACED' | 'LEDGER_HOLE',
      message: string,
      sha256: string | null = null,
    ) => ({
      entry: null,
      sha256,
      problem: finding(code, message, { key }),
    })
    const head = await store.head(key)
    if (head !== null && head.bytes > signedDocumentBytesMax) return bad('LEDGER_DAMAGED', `the ledger entry is ${head.bytes} bytes long`)
    const bytes = head === null ? null : await store.get(key)
    if (bytes === null) return bad('LEDGER_HOLE', `entry ${number} of recorder ${book.recorder} is no readable object`)
    try {
      const { entry, document } = readLedgerEntry(bytes)
      if (entry.recorder !== book.recorder || entry.number !== number) {
        return bad('LEDGER_MISPLACED', `this is entry ${entry.number} of recorder ${entry.recorder}`, document.sha256)
      }
      if (book.publicKey !== null && !document.isSignedBy(book.publicKey)) {
        return bad('LEDGER_SIGNATURE', `entry ${number} is not signed by recorder ${book.recorder}`, document.sha256)
      }
      keep(key, entry)
      return { entry, sha256: document.sha256, problem: null }
    } catch (error) {
      if (error instanceof BadDocument) return bad('LEDGER_DAMAGED', error.message)
      throw error
    }
  }

  function keep(key: string, entry: LedgerEntry): void {
    kept.set(key, entry)
    if (kept.size > entriesKeptMax) for (const oldest of kept.keys()) return void kept.delete(oldest)
  }

  function* checkAnchors(recorder: string, number: number, sha256: string | null): Generator<Finding> {
    const seen = seenByControl(recorder)
    if (seen?.number === number && seen.sha256 !== sha256)
      yield finding('LEDGER_FORKED', `entry ${number} of recorder ${recorder} is not the one that control's chain names`, {
        key: ledgerKey(recorder, number),
      })
    for (const head of trust.heads ?? []) {
      if (head.recorder !== recorder || head.number !== number || head.sha256 === sha256) continue
      yield finding('LEDGER_FORKED', `entry ${number} of recorder ${recorder} is not the one that its spool folder remembers`, {
        key: ledgerKey(recorder, number),
      })
    }
  }

  /** To be called once all entries that the store listed were taken. */
  async function* finish(): AsyncGenerator<Finding> {
    for (const recorder of trusted) yield* bookOf(recorder)
    for (const book of books.values()) {
      // One that came while the store was listed: its ledger began behind what was listed of ledgers, before what was listed of recorders.
      if (book.last === 0) yield* goOn(book.recorder)
      const seen = seenByControl(book.recorder)
      if (book.last > 0 && seen !== null && book.last < seen.number)
        yield finding(
          'LEDGER_TAIL_MISSING',
          `the ledger of recorder ${book.recorder} ends at entry ${book.last}; control's chain names entry ${seen.number}`,
          { key: ledgerKey(book.recorder, book.last + 1) },
        )
      if (book.last > 0) continue
      // One that vanished before it entered anything is a loss that is stated; one that the chain names had entered something.
      const { loss } = yield* losses.of(book.recorder)
      if (seen !== null) yield ledgerMissing(book.recorder, null)
      else if (loss === null) yield ledgerMissing(book.recorder, yield* attestations.of(book.recorder))
    }
    for (const { recorder, number } of trust.heads ?? []) {
      const last = books.get(recorder)?.last ?? 0
      if (last < number) {
        yield finding(
          'LEDGER_TAIL_MISSING',
          `the ledger of recorder ${recorder} ends at entry ${last}; its spool folder knows of entry ${number}`,
          { key: ledgerKey(recorder, last + 1) },
        )
      }
    }
  }

  /** Entries behind the last one that was taken. */
  async function* goOn(recorder: string): AsyncGenerator<Finding> {
    const last = books.get(recorder)?.last ?? 0
    for (let next = last + 1; (await store.head(ledgerKey(recorder, next))) !== null; next++) yield* take(recorder, next)
  }

  /** Takes what was added to the ledgers since: recordings go on while they are verified. */
  async function* extend(): AsyncGenerator<Finding> {
    for (const recorder of await store.folders('ledger/')) {
      if (/^[0-9a-f]{32}$/.test(recorder)) yield* goOn(recorder)
    }
  }

  return {
    take,
    finish,
    extend,
    /** Opens the recorder's book, if only to check its document. */
    async *meet(recorder: string): AsyncGenerator<Finding> {
      yield* bookOf(recorder)
    },
    attestations,
    losses,
    /** How many recorders are trusted because control attested them. */
    attestedCount: (): number => attestedRecorders.size,
    book: (recorder: string): Book | undefined => books.get(recorder),
    all: (): Iterable<Book> => books.values(),
    sessions: (): IterableIterator<string> => mentions.keys(),
    /** The recorders whose ledgers name `session`; more than one is a contradiction. */
    recordersOf: (session: string): readonly string[] => (mentions.get(session) ?? []).map(({ recorder }) => recorder),
    /** What the ledgers say of `session`, in their order. */
    async eventsOf(session: string): Promise<LedgerEvent[]> {
      const events: LedgerEvent[] = []
      for (const { recorder, entries } of mentions.get(session) ?? []) {
        for (const number of entries) {
          const entry = kept.get(ledgerKey(recorder, number)) ?? (await readEntry(books.get(recorder)!, number)).entry
          for (const event of entry?.events ?? []) if ('session' in event && event.session === session) events.push(event)
        }
      }
      return events
    },
  }
}

/** A recorder publishes its key and then enters its start; what somebody attested just now may be between the two. */
function ledgerMissing(recorder: string, attested: Attested | null): Finding {
  const place = { key: ledgerKey(recorder, 1) }
  const isBeginning = attested?.kind === 'attested' && Math.abs(Date.now() - attested.time) <= awaitsLedgerMilliseconds
  return isBeginning
    ? finding('OBJECT_AWAITS_LEDGER', `recorder ${recorder} was attested just now and has entered nothing yet`, place)
    : finding('LEDGER_MISSING', `recorder ${recorder} has no ledger`, place)
}

export type LedgerBooks = ReturnType<typeof createLedgerBooks>
