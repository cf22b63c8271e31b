/** The checks of the store: that it answers, that nothing in it can be overwritten, that it has room, and what its clock says. */
import { mkdir, mkdtemp, rmdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sessionIds } from '../../session/read-session.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { probeStore } from '../../session/stores/probe.ts'
import type { Store } from '../../session/stores/store.ts'
import { check, failed, ok, skipped, warning, type CheckResult, type Finding } from './check.ts'
import { borrowFolder, freeBytes, shownBytes } from './folders.ts'
import { clockFinding } from './upstream.ts'

const roomWarningBytes = 1024 ** 3
const roomFailedBytes = 64 * 1024 ** 2
/** Where a store in a folder writes before it links: what lies there is no object. */
const workFolder = '.tmp'
const folderMode = 0o750

export async function* storeChecks(url: string, { millisecondsMax }: { readonly millisecondsMax: number }): AsyncGenerator<CheckResult> {
  const at = { target: url, millisecondsMax, remedy: 'Check that --store names the right place and that this user may write there.' }
  let store: Store | null = null
  yield await check('store', at, async () => {
    const opened = await openStore(url)
    let sessions = 0
    for await (const _ of sessionIds(opened, 'newest')) if (++sessions >= sessionsCountedMax) break
    store = opened
    const more = sessions === sessionsCountedMax ? ' or more' : ''
    return ok(
      sessions === 0
        ? 'it answers, and holds no session yet'
        : `it answers, and holds ${sessions}${more} session${sessions === 1 ? '' : 's'}`,
    )
  })
  if (store === null) return
  const opened: Store = store
  const folder = opened.url.startsWith('file:') ? fileURLToPath(opened.url) : null
  yield await check('store create-once', at, async () => {
    const borrowed = folder === null ? null : borrowFolder(folder, folderMode)
    try {
      await probeStore(opened)
      return ok('a second put of an object was refused')
    } finally {
      borrowed?.giveBack(['probe', workFolder])
    }
  })
  if (folder === null) return
  yield await check('store space', at, async () =>
    roomFinding(await freeBytes(folder), 'Free space, or choose another store: while it is full, recordings wait in the spool.'),
  )
  yield await check('store clock', at, () => storeClock(folder))
}

const sessionsCountedMax = 1_000

export function roomFinding(free: number, remedy: string): Finding {
  const what = `${shownBytes(free)} free`
  if (free < roomFailedBytes) return failed(what, remedy)
  return free < roomWarningBytes ? warning(what, remedy) : ok(what)
}

/** A mounted file system stamps with the clock of the machine that has it. */
async function storeClock(folder: string): Promise<Finding> {
  const borrowed = borrowFolder(folder, folderMode)
  try {
    await mkdir(join(folder, workFolder), { recursive: true, mode: folderMode })
    const before = Date.now()
    const made = await mkdtemp(join(folder, workFolder, 'doctor-'))
    const after = Date.now()
    try {
      const { mtimeMs } = await stat(made)
      // Kernels stamp with the time of their last tick.
      const clock = { aheadMilliseconds: mtimeMs - (before + after) / 2, errorMilliseconds: (after - before) / 2 + 10 }
      if (mtimeMs === 0) return skipped('the store’s file system keeps no times')
      return clockFinding(clock, 'the store’s clock')
    } finally {
      await rmdir(made)
    }
  } finally {
    borrowed.giveBack([workFolder])
  }
}
