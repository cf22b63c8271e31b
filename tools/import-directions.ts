/**
 * The architecture as rules: which folder may import which, who may open sockets, and where packages may come from.
 *
 * Reads the source as text: static imports and re-exports, `import('…')`, and `new URL('….ts', import.meta.url)`, by which workers and
 * programs are started. Knows nothing of what an import is used for; types count like values.
 */
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'

/** For each folder with code, the folders it may import besides itself. Tests may also import `tools`. */
const directions: Readonly<Record<string, readonly string[]>> = {
  base: [],
  postgres: ['base'],
  mysql: ['base'],
  session: ['base'],
  crds: ['base'],
  policy: ['base', 'postgres', 'mysql', 'session', 'crds'],
  injection: ['base', 'postgres', 'crds'],
  cluster: ['base', 'crds'],
  sidecar: ['base', 'postgres', 'mysql', 'session', 'crds', 'policy'],
  relay: ['base', 'crds', 'injection', 'cluster'],
  webhook: ['base', 'postgres', 'mysql', 'session', 'crds', 'policy', 'injection', 'cluster'],
  cli: ['base', 'postgres', 'mysql', 'session', 'crds', 'policy', 'injection', 'cluster'],
  tools: ['base'],
  bin: [],
}

/** Folders that look at the whole from outside. */
const outside = ['e2e', 'examples', 'bench', 'docs']

/** The one step over the walls: `cli` may start these. */
const startedByCli = ['sidecar/main.ts', 'relay/main.ts', 'webhook/main.ts']

/** Code here runs over recordings as well as live, so it takes bytes, never sockets. */
const socketless = ['postgres', 'mysql', 'policy', 'session', 'crds', 'injection']
const socketModules = ['node:net', 'node:tls', 'node:http', 'node:https', 'node:http2', 'node:dgram']

const otherFolders = ['charts', '.ci', '.git', '.github']
const ignoredFolders = ['node_modules', '.cache', 'dist', 'coverage']

export const topLevelFolders: readonly string[] = [...Object.keys(directions), ...outside, ...otherFolders, ...ignoredFolders]

const patterns = [
  /^import\s+(?:type\s+)?[\w$*{}\s,]+?\sfrom\s+['"]([^'"]+)['"]/gm,
  /^import\s+['"]([^'"]+)['"]/gm,
  /^export\s+(?:type\s+)?(?:\*(?:\s+as\s+[\w$]+)?|\{[^}]*\})\s+from\s+['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"`]([^'"`]+)['"`]/g,
]
const startPattern = /\bnew URL\(\s*['"`](?:\.\/)?([^'"`]+\.ts)['"`]\s*,\s*import\.meta\.url/g

/** Every specifier that `source` imports, in no particular order. */
export function importsOf(source: string): string[] {
  const imported = patterns.flatMap((pattern) => [...source.matchAll(pattern)].map(([, specifier = '']) => specifier))
  // Beside `import.meta.url`, `worker.ts` means `./worker.ts`.
  const started = [...source.matchAll(startPattern)].map(([, path = '']) => (path.startsWith('.') ? path : `./${path}`))
  return [...imported, ...started]
}

/** The names of packages in package.json. */
export type Packages = {
  readonly production: readonly string[]
  readonly development: readonly string[]
  /** May be missing where steno runs: named by types, and loaded by `import()` when it is needed. */
  readonly optional: readonly string[]
}

/** What is wrong with the imports of `file` (its path from the project's folder, with slashes), one sentence each. */
export function faultsOf(file: string, source: string, packages: Packages): string[] {
  const folder = folderOf(file)
  const isTest = isTestFile(file)
  const isProduct = !isTest && folder !== 'tools' && !outside.includes(folder)
  const faults = importsOf(source).flatMap((specifier) => {
    const fault = specifier.startsWith('.')
      ? faultOfPath(file, posix.join(posix.dirname(file), specifier))
      : faultOfPackage(file, specifier, packages, { isProduct, isNeeded: isNeeded(source, specifier) })
    return fault === null ? [] : [`${file} imports ${specifier}: ${fault}`]
  })
  if (isProduct && /\bimport\(\s*[^'"`\s]/.test(source))
    faults.push(`${file} imports what only a running program knows; this test cannot judge it`)
  return faults
}

function folderOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '.'
}

/** Tests, and what only tests use: `x.test.ts`, `test-x.ts`, `x-for-tests.ts`. */
function isTestFile(file: string): boolean {
  return /(\.test|-for-tests)\.ts$/.test(file) || posix.basename(file).startsWith('test-')
}

function faultOfPath(file: string, target: string): string | null {
  const from = folderOf(file)
  const to = folderOf(target)
  if (outside.includes(from) || target === 'package.json') return null
  if (isTestFile(file) && to === 'tools') return null
  if (isTestFile(target) && !isTestFile(file)) return 'it is there for tests'
  if (from === to) return null
  if (from === 'cli' && startedByCli.includes(target)) return null
  const allowed = directions[from]
  if (allowed === undefined) return `${from} is no folder of the architecture`
  return allowed.includes(to) ? null : `${from} may import ${allowed.join(', ') || 'nothing'}, not ${to}`
}

/** True when the file cannot be loaded without the package. */
function isNeeded(source: string, specifier: string): boolean {
  const quoted = specifier.replace(/[^\w]/g, '\\$&')
  return new RegExp(`^(?:import|export)\\s+(?!type\\s)(?:[^'"\\n;]*\\sfrom\\s+)?['"]${quoted}['"]`, 'm').test(source)
}

function faultOfPackage(
  file: string,
  specifier: string,
  packages: Packages,
  { isProduct, isNeeded: needed }: { readonly isProduct: boolean; readonly isNeeded: boolean },
): string | null {
  if (isBuiltin(specifier)) {
    if (!specifier.startsWith('node:')) return `write node:${specifier}`
    const opensSockets = socketModules.includes(specifier) && isProduct
    if (opensSockets && socketless.includes(folderOf(file)) && !file.startsWith('session/stores/'))
      return `${folderOf(file)} opens no sockets`
    return null
  }
  const parts = specifier.split('/')
  const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? specifier)
  if (packages.production.includes(name)) return null
  if (packages.optional.includes(name)) return isProduct && needed ? 'it is an optional dependency: load it by import()' : null
  if (!packages.development.includes(name)) return 'package.json does not list it'
  return isProduct ? 'it is a development dependency' : null
}
