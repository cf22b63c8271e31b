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

export async function buildStenoImage(): Promise<StenoImage> {
  const repository = 'localhost/steno/steno'
  const out = fileURLToPath(new URL('../../../.cache/e2e-images/steno.tar', import.meta.url))
  const built = await buildImage(readImageOptions(['--name', `${repository}:dev`, '--name-by-digest', '--out', out]))
  mkdirSync(path.dirname(out), { recursive: true })
  writeFileSync(out, built.archive)
  return { repository, digest: built.digest, name: `${repository}@${built.digest}`, archive: out }
}
