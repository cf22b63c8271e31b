/** The query of a URL as drivers of databases read it: `+` is a plus. */
import { BadConnectionString } from '../connection-string-text.ts'

/** Decoded. `isBare` is one without `=`. */
export type Parameter = { readonly name: string; readonly value: string; readonly isBare?: true }

/** In the order written. @throws BadConnectionString */
export function splitQuery(text: string): Parameter[] {
  return text
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const equals = pair.indexOf('=')
      if (equals < 0) return { name: percentDecoded(pair), value: '', isBare: true }
      return { name: percentDecoded(pair.slice(0, equals)), value: percentDecoded(pair.slice(equals + 1)) }
    })
}

/** With its question mark; empty for no parameters. */
export function joinedQuery(parameters: readonly Parameter[]): string {
  if (parameters.length === 0) return ''
  const pairs = parameters.map(({ name, value, isBare }) =>
    isBare === true ? encodeURIComponent(name) : `${encodeURIComponent(name)}=${readably(value)}`,
  )
  return `?${pairs.join('&')}`
}

/** Percent-encoded but for what every reader takes as it is. */
function readably(value: string): string {
  return encodeURIComponent(value).replaceAll('%2C', ',').replaceAll('%2F', '/').replaceAll('%3A', ':')
}

/** @throws BadConnectionString without repeating the text */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new BadConnectionString('a percent sign is not followed by the two hexadecimal digits of a UTF-8 byte', {
      remedy: 'Percent-encode what is not a letter or digit, as %25 for %.',
    })
  }
}
