/** The checks of the spool folder: that a proxy can write there, alone, on a local disk with room, and what still lies in it. */
import { randomUUID } from 'node:crypto'
import { lstatSync, readdirSync, statSync } from 'node:fs'
import { open, unlink } from 'node:fs/promises'
import path from 'node:path'
import { systemCodeOf } from '../../base/errors.ts'
import { sha256Of } from '../../session/digest.ts'
import { loadLedgerHead } from '../../session/ledger-head.ts'
import { ledgerKey } from '../../session/object-keys.ts'
import { recorderKeyFile } from '../../session/recorder-key.ts'
import { openStore } from '../../session/stores/open-store.ts'
import { isSpoolLocked, spoolPathExcessBytes } from '../../sidecar/main.ts'
import { check, failed, ok, warning, type CheckResult, type Finding } from './check.ts'
import { borrowFolder, freeBytes, shownBytes, specialFileSystem } from './folders.ts'

/** One spool file beyond the cap, and the reserve. */
const beyondCapBytes = 66 * 1024 ** 2
const folderMode = 0o700

export type SpoolOptions = { readonly storeUrl: string; readonly spoolBytesMax: number; readonly millisecondsMax: number }

/** Whether a process holds the lock is the last thing told: `isHeld` is for the check of the address that agents use. */
export async function* spoolChecks(folder: string, options: SpoolOptions): AsyncGenerator<CheckResult, { readonly isHeld: boolean }> {
  const { millisecondsMax, spoolBytesMax, storeUrl } = options
  const at = { target: folder, millisecondsMax, remedy: 'Name a folder on a local disk that this user may write to, with --spool.' }
  yield await check('spool', at, () => writable(folder))
  yield await check('spool file system', at, () => fileSystem(folder))
  yield await check('spool space', at, async () => {
    const free = await freeBytes(folder)
    const wanted = spoolBytesMax + beyondCapBytes
    const remedy = 'Free space, choose another folder with --spool, or let less wait with --spool-bytes-max.'
    if (free < beyondCapBytes) return failed(`${shownBytes(free)} free: not enough for a single spool file`, remedy)
    if (free < wanted)
      return warning(`${shownBytes(free)} free, and up to ${shownBytes(wanted)} may be wanted while the store does not answer`, remedy)
    return ok(`${shownBytes(free)} free, of which ${shownBytes(wanted)} may be wanted`)
  })
  yield await check('spool permissions', at, async () => permissions(folder))
  yield await check('spool and store', at, () => belongsTogether(folder, storeUrl))
  let isHeld = false
  yield await check('spool lock', at, async () => {
    isHeld = await lockIsHeld(folder)
    return isHeld ? ok('a proxy is writing here') : waiting(folder)
  })
  return { isHeld }
}

async function writable(folder: string): Promise<Finding> {
  const excessBytes = spoolPathExcessBytes(folder)
  if (excessBytes > 0)
    return {
      ...failed(`its path is ${excessBytes} bytes too long for the lock`, 'Choose a folder with a shorter name with --spool.'),
      code: 'SPOOL_PATH_TOO_LONG',
    }
  const borrowed = borrowFolder(folder, folderMode)
  try {
    const file = path.join(folder, `.doctor-${randomUUID()}`)
    const handle = await open(file, 'wx', 0o600)
    try {
      await handle.writeFile('steno doctor\n')
      await handle.sync()
    } finally {
      await handle.close()
      await unlink(file)
    }
  } finally {
    borrowed.giveBack([])
  }
  return ok('a file was written, synced and removed')
}

async function fileSystem(folder: string): Promise<Finding> {
  const special = await specialFileSystem(folder)
  if (special === null) return ok('local')
  switch (special.kind) {
    case 'network':
      return failed(`${special.name}: every statement would wait for the network`, 'Name a folder on a local disk with --spool.')
    case 'memory':
      return warning(`${special.name}: what is not stored yet is lost with the machine’s power`, 'Name a folder on a disk with --spool.')
    case 'container':
      return warning('overlay: what is not stored yet goes with the container', 'Mount a volume for the spool.')
    case 'user space':
      return warning(`${special.name}: it may be slow or remote`, 'Name a folder on a local disk with --spool.')
    default:
      return special.kind satisfies never
  }
}

function permissions(folder: string): Finding {
  const status = statSync(folder, { throwIfNoEntry: false })
  if (status === undefined) return ok('the folder will be made for this user alone')
  const key = lstatSync(path.join(folder, recorderKeyFile), { throwIfNoEntry: false })
  if (key !== undefined && (key.mode & 0o077) !== 0)
    return {
      ...failed(
        `${recorderKeyFile} can be read by others`,
        `Whoever read it can forge recordings: move it away, or, if nobody can have read it, run \`chmod 600 ${path.join(folder, recorderKeyFile)}\`.`,
      ),
      code: 'RECORDER_KEY_UNUSABLE',
    }
  const mode = (status.mode & 0o777).toString(8)
  if ((status.mode & 0o022) !== 0) return failed(`others may write there (mode ${mode})`, `Run \`chmod 700 ${folder}\`.`)
  if ((status.mode & 0o055) !== 0) return warning(`others may read what agents say (mode ${mode})`, `Run \`chmod 700 ${folder}\`.`)
  return ok(`closed to others (mode ${mode})`)
}

/** As the proxy judges it at start. */
async function belongsTogether(folder: string, storeUrl: string): Promise<Finding> {
  const head = await loadLedgerHead(folder)
  if (head === null) return ok('nothing was recorded from here yet')
  const store = await openStore(storeUrl)
  const entry = await store.get(ledgerKey(head.recorder, head.number))
  if (entry !== null && sha256Of(entry) === head.sha256) return ok(`the store has the last ledger entry, number ${head.number}`)
  if (head.store === undefined || head.store === store.url)
    return failed(
      `the store lacks ledger entry ${head.number}, which was stored from here`,
      'Run `steno verify --all` with this --store and this --spool.',
    )
  return {
    ...failed(`it belongs to the store ${head.store}`, 'Give the store of before with --store, or another folder with --spool.'),
    code: 'SPOOL_OF_OTHER_STORE',
  }
}

async function lockIsHeld(folder: string): Promise<boolean> {
  if (spoolPathExcessBytes(folder) > 0) return false
  try {
    return await isSpoolLocked(folder)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
}

function waiting(folder: string): Finding {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return ok('free')
    throw error
  }
  const aside = names.filter((name) => /^set-aside-.*\.log$/.test(name))
  if (aside.length > 0)
    return warning(
      `${aside.length} session${aside.length === 1 ? ' was' : 's were'} set aside: ${aside[0]}`,
      'The store did not take them: see docs/operating.md, “The spool”, and run `steno verify --all`.',
    )
  const bytes = names
    .filter((name) => /^spool-\d+-\d+\.log$/.test(name))
    .reduce((sum, name) => sum + (statSync(path.join(folder, name), { throwIfNoEntry: false })?.size ?? 0), 0)
  if (bytes > 0)
    return warning(
      `free, and ${shownBytes(bytes)} wait to be stored`,
      'Start a proxy with this --spool and this --store: it stores them first.',
    )
  return ok('free')
}
