/**
 * Fetches Debian packages into a folder of the project, without root and without touching the system.
 *
 * apt runs with a configuration, package lists and status file of our own below `.cache/debian/`; the mirrors, keys and proxies are the
 * system's. Packages are unpacked, not installed: their maintainer scripts never run. One process fetches at a time, others wait for it.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { KnownError, messageOf, systemCodeOf } from '../base/errors.ts'

const run = promisify(execFile)
const listsFreshMilliseconds = 6 * 3_600_000
const outputBytesMax = 16 * 1024 * 1024

// Of all that a program depends on, what it loads when it runs. The C library must be the one of the system's own loader.
const neededPackage = /^(lib.+|python3.*|postgresql(-client)?-\d+|haproxy|pgbouncer|ceph-.+|radosgw)$/
const unneededPackage = /^(libc6|libc-(bin|l10n|dev).*|libgcc-s\d|libstdc\+\+\d|libllvm.*|libz3.*|libperl.*|lib.+-perl|libpam-modules.*)$/

/** apt could not provide what was asked for. */
export class PackagesNotFetched extends KnownError {
  readonly code = 'PACKAGES_NOT_FETCHED'
  readonly remedy = 'Check that a Debian mirror can be reached, or install the program with the system’s package manager and try again.'
  readonly safeToRetry = true
}

/** The folder that stands for `/` of these packages and all they need. Fetched once; `cacheFolder` is made when it is missing. */
export async function fetchPackages(name: string, packages: readonly string[], cacheFolder: string): Promise<string> {
  const root = join(cacheFolder, name)
  if (existsSync(root)) return root
  await mkdir(cacheFolder, { recursive: true })
  const lock = await takeLock(join(cacheFolder, 'lock'))
  try {
    if (existsSync(root)) return root // The process that held the lock before fetched it.
    await fetchInto(root, { name, packages, cacheFolder })
    return root
  } catch (error) {
    if (error instanceof KnownError) throw error
    throw new PackagesNotFetched(`cannot fetch ${packages.join(', ')}: ${describe(error)}`, { cause: error })
  } finally {
    await lock.release()
  }
}

function describe(error: unknown): string {
  const printed = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
  return printed || messageOf(error)
}

/** A lock that the kernel gives up when this process ends: a child holds it until its standard input closes. */
async function takeLock(file: string): Promise<{ release(): Promise<void> }> {
  const holder = spawn('flock', [file, 'sh', '-c', 'echo locked; cat'], { env: systemEnvironment(), stdio: ['pipe', 'pipe', 'inherit'] })
  await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]) // An error event rejects both.
  if (holder.exitCode !== null) throw new PackagesNotFetched('cannot lock the package cache')
  return {
    async release() {
      const ended = once(holder, 'exit')
      holder.stdin.end()
      await ended
    },
  }
}

/** apt and dpkg are in the usual places even when PATH is short; without the user's settings for them. */
function systemEnvironment(): NodeJS.ProcessEnv {
  return {
    PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`,
    LC_ALL: 'C',
    HOME: '/nonexistent',
    DEBIAN_FRONTEND: 'noninteractive',
  }
}

type Fetch = { readonly name: string; readonly packages: readonly string[]; readonly cacheFolder: string }

async function fetchInto(root: string, { name, packages, cacheFolder }: Fetch): Promise<void> {
  process.stderr.write(`steno tools: fetching ${packages.join(', ')} from the Debian mirror into ${root}\n`)
  const environment = { ...systemEnvironment(), APT_CONFIG: await configureApt(join(cacheFolder, 'apt')) }
  const apt = (args: readonly string[], cwd = cacheFolder) => run('apt-get', args, { cwd, env: environment, maxBuffer: outputBytesMax })
  await updateLists(apt, join(cacheFolder, 'apt', 'lists'))
  const { stdout } = await apt(['install', '--simulate', '-qq', '--no-install-recommends', ...packages])
  const wanted = [...stdout.matchAll(/^Inst (\S+)/gm)].flatMap(([, found = '']) => (isNeeded(found) ? [found] : []))
  const work = await mkdtemp(join(cacheFolder, `${name}.part-`))
  try {
    const archives = join(work, 'archives')
    const unpacked = join(work, 'root')
    await mkdir(archives)
    await mkdir(unpacked)
    await apt(['download', '-qq', ...wanted], archives)
    const files = await readdir(archives)
    for (const [index, file] of files.entries()) {
      await run('dpkg-deb', ['--extract', join(archives, file), unpacked], { env: environment })
      if (process.stderr.isTTY) process.stderr.write(`\rsteno tools: unpacked ${index + 1} of ${files.length} packages `)
    }
    if (process.stderr.isTTY) process.stderr.write('\n')
    await rename(unpacked, root)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

function isNeeded(packageName: string): boolean {
  return neededPackage.test(packageName) && !unneededPackage.test(packageName)
}

/** Writes apt's configuration for `folder` and returns its path. */
async function configureApt(folder: string): Promise<string> {
  const sources = join(folder, 'sources')
  await rm(sources, { recursive: true, force: true })
  for (const made of ['state', 'cache', 'lists/partial', 'sources', 'parts']) await mkdir(join(folder, made), { recursive: true })
  // With an empty status everything counts as missing, so the answer does not depend on what this machine has.
  await writeFile(join(folder, 'status'), '')
  await copySources(sources)
  // Proxies and certificates are the machine's business. Hooks are not copied: some of them write to the system.
  const { stdout: acquire } = await run('apt-config', ['dump', 'Acquire'], { env: systemEnvironment(), maxBuffer: outputBytesMax })
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::parts': join(folder, 'parts'),
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': sources,
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
    'Acquire::http::Timeout': '20',
    'Acquire::https::Timeout': '20',
    'APT::Sandbox::User': 'root', // Another user could not write below our folder; only the owner's rights are used.
    'APT::Install-Recommends': 'false',
  }
  const file = join(folder, 'apt.conf')
  const lines = Object.entries(settings).map(([key, value]) => `${key} "${value}";`)
  await writeFile(file, `${acquire}\n${lines.join('\n')}\n`)
  return file
}

/** Copies the source files that name this release, so that other vendors' repositories, often unreachable, are not asked. */
async function copySources(target: string): Promise<void> {
  const release = /^VERSION_CODENAME="?([^"\n]+)/m.exec(await readFile('/etc/os-release', 'utf8'))?.[1] ?? ''
  const folder = '/etc/apt/sources.list.d'
  const listed = existsSync(folder) ? (await readdir(folder)).map((file) => ({ file, path: join(folder, file) })) : []
  const candidates = [{ file: 'main.list', path: '/etc/apt/sources.list' }, ...listed].filter(({ file }) => /\.(list|sources)$/.test(file))
  const chosen: typeof candidates = []
  for (const candidate of candidates) {
    try {
      if ((await readFile(candidate.path, 'utf8')).split(/\s+/).includes(release)) chosen.push(candidate)
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' && systemCodeOf(error) !== 'EACCES') throw error
    }
  }
  if (chosen.length === 0) throw new PackagesNotFetched(`no apt source of this machine names its release "${release}"`)
  for (const { file, path } of chosen) await copyFile(path, join(target, file))
}

async function updateLists(apt: (args: readonly string[]) => Promise<unknown>, lists: string): Promise<void> {
  const stamp = join(lists, 'steno-updated')
  if (existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < listsFreshMilliseconds) return
  await apt(['update', '-qq'])
  await writeFile(stamp, '')
}
