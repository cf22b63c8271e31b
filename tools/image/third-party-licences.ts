/**
 * The licences of what is in the image, one text each: most of them ask that their notice goes wherever the code goes.
 *
 * Reads the licence and notice files of npm packages, and the copyright files that Debian keeps of its libraries. A package that ships none is
 * named with the licence that its manifest states; libraries of a system without Debian's records are left to whoever gives the image away.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DebianPackage } from './debian-records.ts'

const licenceFile = /^(licen[cs]e|copying|notice)([-.].*)?$/i

/** @param folders of installed packages */
export function npmLicences(folders: readonly string[]): string[] {
  return folders.map((folder) => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      readonly name: string
      readonly version: string
      readonly license?: string
    }
    const texts = readdirSync(folder)
      .filter((file) => licenceFile.test(file))
      .sort()
      .map((file) => readFileSync(join(folder, file), 'utf8'))
    const body = texts.length > 0 ? texts.join('\n\n') : `Licence: ${manifest.license ?? 'none stated'}`
    return chapter(`${manifest.name} ${manifest.version}`, body)
  })
}

/** @param systemRoot the folder that stands for the system whose packages these are */
export function debianLicences(packages: readonly (DebianPackage | null)[], systemRoot: string): string[] {
  const named = new Map(packages.flatMap((found) => (found === null ? [] : [[found.name, found]])))
  return [...named.values()].flatMap(({ name, version }) => {
    const path = join(systemRoot, 'usr/share/doc', name, 'copyright')
    return existsSync(path) ? [chapter(`${name} ${version}`, readFileSync(path, 'utf8'))] : []
  })
}

function chapter(title: string, body: string): string {
  return `${'='.repeat(80)}\n${title}\n${'='.repeat(80)}\n\n${body.replaceAll('\r\n', '\n').trim()}\n`
}
