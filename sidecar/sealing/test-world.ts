/**
 * A world for the tests of sealing: a real spool in a folder of its own, a store that fails or kills on cue, and both kinds of
 * process over them, the one that follows its own spool and the one that recovers another's.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SessionClose } from '../../session/identity.ts'
import { createMemoryStore, type MemoryStore } from '../../session/memory-store.ts'
import { readRecords, readSessionManifest, sessionIds } from '../../session/read-session.ts'
import { publishRecorder } from '../../session/recorder-key.ts'
import { encodeRecord, recordType, type RecordType } from '../../session/records.ts'
import { StoreUnavailable, type Store } from '../../session/stores/store.ts'
import { payloadOf, queryFrame, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'
import { verifyStore } from '../../session/verify.ts'
import { createSharedSpoolPosition, spoolPosition } from '../spool/spool-position.ts'
import { createSpoolWriter, defaultSpoolLimits, type SpoolWriter } from '../spool/spool-writer.ts'
import { openLedgerWriter } from './ledger-writer.ts'
import { allObservers } from '../statements/observer.ts'
import { isPassing, type Persist } from './persist.ts'
import { createSealer, type Sealer } from './sealer.ts'
import { createSpoolReader, type SpoolDamage, type SpoolReader } from './spool-reader.ts'

/** What happens at the n-th put: the store refuses it, or keeps it and the reply is lost, or the process is killed around it. */
export type Fault = 'put refused' | 'put kept, reply lost' | 'killed before a put' | 'killed after a put'
export const faults: readonly Fault[] = ['put refused', 'put kept, reply lost', 'killed before a put', 'killed after a put']

/** Ends a process of the world in the middle of whatever it was doing. */
class Killed extends Error {}
const persistMax = 20

export type SealingWorld = ReturnType<typeof createSealingWorld>

