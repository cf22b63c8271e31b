/** Writes messages of both sides, well-formed or not, for tests. */

function frame(type: string, ...parts: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(`${part}\0`) : part)))
  const header = Buffer.alloc(5)
  header.write(type, 0, 'latin1')
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

export function int16(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * numbers.length)
  for (const [index, number] of numbers.entries()) bytes.writeUInt16BE(number & 0xffff, 2 * index)
  return bytes
}

export function int32(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length)
  for (const [index, number] of numbers.entries()) bytes.writeInt32BE(number | 0, 4 * index)
  return bytes
}

type Value = string | Buffer | null

function sized(values: readonly Value[]): Buffer {
  return Buffer.concat(
    values.flatMap((value) => {
      if (value === null) return [int32(-1)]
      const bytes = typeof value === 'string' ? Buffer.from(value) : value
      return [int32(bytes.length), bytes]
    }),
  )
}

const raw = (type: string) => (body: Buffer | string) => frame(type, typeof body === 'string' ? Buffer.from(body) : body)

export const frontend = {
  raw: (type: string, body: Buffer = Buffer.alloc(0)) => frame(type, body),
  query: (sql: string) => frame('Q', sql),
  parse: (sql: string, name = '', types: readonly number[] = []) => frame('P', name, sql, int16(types.length), int32(...types)),
  bind({
    portal = '',
    statement = '',
    formats = [],
    values = [],
    resultFormats = [],
  }: {
    portal?: string
    statement?: string
    formats?: readonly number[]
    values?: readonly Value[]
    resultFormats?: readonly number[]
  } = {}) {
    const parameters = [int16(formats.length, ...formats), int16(values.length), sized(values)]
    return frame('B', portal, statement, ...parameters, int16(resultFormats.length, ...resultFormats))
  },
  describe: (target: 'S' | 'P', name = '') => frame('D', Buffer.from(target), name),
  close: (target: 'S' | 'P', name = '') => frame('C', Buffer.from(target), name),
  execute: (portal = '', rowsMax = 0) => frame('E', portal, int32(rowsMax)),
  sync: frame('S'),
  flush: frame('H'),
  terminate: frame('X'),
  copyData: raw('d'),
  copyDone: frame('c'),
  copyFail: (reason: string) => frame('f', reason),
  functionCall: (oid: number, values: readonly Value[]) => frame('F', int32(oid), int16(0), int16(values.length), sized(values), int16(0)),
}

export type ColumnForTest = { readonly name: string; readonly typeOid?: number; readonly format?: number }

const fields = (values: Readonly<Record<string, string>>): Buffer =>
  Buffer.concat([...Object.entries(values).map(([letter, value]) => Buffer.from(`${letter}${value}\0`)), Buffer.alloc(1)])

export const backend = {
  raw: (type: string, body: Buffer = Buffer.alloc(0)) => frame(type, body),
  parseComplete: frame('1'),
  bindComplete: frame('2'),
  closeComplete: frame('3'),
  noData: frame('n'),
  portalSuspended: frame('s'),
  emptyQuery: frame('I'),
  parameterDescription: (types: readonly number[]) => frame('t', int16(types.length), int32(...types)),
  rowDescription: (columns: readonly ColumnForTest[]) =>
    frame(
      'T',
      int16(columns.length),
      ...columns.flatMap(({ name, typeOid = 25, format = 0 }) => [
        name,
        int32(0),
        int16(0),
        int32(typeOid),
        int16(-1),
        int32(-1),
        int16(format),
      ]),
    ),
  row: (values: readonly Value[]) => frame('D', int16(values.length), sized(values)),
  complete: (tag: string) => frame('C', tag),
  error: (code: string, message = 'it failed', severity = 'ERROR') => frame('E', fields({ S: severity, V: severity, C: code, M: message })),
  notice: (message: string) => frame('N', fields({ S: 'NOTICE', V: 'NOTICE', C: '00000', M: message })),
  notification: (channel: string, payload: string) => frame('A', int32(7), channel, payload),
  parameterStatus: (name: string, value: string) => frame('S', name, value),
  ready: (status = 'I') => frame('Z', Buffer.from(status)),
  copyIn: frame('G', Buffer.from([0]), int16(1, 0)),
  copyOut: frame('H', Buffer.from([0]), int16(1, 0)),
  copyBoth: frame('W', Buffer.from([0]), int16(0)),
  copyData: raw('d'),
  copyDone: frame('c'),
  functionResult: (value: Value) => frame('V', sized([value])),
}
