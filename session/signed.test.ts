import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { generateKeyPairSync } from 'node:crypto'
import { createLedger, findLedgerHead, readLedgerEntry, type LedgerEvent } from './ledger.ts'
import { loadLedgerHead, saveLedgerHead } from './ledger-head.ts'
import { createMemoryStore } from './memory-store.ts'
import { ledgerKey, recorderKey } from './object-keys.ts'
import { ObjectConflict, putOnce } from './put-once.ts'
import { loadOrCreateRecorderKey, publishRecorder, readRecorderDocument, recorderDocument, RecorderKeyUnusable } from './recorder-key.ts'
import { BadDocument } from './shape.ts'
import { readSignedDocument, signDocument } from './signed-document.ts'
import { testEpoch, testKey, testSessionId } from './test-recording.ts'

async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'steno-key-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

const key = testKey(1)
const document = { type: 'thing', version: 1, text: 'snowman ☃' }

test('a signed document has one spelling: any change of any byte is refused or no longer signed', () => {
  const { bytes } = signDocument(document, key)
  assert.deepEqual(readSignedDocument(bytes, 'thing').value, document)
  assert.ok(readSignedDocument(bytes, 'thing').isSignedBy(key.publicKey))
  assert.equal(readSignedDocument(bytes, 'thing').isSignedBy(testKey(2).publicKey), false)
  const stillSigned = (changed: Buffer): boolean => {
    try {
      return readSignedDocument(changed, 'thing').isSignedBy(key.publicKey)
    } catch (error) {
      assert.ok(error instanceof BadDocument)
      return false
    }
  }
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[at]! ^= 1 << bit
      assert.equal(stillSigned(changed), false, `bit ${bit} of byte ${at}`)
    }
    assert.equal(stillSigned(bytes.subarray(0, at)), false, `cut at ${at}`)
  }
  for (const around of [
    ['', '\n'],
    ['', 'x'],
    ['\n', ''],
    ['', '\r\n'],
    ['\ufeff', ''],
  ] as const) {
    assert.equal(stillSigned(Buffer.concat([Buffer.from(around[0]), bytes, Buffer.from(around[1])])), false)
  }
})

test('one kind of document never passes for another, and a later version is refused', () => {
  assert.throws(() => readSignedDocument(signDocument(document, key).bytes, 'manifest'), /not a manifest/)
  assert.throws(() => readSignedDocument(signDocument({ ...document, version: 2 }, key).bytes, 'thing'), /version/)
})

