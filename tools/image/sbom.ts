/**
 * The bill of materials of an image, as CycloneDX 1.5 JSON: each npm package that is in the bundle, Node, and each shared library.
 *
 * Made from the lockfile and from what was really put in, so that scanners find known vulnerabilities by package URL. Holds no time and
 * no random number: the same image has the same bill. Of libraries it knows the Debian package where the system they came from has
 * Debian's records; elsewhere only their digests.
 *
 * Source: CycloneDX 1.5 (ECMA-424), Package URL specification.
 */
import { createHash } from 'node:crypto'
import type { DebianPackage } from './debian-records.ts'

export type LockedPackage = { readonly version?: string; readonly license?: string; readonly integrity?: string }

type Component = {
  readonly type: 'library' | 'application' | 'platform'
  readonly 'bom-ref': string
  readonly name: string
  readonly version?: string
  readonly purl?: string
  readonly licenses?: readonly ({ readonly license: { readonly id: string } } | { readonly expression: string })[]
  readonly hashes?: readonly { readonly alg: 'SHA-256' | 'SHA-512'; readonly content: string }[]
}

export type SbomFacts = {
  readonly version: string
  readonly processor: string
  readonly packagePaths: readonly string[]
  readonly locked: Readonly<Record<string, LockedPackage>>
  readonly node: { readonly version: string; readonly content: Buffer }
  readonly libraries: readonly { readonly path: string; readonly content: Buffer; readonly debian: DebianPackage | null }[]
}

/** The bill, ending with a newline. */
export function sbomOf(facts: SbomFacts): string {
  const own = `pkg:generic/steno@${facts.version}`
  const components = [
    ...facts.packagePaths.map((path) => npmComponent(path, facts.locked[path] ?? {})),
    {
      type: 'platform' as const,
      'bom-ref': `pkg:generic/node@${facts.node.version}`,
      name: 'node',
      version: facts.node.version,
      purl: `pkg:generic/node@${facts.node.version}`,
      hashes: [sha256(facts.node.content)],
    },
    ...facts.libraries.map(libraryComponent),
  ]
  const bill = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': own,
        name: 'steno',
        version: facts.version,
        purl: own,
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
      properties: [{ name: 'steno:processor', value: facts.processor }],
    },
    components,
    dependencies: [{ ref: own, dependsOn: components.map((component) => component['bom-ref']) }],
  }
  return `${JSON.stringify(bill, null, 2)}\n`
}

function npmComponent(path: string, locked: LockedPackage): Component {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  const [algorithm, digest] = (locked.integrity ?? '').split('-')
  const purl = `pkg:npm/${name.replace('@', '%40')}@${locked.version ?? ''}`
  return {
    type: 'library',
    // One package may be there twice, in two places.
    'bom-ref': path,
    name,
    ...(locked.version === undefined ? {} : { version: locked.version, purl }),
    ...(locked.license === undefined ? {} : { licenses: [licenceOf(locked.license)] }),
    ...(algorithm === 'sha512' && digest !== undefined
      ? { hashes: [{ alg: 'SHA-512' as const, content: Buffer.from(digest, 'base64').toString('hex') }] }
      : {}),
  }
}

function licenceOf(stated: string): { license: { id: string } } | { expression: string } {
  return /[\s()]/.test(stated) ? { expression: stated } : { license: { id: stated } }
}

function libraryComponent({ path, content, debian }: SbomFacts['libraries'][number]): Component {
  return {
    type: 'library',
    'bom-ref': path,
    name: debian?.name ?? path.slice(path.lastIndexOf('/') + 1),
    ...(debian === null
      ? {}
      : {
          version: debian.version,
          purl: `pkg:deb/debian/${debian.name}@${encodeURIComponent(debian.version)}?arch=${debian.architecture}`,
        }),
    hashes: [sha256(content)],
  }
}

function sha256(content: Buffer): { alg: 'SHA-256'; content: string } {
  return { alg: 'SHA-256', content: createHash('sha256').update(content).digest('hex') }
}
