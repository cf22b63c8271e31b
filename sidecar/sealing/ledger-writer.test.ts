// Goal: what was stored is in the ledger, whatever became of it in the store since. Method: a store in a folder that refuses entries as control
// does, until it takes them.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { readLedgerEntry, type LedgerEvent } from '../../session/ledger.ts'
import { ledgerKey } from '../../session/object-keys.ts'
import { loadOrCreateRecorderKey } from '../../session/recorder-key.ts'
import { newSessionId } from '../../session/session-id.ts'
import { ControlRefused } from '../../session/stores/control.ts'
import { openDirectoryStore } from '../../session/stores/directory.ts'
import type { Store } from '../../session/stores/store.ts'
import { openLedgerWriter } from './ledger-writer.ts'

/** A ledger in a store that refuses every entry that names one of `refused`. */
async function refusingWorld(t: TestContext, refused: Set<string>) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-ledger-writer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const directory = openDirectoryStore(join(folder, 'store'))
  const store: Store = {
    ...directory,
    async putIfAbsent(key, bytes) {
      for (const event of readLedgerEntry(bytes).entry.events)
        if ('session' in event && refused.has(event.session)) throw new ControlRefused(`not session ${event.session}`, 'Look.')
      return directory.putIfAbsent(key, bytes)
    },
  }
  const spoolFolder = join(folder, 'spool')
  const key = await loadOrCreateRecorderKey(spoolFolder)
  const never = (): never => assert.fail()
  const ledger = await openLedgerWriter({ store, key, spoolFolder, onTailMissing: never, onHeadDamaged: never })
  const entered = async (number: number) => readLedgerEntry((await directory.get(ledgerKey(key.id, number)))!).entry
  return { ledger, entered }
}

const opened = (session: string): LedgerEvent => ({ kind: 'session-opened', session, opened: 1 })

test('an entry that control refuses is never entered without what it names', async (t) => {
  const [one, other] = [newSessionId(1), newSessionId(2)]
  const refused = new Set([other])
  const { ledger, entered } = await refusingWorld(t, refused)
  const events = [opened(one), opened(other)]
  for (let tries = 0; tries < 3; tries++) await assert.rejects(ledger.enter(events), { code: 'CONTROL_REFUSED' })
  refused.clear()
  await ledger.enter(events)
  assert.deepEqual((await entered(1)).events, events)
})

test('what the ledger can go on without leaves no hole in it when control refuses it', async (t) => {
  const [one, other] = [newSessionId(1), newSessionId(2)]
  const { ledger, entered } = await refusingWorld(t, new Set([other]))
  assert.equal(await ledger.enterUnlessRefused([opened(one)]), true)
  assert.equal(await ledger.enterUnlessRefused([opened(other)]), false)
  await ledger.enter([{ kind: 'heartbeat', openSessions: 1 }])
  const second = await entered(2)
  assert.deepEqual([second.events[0]?.kind, second.previous === null, ledger.number], ['heartbeat', false, 2])
})