test('a key is made once, for its owner only, and found again', async () => {
  await using folder = await temporaryFolder()
  const at = join(folder.path, 'deep', 'spool')
  const keys = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateRecorderKey(at)))
  assert.equal(new Set(keys.map(({ id }) => id)).size, 1)
  assert.equal((await loadOrCreateRecorderKey(at)).id, keys[0]!.id)
  assert.equal((await stat(join(at, 'recorder-key.pem'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(at), ['recorder-key.pem'])
  assert.match(keys[0]!.id, /^[0-9a-f]{32}$/)
})

test('a key that others can read, or that is none, is refused with what to do and is not quoted', async () => {
  await using folder = await temporaryFolder()
  await loadOrCreateRecorderKey(folder.path)
  const path = join(folder.path, 'recorder-key.pem')
  const secret = (await readFile(path, 'utf8')).split('\n')[1]!
  for (const mode of [0o640, 0o604, 0o620]) {
    await chmod(path, mode)
    await assert.rejects(
      loadOrCreateRecorderKey(folder.path),
      (error) => error instanceof RecorderKeyUnusable && /chmod 600/.test(error.remedy),
    )
  }
  await chmod(path, 0o600)
  const rsa = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  for (const content of [rsa, '', `-----BEGIN PRIVATE KEY-----\n${secret}`, 'x'.repeat(5000)]) {
    await writeFile(path, content)
    await assert.rejects(
      loadOrCreateRecorderKey(folder.path),
      (error) => error instanceof RecorderKeyUnusable && !String(error.stack).includes(secret),
    )
  }
})

test('a recorder publishes its key once, and a stranger in its place is a conflict', async () => {
  const store = createMemoryStore()
  await publishRecorder(store, key)
  await publishRecorder(store, key)
  const bytes = store.objects.get(recorderKey(key.id))!
  assert.ok(readRecorderDocument(bytes, key.id).equals(key.publicKey))
  assert.throws(() => readRecorderDocument(bytes, testKey(2).id), BadDocument)
  store.objects.set(recorderKey(key.id), recorderDocument(testKey(2)).bytes)
  await assert.rejects(publishRecorder(store, key), ObjectConflict)
})

test('an object is put once, however often it is tried, and other bytes are a conflict', async () => {
  const store = createMemoryStore()
  assert.equal(await putOnce(store, 'a', Buffer.from('x')), 'stored')
  assert.equal(await putOnce(store, 'a', Buffer.from('x')), 'exists')
  for (const other of ['y', 'xx', '']) await assert.rejects(putOnce(store, 'a', Buffer.from(other)), ObjectConflict)
})

const session = testSessionId(testEpoch, 1)
const events: LedgerEvent[] = [
  { kind: 'recorder-started', steno: '0.1.0', spool: '/spool' },
  { kind: 'session-opened', session, opened: testEpoch },
  { kind: 'session-closed', session, manifest: { key: 'x', sha256: 'a'.repeat(64) }, segments: 0 },
  { kind: 'heartbeat', openSessions: 0 },
  { kind: 'recorder-stopped' },
]

test('entries form a chain that goes on behind the head of an earlier process', () => {
  const ledger = createLedger({ key, head: null })
  const first = ledger.entry(events, testEpoch)
  const second = ledger.entry(events, testEpoch + 1)
  assert.deepEqual(readLedgerEntry(first.bytes).entry, {
    type: 'ledger-entry',
    version: 1,
    recorder: key.id,
    number: 1,
    previous: null,
    time: testEpoch,
    events,
  })
  assert.equal(readLedgerEntry(second.bytes).entry.previous, first.head.sha256)
  assert.deepEqual(createLedger({ key, head: first.head }).entry(events, testEpoch + 1), second)
})

test('an event of a kind or shape that is not known is refused', () => {
  for (const event of [{ kind: 'session-renamed' }, { kind: 'constructor' }, {}, null, 'x', { kind: 'heartbeat', openSessions: -1 }]) {
    const { bytes } = signDocument(
      { type: 'ledger-entry', version: 1, recorder: key.id, number: 1, previous: null, time: 1, events: [event] },
      key,
    )
    assert.throws(() => readLedgerEntry(bytes), BadDocument)
  }
})

test('the last entry is found from nothing or from an older head, in about the logarithm of what came since', async () => {
  const store = createMemoryStore()
  const ledger = createLedger({ key, head: null })
  assert.equal(await findLedgerHead(store, key.id, key), null)
  for (let number = 1; number <= 70; number++) {
    const { objectKey, bytes, head } = ledger.entry([{ kind: 'heartbeat', openSessions: 0 }], testEpoch)
    await putOnce(store, objectKey, bytes)
    let asked = 0
    const counting = { ...store, head: (asking: string) => ((asked += 1), store.head(asking)) }
    for (const from of [0, number >> 1, number, 5]) {
      asked = 0
      assert.deepEqual(await findLedgerHead(counting, key.id, { publicKey: key.publicKey, from }), head)
      assert.ok(asked <= 2 * Math.log2(number + 2) + 4, `asked ${asked} times`)
    }
  }
  store.objects.set(ledgerKey(key.id, 70), Buffer.from('damaged'))
  await assert.rejects(findLedgerHead(store, key.id, key), BadDocument)
})

test('the local head is replaced as a whole and a damaged one is not believed', async () => {
  await using folder = await temporaryFolder()
  assert.equal(await loadLedgerHead(folder.path), null)
  for (const number of [1, 2]) {
    const head = { recorder: key.id, number, sha256: 'a'.repeat(64) }
    await saveLedgerHead(folder.path, head)
    const { recorder, number: found, sha256 } = (await loadLedgerHead(folder.path))!
    assert.deepEqual({ recorder, number: found, sha256 }, head)
  }
  assert.deepEqual(await readdir(folder.path), ['ledger-head.json'])
  for (const content of ['', '{}', '{"version":2}', 'null']) {
    await writeFile(join(folder.path, 'ledger-head.json'), content)
    await assert.rejects(loadLedgerHead(folder.path), BadDocument)
  }
})
