/** Goal: what counts as well, worth a warning or a failure does not change unseen. Method: the judgements at both sides of each limit. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { exposureFinding } from './agent-side.ts'
import { check, failedBy, ok, type Status } from './check.ts'
import { borrowFolder, shownBytes } from './folders.ts'
import { roomFinding } from './store.ts'
import { clockFinding, expiryFinding, versionFinding } from './upstream.ts'

const day = 24 * 60 * 60 * 1000
const now = Date.parse('2026-11-21T00:00:00Z')

test('a certificate is a failure when it is over and verified, a warning when it soon will be or nobody verifies', () => {
  const shown = (from: number, to: number) =>
    ({
      kind: 'certificate',
      subject: 'CN=db',
      validFrom: new Date(now + from * day),
      validTo: new Date(now + to * day),
      protocol: 'TLSv1.3',
    }) as const
  for (const [from, to, mode, status] of [
    [-1, 15, 'verify-full', 'ok'],
    [-1, 13, 'verify-full', 'warning'],
    [-9, -1, 'verify-full', 'failed'],
    [-9, -1, 'verify-ca', 'failed'],
    [-9, -1, 'require', 'warning'],
    [1, 90, 'verify-full', 'failed'],
    [1, 90, 'prefer', 'warning'],
    [-1, 90, 'require', 'ok'],
  ] as const) {
    assert.equal(expiryFinding(shown(from, to), mode, now).status, status, `${from} to ${to}, ${mode}`)
  }
  assert.match(expiryFinding(shown(-1, 90), 'require', now).message, /not verified/)
})

test('server versions outside of what is tested are warned of, whatever they look like', () => {
  for (const [version, status] of [
    ['18.1 (Debian 18.1-1)', 'ok'],
    ['15.4', 'ok'],
    ['14.9', 'warning'],
    ['9.6.24', 'warning'],
    ['19beta1', 'warning'],
    ['', 'warning'],
    ['CockroachDB', 'warning'],
  ] as const) {
    assert.equal(versionFinding(version).status, status, version)
  }
})

test('a clock is judged by what it is off beyond the error of the measurement', () => {
  for (const [ahead, error, status] of [
    [0, 1, 'ok'],
    [999, 0, 'ok'],
    [1_500, 600, 'ok'],
    [-1_500, 100, 'warning'],
    [61_000, 500, 'failed'],
    [-61_000, 500, 'failed'],
    [61_000, 2_000, 'warning'],
  ] as const) {
    assert.equal(clockFinding({ aheadMilliseconds: ahead, errorMilliseconds: error }, 'it').status, status, `${ahead} ± ${error}`)
  }
})

test('room is judged by what is free', () => {
  const judged = (bytes: number): Status => roomFinding(bytes, 'Free some.').status
  assert.deepEqual(
    [judged(2 * 1024 ** 3), judged(1024 ** 3 - 1), judged(64 * 1024 ** 2 - 1), judged(0)],
    ['ok', 'warning', 'failed', 'failed'],
  )
  assert.deepEqual([0, 1023, 1024, 1536, 110 * 1024 ** 2, 5 * 1024 ** 4].map(shownBytes), [
    '0 bytes',
    '1023 bytes',
    '1.0 KiB',
    '1.5 KiB',
    '110 MiB',
    '5.0 TiB',
  ])
})

test('only custody without a token beyond this machine is warned of', () => {
  const judged = (host: string, user: string | null, hasToken: boolean): Status =>
    exposureFinding({ listen: { host, port: 1 }, user, hasToken }).status
  assert.deepEqual(
    [judged('127.0.0.1', 'shop', false), judged('::1', 'shop', false), judged('0.0.0.0', 'shop', false), judged('::', 'shop', false)],
    ['ok', 'ok', 'warning', 'warning'],
  )
  assert.deepEqual([judged('0.0.0.0', 'shop', true), judged('0.0.0.0', null, false)], ['ok', 'ok'])
})

test('a check that throws or does not end is a failure with the remedy', async () => {
  const at = { millisecondsMax: 20, remedy: 'Do something.', target: 'here' }
  const thrown = await check('one', at, () => Promise.reject(new Error('broken')))
  assert.deepEqual([thrown.status, thrown.message, thrown.remedy, thrown.target], ['failed', 'broken', 'Do something.', 'here'])
  let aborted = false
  const late = await check('two', at, (signal) => {
    signal.addEventListener('abort', () => (aborted = true))
    return new Promise(() => undefined)
  })
  assert.deepEqual([late.status, late.message, late.remedy, aborted], ['failed', 'no answer within 0.02 s', 'Do something.', true])
  assert.equal((await check('three', at, async () => ok('fine'))).status, 'ok')
  assert.equal(failedBy('a text', 'R').message, 'a text')
})

test('a borrowed folder is gone afterwards, unless it was there or somebody used it', () => {
  const root = mkdtempSync(path.join(tmpdir(), 'borrow-'))
  try {
    const folder = path.join(root, 'a', 'b')
    const borrowed = borrowFolder(folder, 0o700)
    mkdirSync(path.join(folder, 'inner'))
    borrowed.giveBack(['inner', 'never made'])
    assert.deepEqual(readdirSync(root), [])
    const used = borrowFolder(folder, 0o700)
    writeFileSync(path.join(folder, 'kept'), '')
    used.giveBack([])
    assert.deepEqual(readdirSync(folder), ['kept'])
    rmSync(path.join(folder, 'kept'))
    borrowFolder(folder, 0o700).giveBack([])
    assert.deepEqual(readdirSync(path.join(root, 'a')), ['b'])
  } finally {
    rmSync(root, { recursive: true })
  }
})
