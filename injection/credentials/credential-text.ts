/** Whether a text of a pod holds a connection string of PostgreSQL with its password, by its form alone. */

const scheme = /(?:postgres(?:ql)?|postgis|pgsql|psql)(?:\+[\w.-]{1,40})?:/gi
const passwordInAuthority = /\/\/[^\s'"/?#@:]*:(?!\$)[^\s'"/@]+@/y
const passwordInQuery = /[?&]password=(?!\$)[^\s'"&]/i
const libpqVariable = /\bPGPASSWORD=(?!\$|''|""|\s|$)/
const keywordPassword = /\bpassword\s*=\s*(?!\$|''|""|\s|$)/i
const keywordPlace = /\b(?:host|hostaddr|dbname|user)\s*=/i

/** Whether a text has a connection string of PostgreSQL in it with a password; a shell's variable is none. Linear in the text's length. */
export function hasCredential(text: string): boolean {
  if (libpqVariable.test(text) || (keywordPassword.test(text) && keywordPlace.test(text) && !text.includes('://'))) return true
  let wordEnd = 0
  for (const { 0: matched, index } of text.matchAll(scheme)) {
    const start = index + matched.length
    passwordInAuthority.lastIndex = start
    if (passwordInAuthority.test(text)) return true
    // Of schemes in one word the first sees every parameter.
    if (start <= wordEnd) continue
    wordEnd = start + (/^[^\s'"]*/.exec(text.slice(start))?.[0].length ?? 0)
    if (passwordInQuery.test(text.slice(start, wordEnd))) return true
  }
  return false
}
