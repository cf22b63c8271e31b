// Goal: version 1 stays readable for ever, and FORMAT.md tells the truth of it. Method: a store that was made once and is
// kept as bytes; the same recording made again must give the same, and the document's dumps are made from these bytes.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { loadLedgerHead } from './ledger-head.ts'
import { createMemoryStore, type MemoryStore } from './memory-store.ts'
import { ledgerKey, manifestKey, nameOf, recorderKey, segmentKey, statementIndexKey } from './object-keys.ts'
import { findSession, listSessions, readRecords, readStatements } from './read-session.ts'
import { decodeRecords, encodeRecord, recordFlag, recordType } from './records.ts'
import { openSegment, segmentHeaderEnd } from './segment.ts'
import { openDirectoryStore } from './stores/directory.ts'
import { createTestRecorder, testKey } from './test-recording.ts'
import { errorCodes, verifyStore, warningCodes } from './verify.ts'

const folder = `${import.meta.dirname}/golden/v1`
const golden = openDirectoryStore(`${folder}/store`)

/** The recording that was kept. */
async function recordAgain(): Promise<MemoryStore> {
  const store = createMemoryStore()
  const recorder = await createTestRecorder(store, { seed: 1 })
  await recorder.record([{ statements: 1 }, { statements: 2 }], { gap: true })
  await recorder.record([{ statements: 1 }], { close: false })
  await recorder.heartbeat()
  return store
}

test('the store of version 1 is read and verified', async () => {
  const head = await loadLedgerHead(folder)
  const findings = await Array.fromAsync(verifyStore(golden, { trust: { heads: [head!] } }))
  assert.deepEqual(
    findings.map(({ code }) => code),
    ['GAP'],
  )
  const sessions = await Array.fromAsync(listSessions(golden))
  assert.deepEqual(
    sessions.map(({ state, statements, gaps }) => [state, statements, gaps]),
    [
      ['killed', 1, null],
      ['closed', 3, 1],
    ],
  )
  const session = sessions[1]!.session
  const records = await Array.fromAsync(readRecords(golden, session))
  assert.deepEqual(
    records.map(({ type }) => type),
    [1, 2, 3, 4, 2, 3, 2, 3, 5],
  )
  assert.equal(records[1]!.payload.toString('latin1'), 'Q\0\0\0\x0eselect 1 \0')
  assert.deepEqual(
    (await Array.fromAsync(readStatements(golden, session))).map(({ number, place }) => [number, place]),
    [
      [1, { first: 1, last: 2 }],
      [2, { first: 4, last: 5 }],
      [3, { first: 6, last: 7 }],
    ],
  )
})

test('the same recording made again is the same, apart from how zstd compresses', async () => {
  const again = await recordAgain()
  const keys = (await Array.fromAsync(golden.list(''))).map(({ key }) => key)
  assert.deepEqual([...again.objects.keys()].sort(), keys)
  const kept = new Map(await Promise.all(keys.map(async (key) => [key, (await golden.get(key))!] as const)))
  const segments = keys.filter((key) => nameOf(key).kind === 'segment')
  for (const key of segments) {
    const [one, other] = [openSegment(kept.get(key)!), openSegment(again.objects.get(key)!)]
    assert.deepEqual({ ...one.header, previous: null }, { ...other.header, previous: null })
    assert.deepEqual(one.body, other.body)
    assert.deepEqual(Buffer.concat([...decodeRecords(one.body)].map(encodeRecord)), one.body)
  }
  // Digests of segments stand in the other objects, so these can only be the same when the segments are.
  const sameZstd = segments.every((key) => kept.get(key)!.equals(again.objects.get(key)!))
  for (const key of keys)
    if (sameZstd || nameOf(key).kind === 'index' || nameOf(key).kind === 'recorder')
      assert.deepEqual(again.objects.get(key), kept.get(key), key)
})

function dump(bytes: Buffer): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16)
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    lines.push(`${at.toString(16).padStart(8, '0')}  ${hex.padEnd(47)}  |${row.toString('latin1').replace(/[^ -~]/g, '.')}|`)
  }
  return lines.join('\n')
}

test('each dump and table of FORMAT.md is what the golden store holds', async () => {
  const document = await readFile(`${import.meta.dirname}/FORMAT.md`, 'utf8')
  const session = await findSession(golden, (await Array.fromAsync(listSessions(golden, { order: 'oldest' })))[0]!.session)
  const bytesOf = async (key: string): Promise<Buffer> => (await golden.get(key))!
  const textOf = async (key: string): Promise<string> => (await bytesOf(key)).toString('utf8').trimEnd()
  const segment = await bytesOf(segmentKey(session, 1))
  const { header, body } = openSegment(segment)
  const second = encodeRecord([...decodeRecords(body)][1]!)
  const keys = (await Array.fromAsync(golden.list(''))).map(({ key }) => key)
  const examples: Record<string, string> = {
    'all keys of the golden store': keys.join('\n'),
    'a record': dump(second),
    'the first 32 bytes of a segment': dump(segment.subarray(0, 32)),
    'the first 16 bytes of its body': dump(segment.subarray(segmentHeaderEnd(segment)).subarray(0, 16)),
    'its header': JSON.stringify(header, null, 2),
    'a statement index': await textOf(statementIndexKey(session, 2)),
    'a ledger entry': await textOf(ledgerKey(testKey(1).id, 3)),
    'a manifest': await textOf(manifestKey(session)),
    'a recorder document': await textOf(recorderKey(testKey(1).id)),
    'a ledger head': (await readFile(`${folder}/ledger-head.json`, 'utf8')).trimEnd(),
  }
  for (const [name, text] of Object.entries(examples)) {
    assert.ok(document.includes(`<!-- ${name} -->\n\`\`\`text\n${text}\n\`\`\`\n`), `FORMAT.md shows another text for "${name}":\n${text}`)
  }
  const rows = [
    ...Object.entries(recordType).map(([name, code]) => `| ${code} | \`${name}\` |`),
    ...Object.entries(recordFlag).map(([name, code]) => `| ${code} | \`${name}\` |`),
    ...Object.entries({ ...errorCodes, ...warningCodes }).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`),
  ]
  for (const row of rows) assert.ok(document.includes(row), `FORMAT.md has no row ${row}`)
})
