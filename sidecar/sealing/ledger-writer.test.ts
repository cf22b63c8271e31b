// Goal: an entry that names what an emptied store has lost does not hold up all that comes after it. Method: a store in a folder that refuses
// such entries as control does.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { readLedgerEntry, type LedgerEvent } from '../../session/ledger.ts'
import { ledgerKey, segmentKey } from '../../session/object-keys.ts'
import { loadOrCreateRecorderKey } from '../../session/recorder-key.ts'
import { newSessionId } from '../../session/session-id.ts'
import { ControlRefused } from '../../session/stores/control.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import { openLedgerWriter } from './ledger-writer.ts'

test('an entry that names a session which the store has lost is entered without it, under the same number', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'steno-ledger-writer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const directory = openDirectoryStore(join(folder, 'store'))
  const store: Store = {
    ...directory,
    async putIfAbsent(key, bytes) {
      if (key.startsWith('ledger/'))
        for (const event of readLedgerEntry(bytes).entry.events)
          if ('session' in event && (await directory.head(segmentKey(event.session, 1))) === null)
            throw new ControlRefused(`the first segment of session ${event.session} is not stored`, 'Look.')
      return directory.putIfAbsent(key, bytes)
    },
  }
  const spoolFolder = join(folder, 'spool')
  const key = await loadOrCreateRecorderKey(spoolFolder)
  const never = (): never => assert.fail()
  const ledger = await openLedgerWriter({ store, key, spoolFolder, onTailMissing: never, onHeadDamaged: never })
  const [kept, lost] = [newSessionId(1), newSessionId(2)]
  await directory.putIfAbsent(segmentKey(kept, 1), Buffer.from('is there'))
  const opened = (session: string): LedgerEvent => ({ kind: 'session-opened', session, opened: 1 })
  const events = [opened(kept), opened(lost)]
  await assert.rejects(ledger.enter(events), { code: 'CONTROL_REFUSED' })
  await ledger.enter(events)
  await assert.rejects(ledger.enter([opened(lost)]), { code: 'CONTROL_REFUSED' })
  await ledger.enter([opened(lost)])
  const entered = async (number: number) => readLedgerEntry((await directory.get(ledgerKey(key.id, number)))!).entry
  assert.deepEqual((await entered(1)).events, [opened(kept)])
  const second = await entered(2)
  assert.deepEqual([second.events[0]?.kind, second.previous === null], ['heartbeat', false])
})
