/** Which keys a store takes: the same for each kind, so that a recording can move between them. */
import { KnownError } from '../../base/errors.ts'

const part = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/
const keyBytesMax = 900

/** A key that no store takes. */
export class BadKey extends KnownError {
  readonly code = 'BAD_KEY'
  readonly remedy = 'Use names of letters, digits, dot, underscore and hyphen, separated by slashes, none starting with a dot.'
  readonly safeToRetry = false
  constructor(key: string) {
    super(`${JSON.stringify(key.slice(0, keyBytesMax))} is not an object's key`)
  }
}

/** @throws BadKey */
export function checkKey(key: string): void {
  if (key.length > keyBytesMax || !key.split('/').every((name) => part.test(name))) throw new BadKey(key)
}

/** A prefix is empty, or a key that may end anywhere. @throws BadKey */
export function checkPrefix(prefix: string): void {
  if (prefix === '') return
  checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix)
}
