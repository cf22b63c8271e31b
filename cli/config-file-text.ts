/**
 * Reads the text of a config file: JSON of at most two levels, with the line of every name, so that an error can say where.
 *
 * Stricter than `JSON.parse`: a name given twice is an error. Error texts never quote the file, which may hold what nobody should see.
 */

export type ConfigScalar = string | number | boolean
export type ConfigValue = ConfigScalar | readonly ConfigScalar[]

/** One name with its value; `section` is the command that it stands under, or null at the top. Lines count from 1. */
export type ConfigEntry = { readonly section: string | null; readonly name: string; readonly value: ConfigValue; readonly line: number }

/** What is wrong with the text, and where. */
export class ConfigTextError extends Error {
  readonly line: number
  constructor(what: string, line: number) {
    super(what)
    this.line = line
  }
}

const token =
  /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\\0-\x1f]|\\.)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-]))/y

type Token = { readonly kind: 'mark' | 'text' | 'word'; readonly text: string; readonly line: number }

/** @throws ConfigTextError */
export function parseConfigText(text: string): ConfigEntry[] {
  const reader = createReader(text)
  reader.expect('{', 'the file must hold one object, as {"store": "file:///var/lib/steno/store"}')
  const entries: ConfigEntry[] = []
  members(reader, null, entries)
  reader.expectEnd()
  return entries
}

function members(reader: Reader, section: string | null, entries: ConfigEntry[]): void {
  const seen = new Set<string>()
  if (reader.skip('}')) return
  do {
    const name = reader.next()
    if (name.kind !== 'text') throw new ConfigTextError('a name in double quotes is missing here', name.line)
    const key = stringOf(name)
    if (seen.has(key)) throw new ConfigTextError(`the name ${JSON.stringify(key)} is given twice`, name.line)
    seen.add(key)
    reader.expect(':', 'a colon is missing behind the name')
    const first = reader.next()
    if (first.text === '{' && first.kind === 'mark') {
      if (section !== null) throw new ConfigTextError('an object inside of a command’s object has no meaning', first.line)
      members(reader, key, entries)
      // A section without content still names a command, which has to exist.
      if (!entries.some((entry) => entry.section === key)) entries.push({ section: key, name: '', value: true, line: name.line })
    } else entries.push({ section, name: key, value: valueOf(reader, first), line: name.line })
  } while (reader.skip(','))
  reader.expect('}', 'a comma or a closing brace is missing here')
}

function valueOf(reader: Reader, first: Token): ConfigValue {
  if (first.kind !== 'mark') return scalarOf(first)
  if (first.text !== '[') throw new ConfigTextError('a value is missing here', first.line)
  const values: ConfigScalar[] = []
  if (reader.skip(']')) return values
  do values.push(scalarOf(reader.next()))
  while (reader.skip(','))
  reader.expect(']', 'a comma or a closing bracket is missing here')
  return values
}

function scalarOf(given: Token): ConfigScalar {
  if (given.kind === 'text') return stringOf(given)
  if (given.kind === 'mark') throw new ConfigTextError('a text, a number, true or false is missing here', given.line)
  if (given.text === 'null') throw new ConfigTextError('null has no meaning here: leave the name out', given.line)
  return given.text === 'true' ? true : given.text === 'false' ? false : Number(given.text)
}

function stringOf({ text, line }: Token): string {
  try {
    return JSON.parse(text) as string
  } catch {
    throw new ConfigTextError('a text holds an escape that JSON does not have', line) // Its own message would quote the text.
  }
}

type Reader = ReturnType<typeof createReader>

function createReader(text: string) {
  let at = 0
  let line = 1
  let ahead: Token | null = null
  function read(): Token {
    token.lastIndex = at
    const match = token.exec(text)
    if (match === null) {
      const blank = /[ \t\r\n]*/y
      blank.lastIndex = at
      const where = line + newlines(blank.exec(text)![0])
      const isEnd = text.slice(at).trim() === ''
      throw new ConfigTextError(isEnd ? 'the file ends too early' : 'this is no JSON', where)
    }
    const [whole, mark, string, word] = match
    at += whole.length
    line += newlines(whole)
    return { kind: mark !== undefined ? 'mark' : string !== undefined ? 'text' : 'word', text: mark ?? string ?? word!, line }
  }
  const next = (): Token => {
    const given = ahead ?? read()
    ahead = null
    return given
  }
  const isMark = (given: Token, mark: string): boolean => given.kind === 'mark' && given.text === mark
  return {
    next,
    /** Takes the mark if it comes next. */
    skip(mark: string): boolean {
      ahead ??= read()
      if (!isMark(ahead, mark)) return false
      ahead = null
      return true
    },
    expect(mark: string, otherwise: string): void {
      const given = next()
      if (!isMark(given, mark)) throw new ConfigTextError(otherwise, given.line)
    },
    expectEnd(): void {
      const rest = text.slice(at)
      if (rest.trim() !== '')
        throw new ConfigTextError('something follows behind the closing brace', line + newlines(/^\s*/.exec(rest)![0]))
    },
  }
}

function newlines(text: string): number {
  return text.split('\n').length - 1
}
