/**
 * The sealing thread: first recovers the spools of processes that are gone, then follows the running one until told to stop or
 * until there is nothing to do.
 *
 * Traffic goes first: the thread's priority is the lowest, and while much is being said it lets the spool grow a little. Once it is told
 * to stop there is no traffic to go first, and it gets the priority of the connections where the system lets it have it.
 */
import { readlinkSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { KnownError, messageOf, systemCodeOf } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import type { LedgerEvent } from '../../session/ledger.ts'
import { loadOrCreateRecorderKey, publishRecorder } from '../../session/recorder-key.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { RecorderForgotten, StoreUnavailable } from '../../session/stores/store.ts'
import { listSpoolFiles } from '../spool/spool-files.ts'
import { watchStore } from '../metrics-store.ts'
import { spoolPosition } from '../spool/spool-position.ts'
import { createStatementCounter } from '../statements/counts.ts'
import { startLiveView } from '../statements/live-start.ts'
import { allObservers } from '../statements/observer.ts'
import { startTraces } from '../statements/traces-start.ts'
import { createGarbageCollection } from './garbage.ts'
import { createDeferral } from './deferral.ts'
import { openLedgerWriter } from './ledger-writer.ts'
import type { FromSealer, SealingWork, ToSealer } from './messages.ts'
import { createRepeatedFailures } from './repeated-failures.ts'
import { createPersist, createRest, isPassing, type Persist } from './persist.ts'
import { forgetScarceMemory } from './scarce-memory.ts'
import { createSealer, type SealerEvents } from './sealer.ts'
import { createSpoolReader } from './spool-reader.ts'

const pollMilliseconds = 100
const heartbeatMilliseconds = 60_000
const idleMilliseconds = 5_000
const quietMilliseconds = 2_000
const niceness = 19
/** Once somebody waits for the end, a store that is away is asked this often. */
const hurriedMillisecondsMax = 500
/** While the end is near a session may have a segment a second. */
const hastenedAgeMilliseconds = 1_000
const recoveredStepsTold = 32
/**
 * Rounds for those who wait come the slower the more segments open sessions have, all of which are kept in mind for their manifests: 1 ms
 * for each thousand. A session that is busy without end has 13,000 after a day and 35,000 after a week.
 */
const millisecondsPerSegment = 1 / 1_000

invariant(parentPort !== null, 'the sealing worker runs in a worker thread')
const port = parentPort
const work = workerData as SealingWork
const position = spoolPosition(work.position)
const say = (message: FromSealer): void => port.postMessage(message)
const log = (level: 'info' | 'warn' | 'error', text: string, fields: Record<string, string | number> = {}): void =>
  say({ kind: 'log', level, text, fields })

const garbage = createGarbageCollection()

let isLowered = false
let stop = false
let shipAsked = false
/** Agents wait for the store, from when they ask until they are answered. */
let storeAsked = false
let isStoring = false
let hastenedUntil = work.hastenedUntil ?? 0
const isHurried = (): boolean => stop || storeAsked || isStoring || Date.now() < hastenedUntil
const rests = createRest({ longest: () => (isHurried() ? hurriedMillisecondsMax : Infinity) })
/** Between two looks at the spool. */
const pauses = createRest({ longest: () => pollMilliseconds })
port.on('message', (message: ToSealer) => {
  switch (message.kind) {
    case 'stop':
      stop = true
      raisePriority()
      break
    case 'end':
      process.exit()
    case 'ship':
      shipAsked = true
      break
    case 'store':
      storeAsked = true
      pauses.wake()
      break
    case 'hasten':
      hastenedUntil = message.until
      break
    default:
      message satisfies never
  }
  rests.wake()
})

const events: SealerEvents = {
  onStored: (segments) => say({ kind: 'stored', segments }),
  onDamage({ path: file, position: at, lostBytes, what, isTail }) {
    // A torn tail is what a SIGKILL in the middle of a write leaves: nothing of it had been forwarded.
    if (isTail)
      log('info', 'the spool ended inside a record, which had not been forwarded', {
        file: path.basename(file),
        position: at,
        bytes: lostBytes,
      })
    else log('error', `the spool is damaged: ${what}`, { file: path.basename(file), position: at, bytes: lostBytes })
  },
  onSetAside({ session, error, path: file }) {
    say({ kind: 'set-aside' })
    log('error', `a session cannot be stored any more, and its records are set aside in the spool folder: ${error.message}`, {
      session,
      file: path.basename(file),
      code: error.code,
      remedy: error.remedy,
    })
  },
  onUnclaimed(session) {
    log('error', 'control does not let the ledger name what was set aside of a session, so that steno verify cannot name it', {
      session,
      remedy: 'Run `steno verify --all`, and find out who wrote what lies in the store under the names of this session.',
    })
  },
}

const counts = work.counts ?? null
const watch = counts === null ? null : watchStore(counts.store)
const repeatedFailures = createRepeatedFailures()
const trying = createPersist({
  signal: new AbortController().signal,
  rest: rests.rest,
  onFailed(error, retryMilliseconds) {
    say({ kind: 'store-failed', code: failureCodeOf(error) })
    const fields = error instanceof KnownError ? { code: error.code, remedy: error.remedy } : {}
    const untold = repeatedFailures.next(failureCodeOf(error))
    if (untold === null) return
    log(isPassing(error) ? 'warn' : 'error', `the store did not take a recording, which stays in the spool: ${messageOf(error)}`, {
      ...fields,
      ...(untold > 0 ? { times: untold + 1 } : {}),
      retryMilliseconds: rests.lasting(retryMilliseconds),
    })
  },
})
const repeating = watch?.persist(trying) ?? trying
const persist: Persist = (attempt, repeats) => repeating(() => attempt().catch((error: unknown) => publishedAgain(error, attempt)), repeats)

if (work.isAwaited !== true) lowerPriority()
const key = await loadOrCreateRecorderKey(work.spoolFolder)
const opened = await openStore(work.storeUrl)
const store = watch?.store(opened) ?? opened
const ledger = await persist(
  () =>
    openLedgerWriter({
      store,
      key,
      spoolFolder: work.spoolFolder,
      onTailMissing: (kept, found) =>
        log(
          'error',
          'the store lacks ledger entries that this recorder had stored: recordings may have been deleted; run steno verify --all',
          {
            lastKept: kept.number,
            lastFound: found?.number ?? 0,
          },
        ),
      onHeadDamaged: (kept, error) =>
        log('error', `the last ledger entry in the store is damaged, and the ledger goes on behind it: ${error.message}`, {
          lastKept: kept.number,
        }),
      ...(work.start.kind === 'woken' ? { lastTime: work.start.lastEntryTime } : {}),
    }),
  'known',
)
const liveView = work.liveView ?? null
const live = liveView === null ? null : startLiveView(liveView, (text, fields) => log('warn', text, fields))
const traceSettings = work.traces ?? null
const traces =
  traceSettings === null
    ? null
    : await startTraces({
        ...{ settings: traceSettings, stenoVersion: work.stenoVersion },
        onOutcome: (outcome) => say({ kind: 'traced', outcome }),
        onImpossible: (text) => log('error', text),
      })
const observer = allObservers([
  ...(live === null ? [] : [live.observer]),
  ...(traces === null ? [] : [traces]),
  ...(counts === null ? [] : [createStatementCounter(counts.statements)]),
])
const common = { spoolFolder: work.spoolFolder, store, key, ledger, limits: work.limits, events, observer, persist }

if (work.start.kind === 'first') {
  await persist(() => publishRecorder(store, key), 'known')
  await enter({ kind: 'recorder-started', steno: work.stenoVersion, spool: os.hostname() })
  live?.recovering(true)
  await recover()
  forgetScarceMemory(work.spoolFolder, work.epoch)
  live?.recovering(false)
  say({ kind: 'recovered' })
} else await persist(publishIfForgotten, 'known')
let askedAt = Date.now()
const ending = await follow()
await observer.end()
say(ending === 'idle' ? { kind: 'idle', lastEntryTime: ledger.lastTime } : { kind: ending })
// At once: a request that an observer gave up must not keep the thread, for which the next session waits.
process.exit()

async function publishedAgain<T>(error: unknown, attempt: () => Promise<T>): Promise<T> {
  if (!(error instanceof RecorderForgotten)) throw error
  await publishIfForgotten()
  return attempt()
}

/** A store that was emptied, or replaced, is told once more whose recordings these are. What it had lost stays lost; the ledger goes on and shows it. */
async function publishIfForgotten(): Promise<void> {
  if ((await publishRecorder(store, key)) === 'exists') return
  log('error', 'the store did not know this recorder any more, and its key is published again: recordings that the store had may be lost', {
    remedy: 'Find out who emptied or replaced the store; `steno verify --all` names what is missing.',
  })
}

async function enter(event: LedgerEvent): Promise<void> {
  await persist(() => ledger.enter([event]), 'known')
}

/** Seals what killed processes left behind, oldest first. */
async function recover(): Promise<void> {
  const epochs = new Set(listSpoolFiles(work.spoolFolder).map((file) => file.epoch))
  for (const epoch of [...epochs].filter((candidate) => candidate !== work.epoch).sort((a, b) => a - b)) {
    const reader = createSpoolReader({ folder: work.spoolFolder, epoch, start: null })
    const sealer = createSealer({ ...common, reader, epoch, resuming: true, recovered: true })
    const end = reader.end
    for (let steps = 1; await sealer.step(end); steps++) {
      reader.release(sealer.settledPosition)
      if (steps % recoveredStepsTold === 0) tellEarlier()
      await live?.room()
      await traces?.room()
    }
    const sessions = sealer.openSessions
    sealer.closeAll()
    await sealer.flush()
    reader.close()
    reader.releaseAll()
    tellEarlier()
    log('info', 'recovered the spool of a process that did not end in good order', { sessions, bytes: end })
  }
}

function failureCodeOf(error: unknown): string {
  if (error instanceof StoreUnavailable && error.toldCode !== '') return error.toldCode
  return error instanceof KnownError ? error.code : (systemCodeOf(error) ?? 'UNKNOWN')
}

/** What other processes left counts against what may wait, until it is stored. */
function tellEarlier(): void {
  position.setEarlier(listSpoolFiles(work.spoolFolder).filter(({ epoch }) => epoch !== work.epoch))
}

/** Seals what the running process spools until told to stop, or until there has been nothing to seal for a while. */
async function follow(): Promise<'stopped' | 'idle'> {
  const start = work.start.kind === 'woken' ? work.start.position : null
  const reader = createSpoolReader({ folder: work.spoolFolder, epoch: work.epoch, start })
  const sealer = createSealer({
    ...{ ...common, reader, epoch: work.epoch, resuming: work.start.kind === 'failed', recovered: false },
    events: {
      ...events,
      onDamage(damage) {
        events.onDamage(damage)
        say({ kind: 'unstorable', session: null })
      },
      onUnstorable: (session) => say({ kind: 'unstorable', session }),
    },
  })
  let busyAt = Date.now()
  let readAt = busyAt
  const deferral = createDeferral(work.deferredSince === undefined ? {} : { since: work.deferredSince })
  let roundAt = -Infinity
  for (;;) {
    const isLast = stop
    const isHastened = Date.now() < hastenedUntil
    const age = isHastened ? { ageMilliseconds: Math.min(hastenedAgeMilliseconds, work.limits.ageMilliseconds) } : {}
    if (!isLast && !shipAsked && !storeAsked && !isHastened && deferral.holds(position.writtenBytes, reader.position)) {
      release()
      await pauses.rest(pollMilliseconds)
      continue
    }
    if (storeAsked) await storeRound()
    const isShipping = shipAsked
    shipAsked = false
    for (let at = reader.position; await sealer.step(position.writtenBytes, age); at = reader.position) {
      release()
      garbage.sealed(reader.position - at)
      await live?.room()
      await traces?.room()
      busyAt = readAt = Date.now()
    }
    if (isShipping) await sealer.flush()
    release()
    if (isShipping) say({ kind: 'shipped' })
    if (isLast) break
    if (Date.now() - readAt >= quietMilliseconds && sealer.oldestTime === 0) garbage.quiet()
    if (sealer.openSessions > 0 || live?.isHolding() === true) busyAt = Date.now()
    else if (Date.now() - busyAt >= idleMilliseconds) {
      reader.close()
      return 'idle'
    }
    if (Date.now() - askedAt >= heartbeatMilliseconds) {
      await persist(publishIfForgotten, 'known')
      askedAt = Date.now()
    }
    if (Date.now() - ledger.lastTime >= heartbeatMilliseconds) await enter({ kind: 'heartbeat', openSessions: sealer.openSessions })
    if (!stop && !shipAsked && !storeAsked) await pauses.rest(pollMilliseconds)
  }
  sealer.closeAll() // What has no end by now gets none from its connection: its close record found no room.
  await sealer.flush()
  release()
  reader.close()
  reader.releaseAll()
  await enter({ kind: 'recorder-stopped' })
  return 'stopped'

  async function storeRound(): Promise<void> {
    const restMilliseconds = roundAt + sealer.segments * millisecondsPerSegment - performance.now()
    if (restMilliseconds >= 1) await sleep(restMilliseconds)
    storeAsked = false
    isStoring = true
    roundAt = performance.now()
    const at = reader.position
    await sealer.round(position.writtenBytes)
    isStoring = false
    release()
    say({ kind: 'stored-to', position: position.releasedBytes })
    garbage.sealed(reader.position - at)
    await live?.room()
    await traces?.room()
    busyAt = readAt = Date.now()
  }

  function release(): void {
    const settled = sealer.settledPosition
    position.releasedBytes = settled
    position.oldestTime = sealer.oldestTime
    reader.release(settled)
  }
}

/** On Linux a thread has a priority of its own; elsewhere the thread keeps that of the process. */
function lowerPriority(): void {
  if (process.platform !== 'linux') return
  try {
    setNiceness(niceness)
    isLowered = true
  } catch (error) {
    log('info', `the sealing thread keeps the priority of the connections: ${messageOf(error)}`)
  }
}

/** Takes the right to raise a priority (CAP_SYS_NICE, or a limit RLIMIT_NICE); without it the thread goes on as it is, and only takes longer. */
function raisePriority(): void {
  if (!isLowered) return
  try {
    setNiceness(os.getPriority(process.pid))
  } catch {
    return
  }
}

function setNiceness(value: number): void {
  os.setPriority(Number(path.basename(readlinkSync('/proc/thread-self'))), value)
}
