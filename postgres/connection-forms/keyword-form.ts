/**
 * `host=… port=… dbname=… user=… password=…`, libpq's keyword form, which several drivers read too, read and written again.
 *
 * Keywords that libpq does not know, as `TimeZone` or a pool's size, are kept for the driver.
 */
import { splitConnectionString } from '../connection-string-text.ts'
import { concernsTheWay, notForTheProxy, proxyHost, sslModeOf, type WrittenConnection } from './written-connection.ts'

const looksLikeIt = /^\s*(?:[a-z_]+\s*=\s*(?:'(?:[^'\\]|\\[\s\S])*'|[^\s;']+)\s+)*(?:host|hostaddr|port|dbname|user|password|service)\s*=/i
const quotedValue = /'(?:[^'\\]|\\[\s\S])*'/g

/** Null for what does not look like it. @throws BadConnectionString */
export function readKeywords(text: string): WrittenConnection | null {
  // A semicolon between values is how .NET and ODBC part their pairs, which look alike and mean other things.
  if (text.replaceAll(quotedValue, '').includes(';') || !looksLikeIt.test(text)) return null
  const assignments = splitConnectionString(text)
  const values = new Map<string, string>()
  for (const { keyword, value } of assignments) {
    const mode = keyword === 'sslmode' ? sslModeOf(value, 'require') : null
    if (concernsTheWay(keyword)) values.set(keyword, mode ?? value)
  }
  return {
    values,
    readsPgVariables: true,
    write({ port, user, password, database }) {
      const replaced = new Set([...(user === null ? [] : ['user']), ...(database === null ? [] : ['dbname'])])
      const kept = assignments.filter(({ keyword }) => !notForTheProxy.has(keyword.toLowerCase()) && !replaced.has(keyword))
      return keywordText([
        ['host', proxyHost],
        ['port', String(port)],
        ...(database === null ? [] : [['dbname', database] as const]),
        ...(user === null ? [] : [['user', user] as const]),
        ...(password === null ? [] : [['password', password] as const]),
        ...kept.map(({ keyword, value }) => [keyword, value] as const),
        ['sslmode', 'disable'],
      ])
    },
  }
}

/** Values are quoted where that is needed. */
export function keywordText(pairs: Iterable<readonly [keyword: string, value: string]>): string {
  return [...pairs].map(([keyword, value]) => `${keyword}=${quoted(value)}`).join(' ')
}

function quoted(value: string): string {
  return value !== '' && !/[\s'\\;]/.test(value) ? value : `'${value.replace(/[\\']/g, '\\$&')}'`
}
