import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { after, before, test } from 'node:test'
import { sealAttestation } from '../session/attestation.ts'
import { saveLedgerHead } from '../session/ledger-head.ts'
import { attestationKey, ledgerKey, segmentKey } from '../session/object-keys.ts'
import { openDirectoryStore } from '../session/stores/directory.ts'
import { chainTestRecorders, createTestRecorder, testEpoch, testKey } from '../session/test-recording.ts'

let folder = ''
let spool = ''
let recorder = ''
let sessions: string[] = []
const runner = `import { command as sessions } from ${JSON.stringify(new URL('./sessions.ts', import.meta.url).href)}
import { command as verify } from ${JSON.stringify(new URL('./verify.ts', import.meta.url).href)}
import { Command } from 'commander'
try { await new Command().exitOverride((error) => process.exit(error.exitCode)).addCommand(sessions()).addCommand(verify()).parseAsync() }
catch (error) { process.exitCode ??= 1; process.stderr.write(error.code + ': ' + error.message + '\\n') }
`

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steno-cli-'))
  spool = join(folder, 'spool')
  await mkdir(spool)
  const own = await createTestRecorder(openDirectoryStore(join(folder, 'store')), { seed: 1 })
  recorder = own.key.id
  sessions = [
    await own.record([{ statements: 2 }, { statements: 1 }]),
    await own.record([{ statements: 4 }], { gap: true }),
    await own.record([{ statements: 1 }], { close: false }),
  ]
  await saveLedgerHead(spool, own.head())
})
after(() => rm(folder, { recursive: true }))

type Ran = { readonly code: number | null; readonly out: string; readonly err: string }

function steno(...given: string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const environment = {
      ...process.env,
      FORCE_COLOR: '',
      STENO_CONFIG: '',
      STENO_STORE: `file://${folder}/store`,
      XDG_STATE_HOME: folder,
      TZ: 'UTC',
    }
    // Beside this file, so that `commander` resolves.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', runner, '--', ...given], {
      env: environment,
      cwd: import.meta.dirname,
    })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

test('sessions are listed newest first, with what is known of each', async () => {
  const { code, out } = await steno('sessions')
  assert.equal(code, 0)
  const lines = out.trimEnd().split('\n')
  assert.match(lines[0]!, /^SESSION +OPENED +STATE/)
  assert.deepEqual(
    lines.slice(1).map((line) => line.slice(0, 36)),
    sessions.toReversed(),
  )
  assert.match(lines[3]!, /2026-11-21 09:00:01 +closed +.* 3 +agent +shop +test$/)
})

test('--json gives one object per session and --limit stops', async () => {
  const { out } = await steno('sessions', '--json', '--limit', '2')
  const listed = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { session: string; statements: number; gaps: number | null })
  assert.deepEqual(
    listed.map(({ session, statements, gaps }) => [session, statements, gaps]),
    [
      [sessions[2], 1, null],
      [sessions[1], 4, 1],
    ],
  )
})

test('--since and --until bound the time of opening, and nonsense is refused', async () => {
  assert.equal((await steno('sessions', '--json', '--until', '2026-11-21T09:00:00Z')).out, '')
  assert.equal((await steno('sessions', '--json', '--since', '2026-11-21')).out.trimEnd().split('\n').length, 3)
  assert.equal((await steno('sessions', '--since', 'yesterday')).code, 1)
})

test("a sound store is said to be sound, and only to be somebody's when nobody was named", async () => {
  const pinned = await steno('verify', '--all', '--spool', spool)
  assert.deepEqual(
    [pinned.code, pinned.out.trimEnd().split('\n').at(-1)],
    [0, 'verified 3 sessions, 4 segments, 8 statements: sound (1 warning)'],
  )
  const named = await steno('verify', '--all', '--trust-recorder', recorder)
  assert.equal(named.code, 0)
  assert.doesNotMatch(named.out, /NOT_PINNED/)
  const open = await steno('verify', '--all')
  assert.equal(open.code, 0)
  assert.match(open.out, new RegExp(`RECORDER_NOT_PINNED: .*--trust-recorder ${recorder}`))
  assert.equal((await steno('verify', '--all', '--trust-recorder', '0'.repeat(32))).code, 1)
})