export function createSealingWorld(t: { after(ended: () => void): void }, limits: { readonly fileBytesMax?: number } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-sealing-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const key = testKey(7)
  const kept: MemoryStore = createMemoryStore()
  const damages: SpoolDamage[] = []
  const headsMissing: number[] = []
  const headsDamaged: number[] = []
  const setAside: { readonly session: string; readonly code: string; readonly path: string }[] = []
  const unstorable: number[] = []
  const told: string[] = []
  let puts = 0
  let cue: { readonly at: number; readonly fault: Fault } | null = null
  let wasHit = false

  const store: Store = {
    ...kept,
    async putIfAbsent(objectKey, bytes) {
      if (++puts !== cue?.at) return kept.putIfAbsent(objectKey, bytes)
      wasHit = true
      if (cue.fault === 'put kept, reply lost' || cue.fault === 'killed after a put') await kept.putIfAbsent(objectKey, bytes)
      throw cue.fault.startsWith('killed') ? new Killed('killed') : new StoreUnavailable('the store refuses on cue', 'none')
    },
  }
  const persist: Persist = async (attempt) => {
    for (let tries = 1; ; tries++) {
      try {
        return await attempt()
      } catch (error) {
        if (!isPassing(error) || tries === persistMax) throw error
      }
    }
  }
  const openLedger = () =>
    openLedgerWriter({
      store,
      key,
      spoolFolder: folder,
      onTailMissing: (head) => headsMissing.push(head.number),
      onHeadDamaged: (head) => headsDamaged.push(head.number),
    })

  async function sealerOf(
    epoch: number,
    options: { recovered: boolean; bytesMax: number },
  ): Promise<{ sealer: Sealer; reader: SpoolReader }> {
    const reader = createSpoolReader({ folder, epoch, start: null })
    const ledger = await persist(openLedger)
    const sealer = createSealer({
      reader,
      spoolFolder: folder,
      epoch,
      store,
      key,
      ledger,
      limits: { bytesMax: options.bytesMax, ageMilliseconds: Number.MAX_SAFE_INTEGER },
      resuming: options.recovered,
      recovered: options.recovered,
      events: {
        onStored: () => undefined,
        onDamage: (damage) => damages.push(damage),
        onSetAside: ({ session, error, path }) => setAside.push({ session, code: error.code, path }),
        onUnstorable: (number) => unstorable.push(number),
      },
      observer: allObservers([
        { statement: (identity, { number }) => told.push(`${identity.session} ${number}`), end: async () => undefined },
      ]),
      persist,
    })
    return { sealer, reader }
  }

  return {
    /** Each statement that an observer was told of, as session and number. */
    told,
    ...{ folder, key, kept, store, damages, headsMissing, headsDamaged, setAside, unstorable, persist, openLedger, sealerOf },
    /** The n-th put from now on meets the fault. */
    failAt(at: number, fault: Fault): void {
      puts = 0
      wasHit = false
      cue = { at, fault }
    },
    get wasHit(): boolean {
      return wasHit
    },
    /** A spool as a process writes it, its sessions numbered as they are opened. */
    spool(epoch: number) {
      const position = spoolPosition(createSharedSpoolPosition())
      const open = new Map<number, Buffer>()
      const writer: SpoolWriter = createSpoolWriter({
        folder,
        epoch,
        position,
        limits: { ...defaultSpoolLimits, reserveBytes: 0, ...limits },
        filePreamble: () => Buffer.concat([...open.values()]),
      })
      const ends: number[] = []
      const append = (session: number, type: RecordType, payload: Buffer): void => {
        assert.equal(writer.append(encodeRecord({ type, flags: 0, session, time: epoch + session, payload })), null)
        ends.push(position.writtenBytes)
      }
      return {
        position,
        writer,
        append,
        /** Where each append ended. */
        ends,
        open(session: number): void {
          const payload = payloadOf(testIdentity(testSessionId(epoch, session), epoch, key.id))
          open.set(session, encodeRecord({ type: recordType.sessionOpen, flags: 0, session, time: epoch + session, payload }))
          append(session, recordType.sessionOpen, payload)
        },
        statement(session: number, sql: string): void {
          append(session, recordType.frontend, queryFrame(sql))
          append(session, recordType.backend, Buffer.from('C\0\0\0\rSELECT 1\0Z\0\0\0\x05I', 'latin1'))
        },
        close(session: number): void {
          append(
            session,
            recordType.sessionClose,
            payloadOf({ closed: epoch + session, reason: 'terminated', recovered: false } satisfies SessionClose),
          )
          open.delete(session)
        },
      }
    },
    /** Publishes the recorder, and seals a process's own spool while it grows to each of `ends`. True unless it was killed. */
    async follow(epoch: number, ends: readonly number[]): Promise<boolean> {
      try {
        await persist(() => publishRecorder(store, key))
        const { sealer, reader } = await sealerOf(epoch, { recovered: false, bytesMax: 600 })
        for (const end of ends) while (await sealer.step(end)) reader.release(sealer.settledPosition)
        reader.release(sealer.settledPosition)
        reader.close()
        return true
      } catch (error) {
        if (error instanceof Killed) return false
        throw error
      }
    },
    /** What the next start does with the spool of a process that is gone. True unless it was killed. */
    async recover(epoch: number): Promise<boolean> {
      try {
        await persist(() => publishRecorder(store, key))
        const { sealer, reader } = await sealerOf(epoch, { recovered: true, bytesMax: 1_000_000 })
        const end = reader.end
        while (await sealer.step(end));
        sealer.closeAll()
        await sealer.flush()
        reader.close()
        reader.releaseAll()
        return true
      } catch (error) {
        if (error instanceof Killed) return false
        throw error
      }
    },
    /** The SQL that each session's frontend records hold, in order, by the session's number; each session ends and is not doubled. */
    async recorded(): Promise<Map<number, string[]>> {
      const found = new Map<number, string[]>()
      for await (const session of sessionIds(kept, 'oldest')) {
        const texts: string[] = []
        const types: number[] = []
        for await (const { type, payload } of readRecords(kept, session)) {
          types.push(type)
          if (type === recordType.frontend) texts.push(payload.toString('utf8', 5, payload.length - 1))
        }
        assert.deepEqual([types[0], types.at(-1)], [recordType.sessionOpen, recordType.sessionClose], 'a session opens and closes')
        assert.equal(types.filter((type) => type === recordType.sessionOpen).length, 1, 'a session opens once')
        assert.ok((await readSessionManifest(kept, session)) !== null, 'a closed session has a manifest')
        found.set(Number.parseInt(session.slice(-12), 16), texts)
      }
      return found
    },
    /** Codes of the errors that the verifier finds. */
    async verifyErrors(): Promise<string[]> {
      const errors: string[] = []
      for await (const { severity, code, message } of verifyStore(kept, { trust: { recorders: [key.id] } })) {
        if (severity === 'error') errors.push(`${code}: ${message}`)
      }
      return errors
    },
  }
}
