/**
 * What a sidecar of a release said to control and relay, and what it was answered: one file for each release, for as long as sidecars of it may live.
 *
 * A request stands as it was sent, but for the servers' address. An answer stands as the shape that the sidecar reads: its status, the names and
 * types of its fields, and the values of those that name a kind. More fields may come; a sidecar passes over what it does not know.
 */
export type Exchange = {
  readonly to: 'control' | 'relay'
  readonly request: {
    readonly method: string
    readonly path: string
    /** Names and values in turn, as they were sent; `{address}` for the server's own. */
    readonly headers: readonly string[]
    /** Base64. */
    readonly body: string
  }
  readonly answer: {
    readonly status: number
    /** Headers that sidecars read. */
    readonly headers: Readonly<Record<string, Shape>>
    /** Of JSON, or of the first line of what goes on; null for what has no body, `bytes` for anything else. */
    readonly body: Shape
  }
}

export type Exchanges = { readonly release: string; readonly exchanges: readonly Exchange[] }

export type Shape = string | null | readonly Shape[] | { readonly [name: string]: Shape }

/** Their values are the protocol's own words. */
const literal = ['kind', 'type', 'version', 'code', 'state', 'store', 'key', 'sha256', 'bytes', 'isReachable', 'mode']
const readHeaders = ['content-type', 'content-length', 'content-range', 'steno-address', 'steno-mark-number']

/** The shape of a JSON value. A signed document in base64, as the stream has it, has the shape of what was signed. */
export function shapeOf(value: unknown, name = ''): Shape {
  if (name === 'document' && typeof value === 'string') return shapeOf(JSON.parse(Buffer.from(value, 'base64').toString().split('\n')[0]!))
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])]
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, shapeOf(inner, field)]))
  if (value === null) return 'null'
  return literal.includes(name) ? `=${JSON.stringify(value)}` : typeof value
}

/** Why what came is not of the shape that the sidecar knows; null when it is. */
export function misfit(found: Shape, expected: Shape, where = 'the answer'): string | null {
  if (Array.isArray(expected)) {
    if (!Array.isArray(found)) return `${where} is no list`
    const [item] = expected as Shape[]
    return item === undefined || found.length === 0 ? null : misfit((found as Shape[])[0]!, item, `${where}[0]`)
  }
  if (typeof expected === 'object' && expected !== null) {
    if (typeof found !== 'object' || found === null || Array.isArray(found)) return `${where} is no object`
    for (const [name, inner] of Object.entries(expected)) {
      const of = (found as Record<string, Shape>)[name]
      if (of === undefined) return `${where} lacks ${name}`
      const problem = misfit(of, inner, `${where}.${name}`)
      if (problem !== null) return problem
    }
    return null
  }
  return found === expected ? null : `${where} is ${JSON.stringify(found)}, and was ${JSON.stringify(expected)}`
}

export function shapeOfHeaders(headers: Readonly<Record<string, string | string[] | undefined>>, isGet: boolean): Record<string, Shape> {
  const read = readHeaders.filter((name) => headers[name] !== undefined && (isGet || name !== 'content-length'))
  return Object.fromEntries(
    read.map((name) => [name, name === 'steno-address' || name === 'steno-mark-number' ? 'string' : `=${String(headers[name])}`]),
  )
}

/** Whether a whole document of the stream has come. */
export function hasDocument(body: Buffer): boolean {
  return /"document":.*\n/.test(body.toString('latin1'))
}

/** Of the stream: its first line with a document. */
export function shapeOfBody(contentType: string | undefined, body: Buffer): Shape {
  if (body.length === 0) return null
  const text = body.toString()
  if (contentType?.startsWith('application/x-ndjson') === true) {
    const lines = text.split('\n').filter((line) => line !== '')
    const line = lines.find((each) => each.includes('"document"')) ?? lines[0]
    return line === undefined ? [] : [shapeOf(JSON.parse(line))]
  }
  return contentType?.startsWith('application/json') === true ? shapeOf(JSON.parse(text)) : 'bytes'
}
