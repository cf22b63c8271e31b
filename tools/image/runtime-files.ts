/**
 * What the image has beside steno itself: Node, the shared libraries that it loads, certificates of public authorities, and the few files
 * that the C library reads. No shell, no package manager, nothing that runs but Node.
 *
 * Node comes from its npm package, the libraries from the building system or from a folder that stands for one. The certificates are the
 * list that this Node was built with (Mozilla's), so they do not depend on the building system either.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import tls from 'node:tls'
import { KnownError } from '../../base/errors.ts'
import { librariesOf, type Processor } from './shared-libraries.ts'
import type { ArchiveEntry } from './tar.ts'

/** The user that everything of steno's runs as, in the image and in agents' pods. */
export const stenoUser = 64_242
export const nodePath = 'usr/local/bin/node'
export const homePath = 'var/lib/steno'

/** There is no Node for the image. */
export class NodeForImageMissing extends KnownError {
  readonly code = 'NODE_FOR_IMAGE_MISSING'
  readonly remedy = 'Run `make setup` on a machine of that processor, or name a folder that holds bin/node with --node-package.'
  readonly safeToRetry = true
}

export type RuntimeFiles = {
  readonly entries: readonly ArchiveEntry[]
  readonly nodeVersion: string
  /** Paths from the root of the system that they came from. */
  readonly libraries: readonly string[]
}

/** @throws NodeForImageMissing, LibraryUnusable */
export function runtimeFiles({
  nodePackage,
  processor,
  systemRoot,
}: {
  nodePackage: string
  processor: Processor
  systemRoot: string
}): RuntimeFiles {
  const node = join(nodePackage, 'bin/node')
  if (!existsSync(node)) throw new NodeForImageMissing(`there is no ${node}`)
  const libraries = librariesOf(node, processor, systemRoot)
  const { version } = JSON.parse(readFileSync(join(nodePackage, 'package.json'), 'utf8')) as { version: string }
  return {
    nodeVersion: version,
    libraries,
    entries: [
      { kind: 'file', path: nodePath, mode: 0o755, content: readFileSync(node) },
      ...libraries.map((path): ArchiveEntry => ({
        kind: 'file',
        path: path.slice(1),
        mode: 0o755,
        content: readFileSync(join(systemRoot, path)),
      })),
      text('etc/ssl/certs/ca-certificates.crt', `${tls.rootCertificates.join('\n')}\n`),
      text('etc/passwd', `root:x:0:0:root:/:/sbin/nologin\nsteno:x:${stenoUser}:${stenoUser}:steno:/${homePath}:/sbin/nologin\n`),
      text('etc/group', `root:x:0:\nsteno:x:${stenoUser}:\n`),
      // Names of the pod and of /etc/hosts before those of the network, as other systems do it.
      text('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
      { kind: 'folder', path: 'tmp', mode: 0o1777 },
      { kind: 'folder', path: homePath, mode: 0o700, owner: stenoUser },
    ],
  }
}

function text(path: string, content: string): ArchiveEntry {
  return { kind: 'file', path, mode: 0o644, content: Buffer.from(content) }
}
