/** Steno's own image, built as people build it, under a name that no registry has: `localhost/steno/steno` by its digest. */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildImage, readImageOptions } from '../../../tools/image/build.ts'

export type StenoImage = {
  readonly repository: string
  readonly digest: string
  /** `repository@digest` */
  readonly name: string
  readonly archive: string
}

/** `revision` is a label of the image: another one makes another digest of the same source, which is what an upgrade changes to. */
export async function buildStenoImage(revision: string | null = null): Promise<StenoImage> {
  const repository = 'localhost/steno/steno'
  const tag = revision ?? 'dev'
  const out = fileURLToPath(new URL(`../../../.cache/e2e-images/steno${revision === null ? '' : `-${revision}`}.tar`, import.meta.url))
  const label = revision === null ? [] : ['--revision', revision]
  const built = await buildImage(readImageOptions(['--name', `${repository}:${tag}`, '--name-by-digest', '--out', out, ...label]))
  mkdirSync(path.dirname(out), { recursive: true })
  writeFileSync(out, built.archive)
  return { repository, digest: built.digest, name: `${repository}@${built.digest}`, archive: out }
}
