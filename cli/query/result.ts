/** A result as lines: a grid as psql prints it, CSV, or JSON lines. The grid holds the rows it shows; the others hold a chunk. */
import type { DuckDBResult, DuckDBType, DuckDBValue, Json } from '@duckdb/node-api'
import { csvLine, csvText, type CsvOptions } from '../export/csv.ts'
import { createGrid } from '../grid.ts'
import { safeJson } from '../search/statement-document.ts'
import type { DuckDb } from './duckdb.ts'

export const resultFormats = ['grid', 'csv', 'json'] as const
export type ResultFormat = (typeof resultFormats)[number]

export type ResultOptions = CsvOptions & { readonly format: ResultFormat; readonly rowsMax: number; readonly nullText: string }

/** Pieces of text with their line ends. */
export async function* resultPieces(duckDb: DuckDb, result: DuckDBResult, options: ResultOptions): AsyncGenerator<string> {
  switch (options.format) {
    case 'grid':
      return yield* gridPieces(duckDb, result, options)
    case 'csv': {
      yield csvLine(result.columnNames().map((name) => csvText(name, options)))
      for await (const rows of result.yieldRows()) {
        for (const row of rows) {
          yield csvLine(
            row.map((value) => {
              const text = valueText(value)
              return text === null || isPlain(value) ? text : csvText(text, options)
            }),
          )
        }
      }
      return
    }
    case 'json': {
      const names = result.deduplicatedColumnNames()
      const types = result.columnTypes()
      for await (const rows of result.yieldRows()) {
        for (const row of rows) {
          yield `${safeJson(Object.fromEntries(row.map((value, index) => [names[index]!, valueJson(duckDb, value, types[index]!)])))}\n`
        }
      }
      return
    }
    default:
      return options.format satisfies never
  }
}

async function* gridPieces(duckDb: DuckDb, result: DuckDBResult, { rowsMax, nullText }: ResultOptions): AsyncGenerator<string> {
  const { DuckDBTypeId: id } = duckDb
  const numbers: readonly number[] = [
    ...[id.TINYINT, id.SMALLINT, id.INTEGER, id.BIGINT, id.HUGEINT, id.UTINYINT, id.USMALLINT, id.UINTEGER, id.UBIGINT, id.UHUGEINT],
    ...[id.FLOAT, id.DOUBLE, id.DECIMAL],
  ]
  const columns = result.columnNames().map((name, index) => {
    const align = numbers.includes(result.columnTypeId(index)) ? ('right' as const) : ('left' as const)
    return { name, align }
  })
  const grid = createGrid({ columns, rowsMax, nullText })
  for await (const rows of result.yieldRows()) for (const row of rows) grid.push(row.map(valueText))
  for (const line of grid.lines()) yield `${line}\n`
}

/** Numbers and truth values, whose signs begin no formula. */
const isPlain = (value: DuckDBValue): boolean => ['number', 'bigint', 'boolean'].includes(typeof value)

/** As DuckDB prints it. */
function valueText(value: DuckDBValue): string | null {
  return value === null ? null : String(value)
}

/** Whole numbers that a double cannot hold, decimals and times are texts. */
function valueJson({ JsonDuckDBValueConverter: converter }: DuckDb, value: DuckDBValue, type: DuckDBType): Json {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  return converter(value, type, converter)
}
