/**
 * The last look at what leaves a cluster for somebody else to read: what is written like a credential is taken out, and then looked for again.
 *
 * Goes by how credentials are written, since it knows none: a password that stands alone in a sentence is not found. It is the net below the
 * rules of `strip.ts` and `sidecar-log.ts`, which take nothing along that holds one.
 */
import { KnownError } from '../../../base/errors.ts'

/** Something that is written like a credential was still there, so nothing was written. */
export class SupportBundleUnclean extends KnownError {
  readonly code = 'SUPPORT_BUNDLE_UNCLEAN'
  readonly remedy = 'No archive was written. This is a defect of steno: please report which file it was, and not what is in it.'
  readonly safeToRetry = true
}

const removed = '[removed]'

const secretWords =
  'password|passwd|pwd|pgpassword|sslpassword|passphrase|secret_?access_?key|session_?token|access_?token|client_?secret|api_?key|private_?key'

const patterns: readonly (readonly [RegExp, string])[] = [
  // An end that was cut off takes the rest with it.
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, removed],
  // A password may hold every character but an end of the text that it stands in; those of clouds that are tokens have up to 2,000.
  [/([a-z][a-z0-9+.-]{0,30}:\/\/[^\s/?#:@"\\]*):(?!\[removed\]@)(?:[^\s"\\]|\\.){1,4096}@/gi, `$1:${removed}@`],
  [
    new RegExp(
      `\\b(\\w*(?:${secretWords}))(\\\\?["']?\\s*[=:]\\s*)(\\\\?"(?:[^"\\\\]|\\\\[^"])*\\\\?"|'[^']*'|[^\\s,;&"'{}\\[\\]]+)`,
      'gi',
    ),
    `$1$2${removed}`,
  ],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${removed}`],
  [/(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?/g, removed],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, removed],
]

/** What must not be in any file; written apart from the patterns above, so that a slip there is found here. */
const signs: readonly (readonly [string, RegExp])[] = [
  ['a private key', /PRIVATE KEY-----/],
  ['a connection string with a password', /:\/\/[^\s/?#@:"]{0,256}:(?!\[removed\]@)[^\s"/]{1,4096}@/],
  ['a token', /(?<![\w-])eyJ[\w-]{8,}\.eyJ/],
]

export function scrub(text: string): string {
  return patterns.reduce((scrubbed, [pattern, by]) => scrubbed.replace(pattern, by), text)
}

/** @throws SupportBundleUnclean naming the file, never what is in it */
export function assertClean(path: string, text: string): void {
  const found = signs.find(([, sign]) => sign.test(text))
  if (found !== undefined) throw new SupportBundleUnclean(`${path} still holds what looks like ${found[0]}`)
}
