/**
 * Rows as a Parquet file (format 2, Snappy), in pieces as they come to be.
 *
 * A row group is what is held: up to `rowsPerGroup` rows or `charactersPerGroup` characters of text, and its encoded form. Besides, the
 * footer's entry per group and column, some hundred bytes each. Types: STRING, INT64, DOUBLE, BOOLEAN, TIMESTAMP to the microsecond in
 * UTC, and JSON, which readers that do not know it take for a string.
 */
import { ByteWriter, ParquetWriter } from 'hyparquet-writer'
import { stenoVersion } from '../../base/version.ts'
import type { Column, ColumnType, Value } from './columns.ts'

const rowsPerGroup = 10_000
const charactersPerGroup = 8 * 1024 * 1024

type SchemaElement = ConstructorParameters<typeof ParquetWriter>[0]['schema'][number]

const elements: Readonly<Record<ColumnType, Omit<SchemaElement, 'name'>>> = {
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
  json: { type: 'BYTE_ARRAY', converted_type: 'JSON', logical_type: { type: 'JSON' } },
  integer: { type: 'INT64' },
  double: { type: 'DOUBLE' },
  boolean: { type: 'BOOLEAN' },
  timestamp: {
    type: 'INT64',
    converted_type: 'TIMESTAMP_MICROS',
    logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
  },
}

/** The file's bytes in order; each piece is the caller's own. */
export async function* parquetFile<Row>(
  columns: readonly Column<Row>[],
  batches: AsyncIterable<readonly Row[]>,
  limits: { readonly rowsPerGroup: number; readonly charactersPerGroup: number } = { rowsPerGroup, charactersPerGroup },
): AsyncGenerator<Buffer> {
  const output = new ByteWriter()
  const file = new ParquetWriter({
    writer: output,
    schema: [
      { name: 'root', num_children: columns.length },
      ...columns.map(({ name, type, required }): SchemaElement => ({
        name,
        repetition_type: required === true ? 'REQUIRED' : 'OPTIONAL',
        ...elements[type],
      })),
    ],
    createdBy: `steno version ${stenoVersion}`,
  })
  const taken = (): Buffer => {
    const piece = Buffer.from(output.getBytes())
    output.index = 0
    return piece
  }
  let held = columns.map((): unknown[] => [])
  let characters = 0
  const group = async (): Promise<Buffer> => {
    await file.write({
      columnData: columns.map(({ name }, index) => ({ name, data: held[index]! })),
      rowGroupSize: limits.rowsPerGroup,
    })
    held = columns.map(() => [])
    characters = 0
    return taken()
  }
  for await (const batch of batches) {
    for (const row of batch) {
      for (const [index, { type, value }] of columns.entries()) {
        const found = value(row)
        characters += charactersOf(found)
        held[index]!.push(stored(type, found))
      }
      if (held[0]!.length >= limits.rowsPerGroup || characters >= limits.charactersPerGroup) yield await group()
    }
  }
  if (held[0]!.length > 0) yield await group()
  await file.finish()
  yield taken()
}

/** About, for what is not text: a parameter's value is cut at 1,024 bytes. */
function charactersOf(value: Value): number {
  if (typeof value === 'string') return value.length
  return Array.isArray(value) ? value.length * 1_024 : 0
}

/** As the writer takes it for the column's physical type. */
function stored(type: ColumnType, value: Value): unknown {
  if (value === null) return null
  switch (type) {
    case 'integer':
      return BigInt(Number(value))
    case 'timestamp':
      return BigInt(Math.floor(Number(value) * 1_000))
    case 'text':
    case 'json':
    case 'double':
    case 'boolean':
      return value
    default:
      return type satisfies never
  }
}
