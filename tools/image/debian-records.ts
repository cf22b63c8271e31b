/**
 * What Debian's package manager wrote down of a system: which package and version a file belongs to.
 *
 * Reads dpkg's records below any folder that stands for a system. Of packages that are no libraries it knows nothing.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

export type DebianPackage = { readonly name: string; readonly version: string; readonly architecture: string }

/** Which Debian package each path belongs to, by the records of the system below `systemRoot`; null where there are none. */
export function debianPackagesOf(paths: readonly string[], systemRoot: string): (DebianPackage | null)[] {
  const records = join(systemRoot, 'var/lib/dpkg')
  if (!existsSync(join(records, 'status'))) return paths.map(() => null)
  const installed = new Map(
    readFileSync(join(records, 'status'), 'utf8')
      .split('\n\n')
      .flatMap((paragraph) => {
        const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(paragraph)?.[1] ?? ''
        const found = { name: field('Package'), version: field('Version'), architecture: field('Architecture') }
        return [
          [found.name, found],
          [`${found.name}:${found.architecture}`, found],
        ] as [string, DebianPackage][]
      }),
  )
  const owners = new Map<string, string>()
  for (const file of readdirSync(join(records, 'info')).filter((name) => /^lib.*\.list$/.test(name))) {
    for (const line of readFileSync(join(records, 'info', file), 'utf8').split('\n'))
      owners.set(merged(line), file.slice(0, -'.list'.length))
  }
  return paths.map((path) => installed.get(owners.get(merged(path)) ?? '') ?? null)
}

/** Since /lib became a link to /usr/lib, records and programs differ in how they call a file. */
function merged(path: string): string {
  return path.replace(/^\/usr\//, '/')
}
