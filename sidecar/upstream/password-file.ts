/**
 * Finds the password for a host in the password file, by libpq's rules.
 *
 * A missing file is no password. A file that others may read, or that is no regular file, is an error where libpq only warns and goes on.
 */
import { readFile, stat } from 'node:fs/promises'
import { messageOf, systemCodeOf } from '../../base/errors.ts'
import { findPassword } from '../../postgres/authentication/password-file.ts'
import type { Secret } from '../../postgres/authentication/secret.ts'
import type { ConnectionSettings, UpstreamHost } from '../../postgres/connection-string.ts'
import { SignInImpossible } from './errors.ts'

const fileBytesMax = 1024 * 1024
const defaultSocketFolders = new Set(['/var/run/postgresql', '/tmp'])

/** The string's password, else the file's. @throws SignInImpossible */
export async function passwordFor(
  settings: ConnectionSettings,
  host: UpstreamHost,
  { user, database }: { readonly user: string; readonly database: string },
): Promise<Secret | null> {
  if (settings.password !== null) return settings.password
  const path = settings.passwordFile
  if (path === null) return null
  try {
    const facts = await stat(path)
    if (!facts.isFile()) return null
    if (process.platform !== 'win32' && (facts.mode & 0o077) !== 0) {
      throw new SignInImpossible(`others may read the password file ${path}`, 'Run chmod 0600 on it.')
    }
    if (facts.size > fileBytesMax)
      throw new SignInImpossible(`the password file ${path} is larger than ${fileBytesMax} bytes`, 'Name a password file with passfile.')
    const name = host.name === '' ? (host.address ?? '') : host.name
    return findPassword(await readFile(path, 'utf8'), {
      host: defaultSocketFolders.has(name) ? 'localhost' : name,
      port: host.port,
      database,
      user,
    })
  } catch (error) {
    if (error instanceof SignInImpossible) throw error
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return null
    throw new SignInImpossible(
      `the password file ${path} cannot be read: ${messageOf(error)}`,
      'Check its permissions and those of its folder.',
      error,
    )
  }
}
