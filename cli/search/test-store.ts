/**
 * Stores of any number of sessions, made in seconds: real manifests and statement indexes, signed and with their digests, but no segments,
 * which nothing that searches reads. Files are written straight into place, without the syncing that a recorder owes to its user.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fingerprint } from '../../postgres/fingerprint.ts'
import { statementJson } from '../../postgres/statement-json.ts'
import type { ErrorFields, StatementSummary } from '../../postgres/statement.ts'
import { sha256Of } from '../../session/digest.ts'
import { sealManifest } from '../../session/manifest.ts'
import { manifestKey, segmentKey, sessionPrefix, statementIndexKey } from '../../session/object-keys.ts'
import { indexLineOf } from '../../session/statement-index.ts'
import { testEpoch, testIdentity, testKey, testSessionId } from '../../session/test-recording.ts'

export type GeneratedStatement = Partial<StatementSummary> & { readonly sql: string }

export type GeneratedSession = {
  /** Milliseconds since the epoch. */
  readonly opened: number
  readonly user?: string
  readonly database?: string
  readonly application?: string
  /** In a cluster: `shop/agent-0`. */
  readonly pod?: string
  readonly statements: readonly GeneratedStatement[]
  /** How long it was open; a second unless told. */
  readonly lastedMilliseconds?: number
}

export const uniqueViolation: ErrorFields = {
  severity: 'ERROR',
  code: '23505',
  message: 'duplicate key value violates unique constraint "orders_pkey"',
}

const key = testKey(7)
const unknownDigest = '0'.repeat(64)

/** Adds a session to the store in `folder`; `seed` makes its id. */
export function addSession(folder: string, seed: number, generated: GeneratedSession): string {
  const { opened, statements, lastedMilliseconds = 1_000 } = generated
  const session = testSessionId(opened, seed)
  const identity = {
    ...testIdentity(session, opened, key.id),
    user: generated.user ?? 'agent',
    database: generated.database ?? 'shop',
    asserted: { application_name: generated.application ?? 'test' },
    attested: attestedOf(generated.pod),
  }
  const lines = statements.map((statement, index) => {
    const summary: StatementSummary = {
      number: index + 1,
      kind: 'query',
      sqlBytes: Buffer.byteLength(statement.sql),
      parameters: [],
      columns: null,
      outcome: 'completed',
      tag: 'SELECT 1',
      rows: 1,
      resultBytes: 20,
      error: null,
      notices: [],
      transactionBefore: 'I',
      started: opened + index * 10,
      finished: opened + index * 10 + 2.5,
      place: { first: index * 2 + 1, last: index * 2 + 2 },
      fingerprint: fingerprint(statement.sql),
      decision: { kind: 'allow', rule: '' },
      ...statement,
    }
    return indexLineOf(session, 1, statementJson(summary))
  })
  const index = Buffer.from(lines.join(''), 'utf8')
  const closed = opened + lastedMilliseconds
  const segment = {
    number: 1,
    key: segmentKey(session, 1),
    sha256: unknownDigest,
    bytes: 1,
    rawBytes: 1,
    records: { from: 0, to: statements.length * 2 + 2 },
    index: { key: statementIndexKey(session, 1), sha256: sha256Of(index), bytes: index.length, statements: lines.length },
  }
  const manifest = sealManifest(
    {
      session,
      identity,
      opened,
      closed,
      close: { closed, reason: 'terminated', recovered: false },
      segments: [segment],
      statements: lines.length,
      gaps: [],
      recovered: false,
    },
    key,
  )
  mkdirSync(join(folder, sessionPrefix(session)), { recursive: true })
  writeFileSync(join(folder, manifestKey(session)), manifest.bytes)
  writeFileSync(join(folder, statementIndexKey(session, 1)), index)
  return session
}

function attestedOf(pod: string | undefined): Readonly<Record<string, string>> {
  if (pod === undefined) return {}
  const [podNamespace = '', podName = ''] = pod.split('/')
  return { podUid: `uid-${podName}`, podName, podNamespace, serviceAccount: 'agent', nodeName: 'node-1' }
}

export type GenerateOptions = { readonly sessions: number; readonly statements: number }

/** The days that `generateStore` spreads its sessions over, from `testEpoch` on. */
export const generatedDays = 30

/** Sessions of ten users in five databases; every hundredth has a statement that deletes from `rare` and fails. */
export function generateStore(folder: string, { sessions, statements }: GenerateOptions): void {
  const millisecondsEach = (generatedDays * 86_400_000) / sessions
  for (let made = 0; made < sessions; made++) {
    const list: GeneratedStatement[] = Array.from({ length: statements }, (_, index) => ({
      sql: `select id, name, city from customers where id = ${made * statements + index} and note <> 'something to make the text longer'`,
    }))
    if (made % 100 === 0) list.push({ sql: `delete from rare where id = ${made}`, outcome: 'failed', tag: null, error: uniqueViolation })
    addSession(folder, made, {
      opened: Math.trunc(testEpoch + made * millisecondsEach),
      user: `user${made % 10}`,
      database: `base${made % 5}`,
      application: `program ${made % 3}`,
      statements: list,
    })
  }
}
