/** The one digest of the format: SHA-256, written as 64 lower-case hex digits. */
import { hash } from 'node:crypto'

export function sha256Of(bytes: Buffer): string {
  return hash('sha256', bytes, 'hex')
}
