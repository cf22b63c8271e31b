/**
 * Makes of steno's sources and packages the files of /app: `steno.js`, what it loads when it is needed, and what it starts by path.
 *
 * All files lie in one folder, so what a source names beside itself is named beside the bundle: `new URL('./worker.ts', import.meta.url)`
 * becomes an entry point of its own, other files are copied. A package that is loaded by `createRequire` is bundled into
 * /app/node_modules. A use of `import.meta` that fits none of these ends the build, and so does a package in CommonJS that is loaded by
 * `import()`: esbuild gives it a default export alone, where Node finds its names too. Optional packages stay out, and steno says so where it
 * needs one. The bytes depend on the sources and the lockfile alone.
 */
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { build, type BuildFailure, type BuildOptions, type Metafile, type Plugin } from 'esbuild'
import { KnownError } from '../../base/errors.ts'

export type BundledFile = { /** From /app. */ readonly path: string; readonly content: Buffer }
export type Bundle = {
  readonly files: readonly BundledFile[]
  /** The installed packages that are in it, as the lockfile calls them: `node_modules/…`; sorted. */
  readonly packagePaths: readonly string[]
  /** What of esbuild's own account tests ask: which files came of which sources, and import which others. */
  readonly outputs: Metafile['outputs']
}

/** A source does something that cannot work from a bundle. */
export class NotBundled extends KnownError {
  readonly code = 'NOT_BUNDLED'
  readonly remedy =
    "In the source, name other files as new URL('./literal', import.meta.url) or by import(), and import packages statically in a module that is itself loaded by import(); the head of tools/image/bundle.ts says what is understood."
  readonly safeToRetry = true
}

/** What the sources name beside imports, found while they are read. */
type Named = {
  /** Source to name of the file that it becomes. */
  readonly entries: Map<string, string>
  readonly copied: Map<string, string>
  readonly requiredPackages: Set<string>
}

const mainEntry = { source: 'cli/main.ts', name: 'steno' }
// Packages in CommonJS ask for Node's modules by `require`, which a module does not have.
const requireForModules = "import{createRequire as stenoRequire}from'node:module';const require=stenoRequire(import.meta.url);"

/** @param folder the project's, with its packages installed. @throws NotBundled */
export async function bundleSteno(folder: string): Promise<Bundle> {
  const optional = Object.keys(readPackage(folder).optionalDependencies)
  const named: Named = { entries: new Map(), copied: new Map(), requiredPackages: new Set() }
  const main = join(folder, mainEntry.source)
  let outcome = await bundleEntries(folder, new Map([[main, mainEntry.name]]), optional, named)
  // What a source starts is known when it was read, and may itself start more.
  for (let known = 0; known < named.entries.size;) {
    known = named.entries.size
    outcome = await bundleEntries(folder, new Map([[main, mainEntry.name], ...named.entries]), optional, named)
  }
  const required = await bundleRequiredPackages(folder, [...named.requiredPackages].sort(), optional)
  const files = [
    ...outcome.files,
    ...required.files,
    ...[...named.copied].map(([source, path]) => ({ path, content: readFileSync(source) })),
    {
      path: 'package.json',
      content: Buffer.from(`${JSON.stringify({ name: 'steno', version: readPackage(folder).version, type: 'module' })}\n`),
    },
  ]
  return {
    files: files.sort((one, other) => (one.path < other.path ? -1 : 1)),
    packagePaths: [...new Set([outcome, ...required.parts].flatMap(({ metafile }) => packagePathsOf(metafile)))].sort(),
    outputs: outcome.metafile.outputs,
  }
}

type Manifest = { readonly version: string; readonly optionalDependencies: Readonly<Record<string, string>> }
const readPackage = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

type Outcome = { readonly files: BundledFile[]; readonly metafile: Metafile }

async function bundleEntries(
  folder: string,
  entries: ReadonlyMap<string, string>,
  optional: readonly string[],
  named: Named,
): Promise<Outcome> {
  return runEsbuild(folder, {
    entryPoints: Object.fromEntries([...entries].map(([source, name]) => [name, source])),
    external: [...optional],
    format: 'esm',
    splitting: true,
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    banner: { js: requireForModules },
    // In a bundle a module may become part of the file that Node was started with; only that file's own code is the main module.
    define: { 'import.meta.main': 'false' },
    plugins: [renameBesideFiles(folder, named)],
  })
}

