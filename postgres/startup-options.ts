/**
 * The start-up parameter `options`: a command line for the server process, of which settings are what clients mean.
 *
 * Knows `-c name=value`, `-cname=value` and `--name=value`; other switches of the server are words that it gives as they are.
 * Source: PostgreSQL's src/backend/utils/init/postinit.c (pg_split_opts, process_startup_options) and guc.c (ParseLongOption).
 */

/** A setting, or a word (with its unescaped text) that is none. */
export type StartupOption = { readonly name: string; readonly value: string } | { readonly name: null; readonly word: string }

/** Blanks part the words; a backslash takes the next character as it is. */
const words = /(?:\\[\s\S]|[^\s\\])+\\?|\\$/g

/** Of each word the text that the server reads. */
function splitOptions(options: string): string[] {
  return [...options.matchAll(words)].map(([word]) => unescaped(word))
}

const unescaped = (word: string): string => word.replace(/\\([\s\S])/g, '$1')

/** What `options` says, in its order. Names are as in the server: in lower case with underscores. */
export function readStartupOptions(options: string): StartupOption[] {
  const all = splitOptions(options)
  const read: StartupOption[] = []
  for (let at = 0; at < all.length; at++) {
    const word = all[at]!
    const text = word === '-c' ? all[++at] : word.startsWith('-c') ? word.slice(2) : word.startsWith('--') ? word.slice(2) : undefined
    const equals = text?.indexOf('=') ?? -1
    const name = equals < 0 ? (text ?? '') : text!.slice(0, equals)
    if (name === '') read.push({ name: null, word })
    else read.push({ name: name.toLowerCase().replaceAll('-', '_'), value: equals < 0 ? '' : text!.slice(equals + 1) })
  }
  return read
}

/** The names of the settings in `options`. */
export function settingsNamed(options: string): string[] {
  return readStartupOptions(options).flatMap(({ name }) => (name === null ? [] : [name]))
}

/** `options` with each word replaced for which `change`, told its unescaped text, gives another; the rest stays as it was written. */
export function mapStartupOptions(options: string, change: (word: string) => string | null): string {
  return options.replace(words, (word) => change(unescaped(word)) ?? word)
}
