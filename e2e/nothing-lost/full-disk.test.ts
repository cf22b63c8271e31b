// Goal: a file system that is really full is an ordinary case. Method: the spool lies on a small tmpfs, in a mount namespace of the
// proxy's own; the test fills it and makes room again from outside, through /proc.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startPostgres } from '../../tools/embedded-postgres.ts'
import { steno } from '../support/proxy.ts'
import { executedStatements, loggingSettings, mark } from './proof.ts'
import { readRecorded } from './recorded.ts'
import { connectRemembering, errorIn } from './remembering-client.ts'

const program = fileURLToPath(new URL('../../bin/steno', import.meta.url))
const spoolMegabytes = 4
/** util-linux: a mount namespace for a user who may not mount otherwise. */
const isolate = 'unshare'

function cannotMount(): string | false {
  const tried = spawnSync(isolate, ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=64k steno /mnt'], { stdio: 'ignore' })
  return tried.status === 0 ? false : 'this system lets nobody mount a tmpfs in a user namespace'
}

async function startOnSmallDisk(t: TestContext, upstream: string, waitMilliseconds: number) {
  const folder = mkdtempSync(join(tmpdir(), 'steno-full-disk-'))
  const [store, spool] = [join(folder, 'store'), join(folder, 'spool')]
  await Promise.all([mkdir(store), mkdir(spool)])
  const mountAndRun = `mount -t tmpfs -o size=${spoolMegabytes}m steno "$0" && exec "$@"`
  const child = spawn(
    isolate,
    [
      ...['-rm', 'sh', '-c', mountAndRun, spool, program, 'proxy', '--listen', '127.0.0.1:0', '--spool', spool],
      ...['--store', pathToFileURL(store).href, '--segment-milliseconds', '100', '--record-wait-milliseconds', String(waitMilliseconds)],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, STENO_UPSTREAM: upstream } },
  )
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const exited = once(child, 'exit')
  t.after(async () => {
    child.kill('SIGKILL')
    await exited
    rmSync(folder, { recursive: true, force: true })
  })
  let match: RegExpExecArray | null = null
  while ((match = /"address":"127\.0\.0\.1:(\d+)"/.exec(log)) === null) await once(child.stderr, 'data')
  const inside = join(`/proc/${child.pid}/root`, spool)
  const filler = join(inside, 'filler')
  return {
    port: Number(match[1]),
    store,
    inside,
    /** Leaves not a byte. */
    fill(): void {
      const descriptor = openSync(filler, 'w')
      for (let size = 65_536; size >= 1;) {
        try {
          if (writeSync(descriptor, Buffer.alloc(size)) < size) size >>= 1
        } catch {
          size >>= 1
        }
      }
      closeSync(descriptor)
    },
    makeRoom: () => unlinkSync(filler),
    async stop(): Promise<void> {
      child.kill('SIGTERM')
      assert.deepEqual(await exited, [0, null], log)
    },
    log: () => log,
  }
}

async function assertSound(store: string): Promise<void> {
  const { status, stdout, stderr } = await steno(['verify', '--all', '--store', pathToFileURL(store).href])
  assert.equal(status, 0, stdout + stderr)
}

test(
  'a spool on a full disk: statements fail with 53100 and are not executed, and all goes on when there is room',
  { skip: cannotMount() },
  async (t) => {
    await using database = await startPostgres({ settings: loggingSettings })
    const disk = await startOnSmallDisk(t, database.url, 500)
    const client = await connectRemembering(disk.port, 'full-disk')
    await client.query(`select '${mark} before'`)
    disk.fill()
    const refused = []
    for (let number = 1; number <= 3; number++) {
      // What still fits the last block of the file is recorded and passes.
      const fields = errorIn(await client.query(`select '${mark} ${number}', '${'x'.repeat(5_000)}'`))
      if (fields !== null) refused.push(fields.get('C'))
    }
    assert.ok(refused.length >= 2 && refused.every((code) => code === '53100'), String(refused))
    disk.makeRoom()
    assert.equal(errorIn(await client.query(`select '${mark} after'`)), null)
    await client.end()
    await disk.stop()
    await assertSound(disk.store)
    const executed = (await executedStatements(database.logFile)).map(({ sql }) => sql)
    assert.deepEqual(
      (await readRecorded(disk.store)).get('full-disk')!.statements.map(({ sql }) => sql),
      executed,
    )
  },
)

test(
  'a spool on a disk smaller than a spool file gives back what is stored: traffic of many times its size passes',
  { skip: cannotMount() },
  async (t) => {
    await using database = await startPostgres({ settings: loggingSettings })
    const disk = await startOnSmallDisk(t, database.url, 10_000)
    const client = await connectRemembering(disk.port, 'small-disk')
    let refused = 0
    const wanted = 8 * spoolMegabytes
    for (let passed = 0; passed < wanted;) {
      if (errorIn(await client.query(`select '${mark}', repeat('s', 1000) from generate_series(1, 250)`)) !== null) refused++
      else passed++
      assert.ok(refused < 20, `it goes on: ${passed} of ${wanted}\n${disk.log()}`)
    }
    await client.end()
    await disk.stop()
    await assertSound(disk.store)
    const { statements } = (await readRecorded(disk.store)).get('small-disk')!
    assert.equal(statements.length, wanted)
  },
)
