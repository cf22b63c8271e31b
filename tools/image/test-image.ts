/**
 * For tests: copies of steno's sources in other folders, and an image that runs without a container engine.
 *
 * The archive is unpacked by `tar`, layer upon layer, and its entry point runs in the unpacked folder by chroot: as the image's own user
 * when the test is root's, else as root of a user namespace. Knows nothing of capabilities, seccomp and a read-only root; a cluster does.
 */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stenoUser } from './runtime-files.ts'

export const project = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const parts = [
  'base',
  'cli',
  'cluster',
  'crds',
  'injection',
  'policy',
  'postgres',
  'relay',
  'session',
  'sidecar',
  'webhook',
  'LICENSE',
  'package.json',
  'package-lock.json',
]

export type Folder = Disposable & { readonly path: string }

export function temporaryFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'steno-image-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** What of the project at `from` becomes part of an image, copied to `to`; the packages stay where they are. */
export function copySources(from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const part of parts) if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true })
  symlinkSync(join(project, 'node_modules'), join(to, 'node_modules'))
}

type Config = { readonly config: { readonly Entrypoint: string[]; readonly Env: string[]; readonly User: string } }
type Manifest = { readonly config: { readonly digest: string }; readonly layers: readonly { readonly digest: string }[] }

export type UnpackedImage = {
  readonly root: string
  readonly config: Config['config']
  /** Starts the entry point with `args`; the caller ends it. */
  start(args: readonly string[], environment?: Readonly<Record<string, string>>): ChildProcessWithoutNullStreams
  run(
    args: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }>
}

/** @param archive an OCI archive's path */
export function unpackImage(archive: string, folder: string): UnpackedImage {
  const layout = join(folder, 'layout')
  const root = join(folder, 'root')
  for (const path of [layout, root]) mkdirSync(path)
  execFileSync('tar', ['-xf', archive, '-C', layout])
  const blob = (digest: string): string => join(layout, 'blobs', digest.replace(':', '/'))
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0]?.digest ?? ''), 'utf8')) as Manifest
  for (const { digest } of manifest.layers) execFileSync('tar', ['-xf', blob(digest), '-C', root, '--numeric-owner'])
  const { config } = JSON.parse(readFileSync(blob(manifest.config.digest), 'utf8')) as Config
  const isRoot = process.getuid?.() === 0
  const into = isRoot ? ['chroot', `--userspec=${stenoUser}:${stenoUser}`, root] : ['unshare', '--map-root-user', `--root=${root}`]

  function start(args: readonly string[], environment: Readonly<Record<string, string>> = {}): ChildProcessWithoutNullStreams {
    const [command = '', ...rest] = [...into, ...config.Entrypoint, ...args]
    const own = Object.fromEntries(config.Env.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))
    return spawn(existsSync(`/usr/sbin/${command}`) ? `/usr/sbin/${command}` : `/usr/bin/${command}`, rest, {
      env: { ...own, ...environment },
    })
  }
  return {
    root,
    config,
    start,
    async run(args, environment) {
      const child = start(args, environment)
      const texts = { stdout: '', stderr: '' }
      child.stdout.setEncoding('utf8').on('data', (text: string) => (texts.stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text: string) => (texts.stderr += text))
      child.stdin.end()
      const [code] = (await once(child, 'close')) as [number | null]
      return { code, ...texts }
    },
  }
}
