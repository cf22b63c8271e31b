/** What a store holds of each session, found again by the application name that its client gave. */
import assert from 'node:assert/strict'
import { pathToFileURL } from 'node:url'
import type { StatementSummary } from '../../postgres/statement.ts'
import type { Gap, SessionIdentity } from '../../session/identity.ts'
import { readRecords, readSessionManifest, readStatements, sessionIds } from '../../session/read-session.ts'
import { recordType } from '../../session/records.ts'
import type { IndexLine } from '../../session/statement-index.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { steno } from '../support/proxy.ts'

export type RecordedConversation = {
  readonly session: string
  readonly identity: SessionIdentity
  /** What crossed the wire, in order. */
  readonly frontend: Buffer
  readonly backend: Buffer
  readonly statements: readonly (StatementSummary & IndexLine)[]
  readonly gaps: readonly Gap[]
  readonly closeReason: string
  readonly recovered: boolean
}

/** Every closed session of the store, by application name. A name that stands there twice is an error of the test. */
export async function readRecorded(storeFolder: string): Promise<Map<string, RecordedConversation>> {
  const store = await openStore(pathToFileURL(storeFolder).href)
  const found = new Map<string, RecordedConversation>()
  for await (const session of sessionIds(store, 'oldest')) {
    const manifest = await readSessionManifest(store, session)
    assert.ok(manifest !== null, `session ${session} is closed`)
    const sides = { frontend: [] as Buffer[], backend: [] as Buffer[] }
    for await (const { type, payload } of readRecords(store, session)) {
      if (type === recordType.frontend) sides.frontend.push(payload)
      if (type === recordType.backend) sides.backend.push(payload)
    }
    const statements: (StatementSummary & IndexLine)[] = []
    for await (const line of readStatements<StatementSummary & IndexLine>(store, session)) statements.push(line)
    const name = manifest.identity.asserted['application_name'] ?? session
    assert.ok(!found.has(name), `one session is named ${name}`)
    found.set(name, {
      session,
      identity: manifest.identity,
      frontend: Buffer.concat(sides.frontend),
      backend: Buffer.concat(sides.backend),
      statements,
      gaps: manifest.gaps,
      closeReason: manifest.close.reason,
      recovered: manifest.recovered,
    })
  }
  return found
}

/** Runs `steno verify --all` as a person would, with the ledger's head from the spool; fails unless it says sound. */
export async function assertVerified(storeFolder: string, spoolFolder: string): Promise<string> {
  const { status, stdout, stderr } = await steno([
    ...['verify', '--all', '--store', pathToFileURL(storeFolder).href, '--spool', spoolFolder, '--json'],
  ])
  assert.equal(status, 0, `the store verifies:\n${stdout}${stderr}`)
  return stdout
}
