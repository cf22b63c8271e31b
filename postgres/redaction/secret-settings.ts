/**
 * Settings of somebody's own whose names say that their values are credentials (`app.token`, `my.db_pw`), and where a statement names one:
 * behind SET, of a session, a role, a database, the system or a function, and in `set_config('…'`.
 *
 * Judged is what stands behind the name's first dot: the server's own settings have none. It errs towards "yes" but for names that are
 * everyday ones (`app.primary_key`, `app.max_tokens`, `app.bypass_rls`, PostgREST's `request.jwt.claims`). It does not see names that are
 * put together (`'my.' || 'pw'`) or come as a parameter. Reads a bounded number of characters besides gaps.
 */
import type { Gaps } from './gap.ts'

/** What stands behind `pw` where a name ends or goes on, as statements are written: two letters are no anchor. */
const behindPw = Array.from(`0123456789_.$='"/-+,;) \t\n\r\f\v`)

/** Every name that is a secret's holds one of these, in lower case; besides those that are triggers wherever they stand. */
export const secretSettingAnchors = [
  ...['pass', 'token', 'key', 'jwt', 'auth', 'cookie', 'salt', 'cred', 'bearer', 'otp'],
  ...behindPw.map((character) => `pw${character}`),
]

const secretParts = [
  'passw|passphrase|passcode|pwd|secret|credential|bearer',
  '(?<!by|com|over|under|tres)pass(?![a-z])',
  'pw(?![a-z])',
  'token(?!s|i[sz]|_?(?:count|limit|budget|type|max))',
  '(?<!(?:mon|tur|hot|foreign_?|primary_?|partition_?|sort_?|cache_?|idempotency_?|routing_?|shard_?))key(?![a-z]|_(?:count|size|length|name|column|prefix|type))',
  'jwt(?![a-z]|[_.]?(?:claim|exp|role|aud|iss|sub))',
  '(?<![a-z])auth(?:orization)?(?![a-z_.])',
  'cookie(?!s?_?(?:name|domain|path|policy))',
  '(?<![a-z])(?:salt|creds?|t?otp)(?![a-z])',
]
const secretName = new RegExp(secretParts.join('|'), 'i')

/** True for the name of a setting of somebody's own, as the server reads it, whose value is a credential. */
export function isSecretSetting(name: string): boolean {
  const dot = name.indexOf('.')
  return dot >= 0 && secretName.test(name.slice(dot + 1))
}

const partsMax = 8
const scope = /(?:session|local)(?![\w$])/iy
const namePart = /(?:u&)?"((?:[^"]|""){1,256})"|([\w$\x80-\uffff]{1,256})/iy
const argumentName = /setting_name(?![\w$])/iy
const assigned = /:=|=>/y
const nameLiteral = /(?:[en]|u&)?'((?:[^']|''){1,256})|\$\w{0,64}\$([^$]{1,256})/iy

/** True when the text at `at`, behind SET and the gap that follows, names such a setting. */
export function setsSecret(text: string, at: number, gaps: Gaps): boolean {
  let from = at
  scope.lastIndex = from
  if (scope.test(text)) from = gaps.endOf(scope.lastIndex)
  let name = ''
  for (let parts = 0; parts < partsMax; parts++) {
    namePart.lastIndex = from
    const part = namePart.exec(text)
    if (part === null) break
    name += part[1] ?? part[2] ?? ''
    from = gaps.endOf(namePart.lastIndex)
    if (text[from] !== '.') break
    name += '.'
    from = gaps.endOf(from + 1)
  }
  return isSecretSetting(name)
}

/** True when the text at `at`, behind `set_config` and the gap that follows, calls it with the name of such a setting. */
export function configuresSecret(text: string, at: number, gaps: Gaps): boolean {
  let from = text[at] === '"' ? gaps.endOf(at + 1) : at
  if (text[from] !== '(') return false
  from = gaps.endOf(from + 1)
  argumentName.lastIndex = from
  if (argumentName.test(text)) {
    assigned.lastIndex = gaps.endOf(argumentName.lastIndex)
    if (!assigned.test(text)) return false
    from = gaps.endOf(assigned.lastIndex)
  }
  nameLiteral.lastIndex = from
  const literal = nameLiteral.exec(text)
  return literal !== null && isSecretSetting(literal[1] ?? literal[2] ?? '')
}
