/**
 * Finds the programs of others that tests, demo and benchmark use: the machine's own, else, on Debian and its kin, fetched on demand.
 *
 * Knows which package holds what and which variables an unpacked program needs; `debian-packages.ts` does the fetching.
 */
import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, realpathSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { KnownError } from '../base/errors.ts'
import { fetchPackages } from './debian-packages.ts'

/** `python3-psycopg` is a Python 3 that can `import psycopg`; the others are the programs of that name. */
export type ProgramName = 'psql' | 'pg_dump' | 'pg_restore' | 'pgbench' | 'python3-psycopg' | 'haproxy' | 'pgbouncer'

/** What to pass to `spawn`. `env` is whole: this process's own without its PG… variables, with what the program needs. */
export type Program = { readonly command: string; readonly env: NodeJS.ProcessEnv }

export type ProgramOptions = {
  /** Where fetched packages are kept; `.cache/debian` of the project unless told. */
  readonly cacheFolder?: string
  /** Where to look first, like PATH; the process's own unless told. */
  readonly path?: string
}

/** The machine has no such program, and no way is known to fetch it. */
export class ProgramMissing extends KnownError {
  readonly code = 'PROGRAM_MISSING'
  readonly safeToRetry = true
  readonly remedy: string
  constructor(name: ProgramName) {
    super(`${name} is not on PATH, and this machine is no Debian from which it could be fetched`)
    this.remedy = `Install ${packagesOf[name].join(' and ')} (or what your system calls it) so that it is on PATH.`
  }
}

const packagesOf: Record<ProgramName, readonly string[]> = {
  psql: ['postgresql-client'],
  pg_dump: ['postgresql-client'],
  pg_restore: ['postgresql-client'],
  pgbench: ['postgresql'], // Debian ships pgbench with the server.
  'python3-psycopg': ['python3', 'python3-psycopg'],
  haproxy: ['haproxy'],
  pgbouncer: ['pgbouncer'],
}

const projectCache = fileURLToPath(new URL('../.cache/debian', import.meta.url))
// Servers are often installed where an ordinary user's PATH does not reach.
const systemFolders = ['/usr/sbin', '/usr/local/sbin']

/** Throws ProgramMissing, PackagesNotFetched. */
export async function program(name: ProgramName, options: ProgramOptions = {}): Promise<Program> {
  const path = options.path ?? process.env['PATH'] ?? ''
  const found = name === 'python3-psycopg' ? await findPsycopg(path) : findProgram(name, path)
  if (found !== null) return { command: found, env: environment({}) }
  if (!canFetch()) throw new ProgramMissing(name)
  const packages = packagesOf[name]
  const root = await fetchPackages(packages.join('+'), packages, options.cacheFolder ?? projectCache)
  return unpackedProgram(name, root)
}

function findProgram(name: string, path: string): string | null {
  // An empty `path` option means: nowhere.
  const folders = path === '' ? [] : [...path.split(delimiter).filter((folder) => folder !== ''), ...systemFolders]
  for (const folder of folders) {
    const candidate = join(folder, name)
    if (!isExecutable(candidate)) continue
    // Debian's psql is a Perl script that chooses a cluster and alters the environment; what it would run is wanted.
    if (!realpathSync(candidate).endsWith('/pg_wrapper')) return candidate
    const real = newestPostgresProgram('/', name)
    if (real !== null) return real
  }
  return null
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false // Not there, or not for us: the search goes on.
  }
}

async function findPsycopg(path: string): Promise<string | null> {
  for (const folder of path.split(delimiter).filter((entry) => entry !== '')) {
    const candidate = join(folder, 'python3')
    if (!isExecutable(candidate)) continue
    try {
      await promisify(execFile)(candidate, ['-c', 'import psycopg'], { env: environment({}) })
      return candidate
    } catch {
      continue // A Python without psycopg; another one on PATH may have it.
    }
  }
  return null
}

function newestPostgresProgram(root: string, name: string): string | null {
  const folder = join(root, 'usr/lib/postgresql')
  if (!existsSync(folder)) return null
  const versions = readdirSync(folder).toSorted((left, right) => Number(right) - Number(left))
  return versions.map((version) => join(folder, version, 'bin', name)).find(isExecutable) ?? null
}

function canFetch(): boolean {
  return process.platform === 'linux' && existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb') && existsSync('/etc/apt')
}

function unpackedProgram(name: ProgramName, root: string): Program {
  const libraries = libraryFolders(root)
  if (name === 'python3-psycopg') {
    const home = join(root, 'usr')
    const python = { PYTHONHOME: home, PYTHONPATH: join(home, 'lib/python3/dist-packages'), PYTHONDONTWRITEBYTECODE: '1' }
    return { command: join(home, 'bin/python3'), env: environment({ ...libraries, ...python }) }
  }
  const inPlace = ['usr/sbin', 'usr/bin'].map((folder) => join(root, folder, name)).find(isExecutable)
  const command = newestPostgresProgram(root, name) ?? inPlace
  if (command === undefined) throw new ProgramMissing(name)
  return { command, env: environment(libraries) }
}

/** Libraries are in `lib` and `usr/lib`, and there below a folder named after the architecture, such as `x86_64-linux-gnu`. */
function libraryFolders(root: string): NodeJS.ProcessEnv {
  const parents = ['lib', 'usr/lib'].map((folder) => join(root, folder)).filter((folder) => existsSync(folder))
  const folders = parents.flatMap((parent) => [
    ...readdirSync(parent)
      .filter((entry) => entry.includes('-linux-gnu'))
      .map((entry) => join(parent, entry)),
    parent,
  ])
  return { LD_LIBRARY_PATH: folders.join(':') }
}

function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  // PGHOST, PGPASSWORD and their like would lead a test to somebody's real database.
  const own = Object.entries(process.env).filter(([key]) => !/^PG[A-Z]/.test(key))
  return { ...Object.fromEntries(own), ...more }
}
