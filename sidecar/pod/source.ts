/**
 * The real connection of a listener as libpq's keywords: from a URL in any of the forms that drivers write, or from variables for each part.
 *
 * No error holds a value. A URL whose password is not encoded falls apart in wrong places, and then a piece of the password looks like a
 * host: `mayBeShown` is false for what could be so.
 */
import { messageOf } from '../../base/errors.ts'
import { libpqKeywordOf, type Listener, type LibpqPart } from '../../crds/sidecar-config.ts'
import { BadConnectionString } from '../../postgres/connection-string-text.ts'
import { readJdbc } from '../../postgres/connection-forms/jdbc-form.ts'
import { readKeywords } from '../../postgres/connection-forms/keyword-form.ts'
import { readUrl } from '../../postgres/connection-forms/url-form.ts'
import { sslModeOf } from '../../postgres/connection-forms/written-connection.ts'

/** Something that does not fit, and what the person who reads it can do. Holds no secret. */
export type Problem = { readonly what: string; readonly remedy: string }

export type ReadSource =
  | {
      readonly kind: 'read'
      /** libpq's keywords with a value. */
      readonly keywords: ReadonlyMap<string, string>
      /** Whether host, port and database may stand in a message. */
      readonly mayBeShown: boolean
    }
  | { readonly kind: 'unreadable'; readonly problem: Problem }

export function readSource({ source }: Listener, values: ReadonlyMap<string, string>): ReadSource {
  if (source.kind === 'libpq') {
    const parts = Object.entries(source.variables) as [LibpqPart, string][]
    const missing = parts.find(([, variable]) => values.get(variable) === undefined)?.[1]
    if (missing !== undefined) return unreadable(missingProblem(missing))
    const keywords = new Map<string, string>()
    for (const [part, variable] of parts) {
      const value = values.get(variable)!
      if (value !== '') keywords.set(libpqKeywordOf[part], part === 'sslmode' ? (sslModeOf(value, 'require') ?? value) : value)
    }
    return { kind: 'read', keywords, mayBeShown: true }
  }
  const text = values.get(source.variable)?.trim() ?? ''
  if (text === '') return unreadable(missingProblem(source.variable))
  try {
    const written = readUrl(text) ?? readJdbc(text) ?? readKeywords(text)
    if (written !== null) return { kind: 'read', keywords: written.values, mayBeShown: !couldHideSecret(text) }
    return unreadable({
      what: `${source.variable} holds no connection string of PostgreSQL`,
      remedy: 'Write it as postgresql://user:password@host:5432/database into the Secret or ConfigMap that the pod refers to.',
    })
  } catch (error) {
    if (!(error instanceof BadConnectionString)) throw error
    return unreadable({ what: `${source.variable}: ${messageOf(error)}`, remedy: error.remedy })
  }
}

function unreadable(problem: Problem): ReadSource {
  return { kind: 'unreadable', problem }
}

function missingProblem(variable: string): Problem {
  return {
    what: `${variable} is empty or not set`,
    remedy: 'Look whether the Secret or ConfigMap that the pod refers to has the key, and whether it holds a value.',
  }
}

/** In a URL of which the authority has two `@`, or something else has one, a piece of the password may stand where the host does. */
function couldHideSecret(text: string): boolean {
  const [, authority = '', rest = ''] = /^[^/?#]*:\/\/([^/?#]*)([\s\S]*)$/.exec(text) ?? []
  return authority.split('@').length > 2 || /[@#]/.test(rest)
}