test("with control's key given, the recorders that it attested are trusted, said in one line, and no others", async () => {
  const store = openDirectoryStore(join(folder, 'attested'))
  const url = pathToFileURL(join(folder, 'attested')).href
  const own = await createTestRecorder(store, { seed: 4 })
  await own.record([{ statements: 1 }])
  const pod = { podUid: 'u', podName: 'agent-0', podNamespace: 'shop', serviceAccount: 'agent', nodeName: null, owner: null, image: null }
  const { bytes } = sealAttestation({ recorder: own.key.id, time: testEpoch, pod }, testKey(9))
  await store.putIfAbsent(attestationKey(own.key.id), bytes)
  const head = await chainTestRecorders(store, [own.key.id], { when: 'ended' })
  const pemOf = async (seed: number): Promise<string> => {
    const file = join(folder, `control-${seed}.pem`)
    await writeFile(file, testKey(seed).publicKey.export({ type: 'spki', format: 'pem' }))
    return file
  }
  const verify = async (...given: string[]): Promise<Ran> => steno('verify', '--all', '--store', url, ...given)
  assert.match((await verify()).out, /ATTESTER_NOT_PINNED: .*--trust-control/)
  const trusting = await verify('--trust-control', await pemOf(8), '--trust-control', await pemOf(9))
  assert.deepEqual(
    [trusting.code, trusting.out],
    [
      0,
      `control's chain names 1 recorder; to find later that it was cut, keep its head: --chain-head ${head.number}:${head.sha256}\n` +
        "trusted 1 recorder by control's attestation\nverified 1 session, 1 segment, 1 statement: sound\n",
    ],
  )
  const stranger = await verify('--trust-control', await pemOf(8))
  assert.equal(stranger.code, 1)
  assert.match(stranger.out, /RECORDER_UNTRUSTED/)
  const foreign = join(folder, 'foreign.pem')
  await writeFile(foreign, generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }))
  for (const file of [join(folder, 'none.pem'), import.meta.filename, foreign]) {
    const { code, err } = await verify('--trust-control', file)
    assert.equal(code, 3)
    assert.match(err, /^CONTROL_KEY_UNREADABLE: /)
  }
})

test('recorders that steno run had beside a spool are known with it, and others by a --spool of their own', async () => {
  const two = join(folder, 'two')
  const store = openDirectoryStore(two)
  const url = pathToFileURL(two).href
  const [first, second] = [await createTestRecorder(store, { seed: 2 }), await createTestRecorder(store, { seed: 3 })]
  await first.record([{ statements: 1 }])
  await second.record([{ statements: 1 }])
  const save = async (name: string, recorderOf: typeof first, of: string): Promise<string> => {
    await mkdir(join(folder, name))
    await saveLedgerHead(join(folder, name), { ...recorderOf.head(), store: of })
    return join(folder, name)
  }
  const own = await save('mine', first, url)
  const other = await save('elsewhere', second, url)
  const alone = await steno('verify', '--all', '--store', url, '--spool', own)
  assert.equal(alone.code, 1)
  assert.match(alone.out, /RECORDER_UNTRUSTED/)
  assert.equal((await steno('verify', '--all', '--store', url, '--spool', own, '--spool', other)).code, 0)
  await save('mine-2', second, 'file:///another/store')
  assert.equal((await steno('verify', '--all', '--store', url, '--spool', own)).code, 1)
  await save('mine-3', second, url)
  assert.equal((await steno('verify', '--all', '--store', url, '--spool', own)).code, 0)
})

test('a store that was named and is not there is said to be missing', async () => {
  const { code, err } = await steno('sessions', '--store', `file://${folder}/none`)
  assert.deepEqual([code, err.split(':')[0]], [1, 'STORE_NOT_FOUND'])
})

test('one session is verified by id, by the beginning of its id, or as the last', async () => {
  for (const id of [sessions[0]!, sessions[0]!.slice(0, 13), 'last']) {
    const { code, out } = await steno('verify', id, '--spool', spool)
    assert.equal(code, 0, out)
    assert.match(out, /verified 1 session, /)
  }
})

test('what cannot be verified ends with its own exit code', async () => {
  assert.equal((await steno('verify')).code, 2)
  assert.equal((await steno('verify', 'last', '--all')).code, 2)
  for (const given of [
    ['zzzz'],
    [sessions[0]!.replace(/.$/, 'f')],
    ['--all', '--store', `file://${folder}/none`],
    ['last', '--store', `file://${folder}/none`],
    ['--all', '--store', 's3://x'],
  ]) {
    const { code, err } = await steno('verify', ...given)
    assert.equal(code, 3, `${given.join(' ')}: ${err}`)
    assert.match(err, /^[A-Z0-9_]+: /)
  }
})

test('what is wrong is named, with exit code 1', async () => {
  const store = openDirectoryStore(join(folder, 'store'))
  const key = segmentKey(sessions[1]!, 1)
  const kept = await readFile(join(folder, 'store', key))
  await store.delete(key)
  const { code, out } = await steno('verify', '--all', '--json', '--spool', spool)
  const lines = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.equal(code, 1)
  assert.ok(lines.some((line) => line['code'] === 'OBJECT_MISSING' && line['key'] === key && line['segment'] === 1))
  assert.deepEqual(lines.at(-1), {
    verified: { sessions: 3, segments: 4, statements: 8, leftOutBytes: 0, ledgerEntries: 10, attestedRecorders: 0 },
    errors: 1,
    warnings: 0,
    sound: false,
  })
  await store.putIfAbsent(key, kept)
  // A cut tail shows only to who knows the head.
  const last = ledgerKey(recorder, 10)
  const tail = await readFile(join(folder, 'store', last))
  await store.delete(last)
  assert.match((await steno('verify', '--all', '--spool', spool)).out, /LEDGER_TAIL_MISSING/)
  await store.putIfAbsent(last, tail)
})
