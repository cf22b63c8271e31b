/** MD5 authentication, which older servers ask for. Source: PostgreSQL documentation, "Message Flow" (AuthenticationMD5Password). */
import { createHash } from 'node:crypto'
import type { Secret } from './secret.ts'

const hex = (...pieces: (string | Buffer)[]): string => {
  const hash = createHash('md5')
  for (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

/** The answer to a server's salt of four bytes. */
export function md5Answer({ user, password, salt }: { readonly user: string; readonly password: Secret; readonly salt: Buffer }): string {
  return `md5${hex(hex(password.reveal(), user), salt)}`
}