async function bundleRequiredPackages(
  folder: string,
  names: readonly string[],
  optional: readonly string[],
): Promise<{ files: BundledFile[]; parts: Outcome[] }> {
  const parts = await Promise.all(
    names.map(async (name) => {
      const inFolder = `node_modules/${name}`
      // Asked for by `require`, a package may give something else than by `import`.
      const stdin = { contents: `module.exports=require(${JSON.stringify(name)})`, resolveDir: folder, sourcefile: `${name}.cjs` }
      const { files, metafile } = await runEsbuild(folder, { stdin, external: [...optional], format: 'cjs' })
      const manifest = Buffer.from(`${JSON.stringify({ name, main: 'index.cjs' })}\n`)
      const content = files[0]?.content ?? Buffer.alloc(0)
      return {
        files: [
          { path: `${inFolder}/index.cjs`, content },
          { path: `${inFolder}/package.json`, content: manifest },
        ],
        metafile,
      }
    }),
  )
  return { files: parts.flatMap(({ files }) => files), parts }
}

async function runEsbuild(folder: string, options: BuildOptions): Promise<Outcome> {
  const outdir = join(folder, 'app') // Nothing is written; the outputs' paths begin with it.
  const result = await build({
    ...{ absWorkingDir: folder, outdir, write: false, metafile: true, logLevel: 'silent' },
    ...{ bundle: true, platform: 'node', target: 'node24', charset: 'utf8', preserveSymlinks: true },
    // Names stay, so that a stack trace can be read; licences are in a file of their own.
    ...{ minifyWhitespace: true, minifySyntax: true, legalComments: 'none' },
    ...options,
  }).catch((error: unknown) => {
    throw faultOf(error)
  })
  const files = (result.outputFiles ?? []).map(({ path, contents }) => ({ path: relative(outdir, path), content: Buffer.from(contents) }))
  const metafile = result.metafile!
  refuseNamelessImports(metafile)
  return { files, metafile }
}

/** @throws NotBundled for an `import()` that is given less by the bundle than by Node: its names are missing only when it is reached. */
function refuseNamelessImports({ inputs }: Metafile): void {
  for (const [source, { imports }] of Object.entries(inputs))
    for (const { kind, path, original } of imports)
      if (kind === 'dynamic-import' && inputs[path]?.format === 'cjs')
        throw new NotBundled(`${source} loads ${original ?? path} by import(), and that is CommonJS: in the bundle it would have no names`)
}

/** esbuild wraps what a plugin throws; of its own errors the first says enough. */
function faultOf(error: unknown): unknown {
  const [first] = error instanceof Error && 'errors' in error ? (error as BuildFailure).errors : []
  if (first === undefined) return error
  if (first.detail instanceof KnownError) return first.detail
  const { location } = first
  return new NotBundled(location === null ? first.text : `${location.file}:${location.line}: ${first.text}`, { cause: error })
}

const besidePattern = /\bnew URL\(\s*(['"`])([^'"`$]+)\1\s*,\s*import\.meta\.url\s*,?\s*\)/g
const requirePattern = /\bcreateRequire\(import\.meta\.url\)\(\s*(['"`])([^'"`$]+)\1\s*\)/g

/** Rewrites what steno's own sources name beside themselves, and takes note of it. */
function renameBesideFiles(folder: string, named: Named): Plugin {
  return {
    name: 'steno-beside',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (relative(folder, path).startsWith('node_modules')) return undefined
        return { contents: renamed(readFileSync(path, 'utf8'), path, folder, named), loader: 'ts' }
      })
    },
  }
}

function renamed(source: string, path: string, folder: string, named: Named): string {
  let unexplained = source
  for (const [whole, , packageName = ''] of source.matchAll(requirePattern)) {
    named.requiredPackages.add(packageName)
    unexplained = unexplained.replace(whole, '')
  }
  const rewritten = source.replaceAll(besidePattern, (whole: string, _quote: string, specifier: string) => {
    unexplained = unexplained.replace(whole, '')
    const target = resolve(dirname(path), specifier)
    if (!existsSync(target)) throw new NotBundled(`${relative(folder, path)} names ${specifier}, which is not there`)
    return `new URL('./${nameInBundle(target, folder, named)}', import.meta.url)`
  })
  if (/\bimport\.meta\.(url|dirname|filename|resolve)\b/.test(unexplained))
    throw new NotBundled(`${relative(folder, path)} uses import.meta in a way that the bundle does not understand`)
  return rewritten
}

function nameInBundle(target: string, folder: string, named: Named): string {
  const flat = relative(folder, target).replaceAll('/', '-')
  if (!target.endsWith('.ts')) {
    named.copied.set(target, flat)
    return flat
  }
  const name = basename(flat, '.ts')
  named.entries.set(target, name)
  return `${name}.js`
}

/** Only packages of which something is left in the output. */
function packagePathsOf({ outputs }: Metafile): string[] {
  return Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => {
      const [packagePath] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []
      return packagePath === undefined || bytesInOutput === 0 ? [] : [packagePath]
    }),
  )
}
