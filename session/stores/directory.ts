/**
 * A store in a folder of a local or mounted file system.
 *
 * An object is written to `.tmp/`, synced, and then linked to its name: link(2) fails when the name is taken, so
 * nothing is ever overwritten and a reader sees all of an object or nothing. Then the folders are synced.
 * Objects have mode 0440 and folders 0750 (less the umask): readable by the group, written by nobody again.
 * Holds one folder's names at a time while it lists. Whoever may write to the folder can change what is in it; that is
 * what the ledger and `verify` are for.
 */
import { randomBytes } from 'node:crypto'
import { constants, type Dirent } from 'node:fs'
import { link, lstat, mkdir, open, readdir, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { checkKey, checkPrefix } from './keys.ts'
import { StoreUnavailable, type ObjectInformation, type Store } from './store.ts'

const objectMode = 0o440
const folderMode = 0o750
const temporaryFolder = '.tmp'
/** Names at the store's root that are not the store's: its own work folder, and what ext4 makes on each volume. */
const hiddenAtRoot = [temporaryFolder, 'lost+found']
/** A put takes seconds; what is older was left by a process that was killed. Age, because pids of other containers mean nothing here. */
const staleMilliseconds = 15 * 60 * 1000
const foldersKnownMax = 10_000
/** Neither follow a link out of the store nor wait for a pipe's writer. */
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The calls that can fail for want of space or rights; tests replace them. */
export type DirectoryFiles = { readonly open: typeof open; readonly link: typeof link; readonly mkdir: typeof mkdir }

export function openDirectoryStore(folder: string, files: DirectoryFiles = { open, link, mkdir }): Store {
  const root = resolve(folder)
  const url = pathToFileURL(root).href
  const knownFolders = new Set<string>()
  let prepared: Promise<void> | null = null

  const pathOf = (key: string): string => {
    checkKey(key)
    return join(root, ...key.split('/'))
  }

  /** Makes `path` and its parents, and makes their names survive a crash of the machine. */
  async function makeFolder(path: string): Promise<void> {
    if (knownFolders.has(path)) return
    const first = await files.mkdir(path, { recursive: true, mode: folderMode })
    // Each folder from the first that was made on has its name in its parent.
    if (first !== undefined) for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
    if (knownFolders.size >= foldersKnownMax) knownFolders.clear()
    knownFolders.add(path)
  }

  async function syncFolder(path: string): Promise<void> {
    const handle = await files.open(path, constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  function forgetFolders(): void {
    prepared = null
    knownFolders.clear()
  }

  async function prepare(): Promise<void> {
    const temporary = join(root, temporaryFolder)
    await makeFolder(temporary)
    for (const name of await readdir(temporary)) {
      const status = await lstat(join(temporary, name)).catch(unlessMissing)
      if (status !== null && Date.now() - status.mtimeMs > staleMilliseconds) await unlink(join(temporary, name)).catch(unlessMissing)
    }
  }

  async function put(path: string, bytes: Buffer): Promise<'stored' | 'exists'> {
    // Once per store; a failure is not kept, so that the next put tries again.
    prepared ??= prepare()
    await prepared.catch((error: unknown) => {
      prepared = null
      throw error
    })
    // Spares writing the bytes in the usual case of a repeated put; link(2) decides.
    if ((await lstat(path).catch(unlessMissing)) !== null) return 'exists'
    const temporary = join(root, temporaryFolder, `${process.pid}-${randomBytes(9).toString('hex')}`)
    const handle = await files.open(temporary, 'wx', objectMode).catch((error: unknown) => {
      // Somebody emptied the store's folder: the next try makes all of it again.
      if (isMissing(error)) forgetFolders()
      throw error
    })
    try {
      try {
        await handle.writeFile(bytes)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await makeFolder(dirname(path))
      try {
        await files.link(temporary, path)
      } catch (error) {
        if (systemCodeOf(error) === 'EEXIST') return 'exists'
        // Somebody removed an empty folder: the next try makes it again.
        if (isMissing(error)) forgetFolders()
        throw error
      }
    } finally {
      await unlink(temporary).catch(unlessMissing)
    }
    await syncFolder(dirname(path))
    return 'stored'
  }

  async function read<T>(key: string, use: (handle: FileHandle, bytes: number) => Promise<T>): Promise<T | null> {
    const path = pathOf(key)
    try {
      const handle = await files.open(path, readFlags).catch(unlessMissing)
      if (handle === null) return null
      try {
        const status = await handle.stat()
        return status.isFile() ? await use(handle, status.size) : null
      } finally {
        await handle.close()
      }
    } catch (error) {
      throw unavailable(`cannot read ${key}`, error)
    }
  }

  async function entriesOf(path: string): Promise<Dirent[]> {
    try {
      const entries = await readdir(path, { withFileTypes: true })
      return path === root ? entries.filter((entry) => !hiddenAtRoot.includes(entry.name)) : entries
    } catch (error) {
      if (isMissing(error)) return []
      throw unavailable('cannot list a folder of the store', error)
    }
  }

  async function* walk(path: string, key: string, startsWith: string): AsyncGenerator<ObjectInformation> {
    // A folder sorts as its name with the slash that follows in its objects' keys.
    const named = (await entriesOf(path)).map((entry) => ({
      entry,
      sorts: Buffer.from(entry.isDirectory() ? `${entry.name}/` : entry.name),
    }))
    for (const { entry } of named.sort((a, b) => Buffer.compare(a.sorts, b.sorts))) {
      const inner = entry.isDirectory() ? `${key}${entry.name}/` : key + entry.name
      if (!inner.startsWith(startsWith) && !startsWith.startsWith(inner)) continue
      const at = join(path, entry.name)
      if (entry.isDirectory()) yield* walk(at, inner, startsWith)
      else if (inner.startsWith(startsWith)) {
        // Links and pipes are shown too, so that whoever audits the store sees them.
        const status = entry.isFile() ? await lstat(at).catch(unlessMissing) : null
        yield { key: inner, bytes: status?.size ?? 0 }
      }
    }
  }

  function unavailable(what: string, error: unknown): unknown {
    return error instanceof StoreUnavailable
      ? error
      : new StoreUnavailable(`${what} in ${url}: ${messageOf(error)}`, remedyFor(error), error, {
          isFull: ['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? ''),
        })
  }

  return {
    url,
    async putIfAbsent(key, bytes) {
      const path = pathOf(key)
      try {
        return await put(path, bytes)
      } catch (error) {
        throw unavailable(`cannot store ${key}`, error)
      }
    },
    get: (key) => read(key, async (handle) => handle.readFile()),
    range: (key, start, end) =>
      read(key, async (handle, bytes) => {
        const length = Math.max(0, Math.min(end, bytes) - start)
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, start)
        return buffer.subarray(0, bytesRead)
      }),
    head: (key) => read(key, (_, bytes) => Promise.resolve({ key, bytes })),
    list(prefix) {
      checkPrefix(prefix)
      const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1)
      return walk(join(root, ...parent.split('/')), parent, prefix)
    },
    async folders(prefix) {
      checkPrefix(prefix)
      const entries = await entriesOf(join(root, ...prefix.split('/')))
      return entries
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
        .sort()
    },
    async delete(key) {
      const path = pathOf(key)
      try {
        await unlink(path)
        await syncFolder(dirname(path))
      } catch (error) {
        if (!isMissing(error)) throw unavailable(`cannot delete ${key}`, error)
      }
    },
  }
}

/** ENOTDIR: a file stands where a folder would have to be. ELOOP: the name is a symbolic link, which is no object. */
function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCodeOf(error) ?? '')
}

function unlessMissing(error: unknown): null {
  if (isMissing(error)) return null
  throw error
}

function remedyFor(error: unknown): string {
  switch (systemCodeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'Free space on the file system, or raise the quota; what waits in the spool is stored afterwards.'
    case 'EACCES':
      return 'Give the user that steno runs as read and write access to the folder.'
    case 'EROFS':
      return 'Mount the file system for writing, or name another folder.'
    case 'EPERM':
    case 'ENOTSUP':
    case 'EMLINK':
      return `Use a file system with hard links (ext4, XFS, Btrfs, ZFS, NFS): they are what makes an object appear whole and only once.`
    case 'ENOTDIR':
    case 'EEXIST':
      return `Name a folder: a file stands where one of the folders of the path would have to be (${sep} separates them).`
    default:
      return 'Check that the folder exists on a healthy file system and can be written to.'
  }
}
