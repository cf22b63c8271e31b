/** What each `--format` makes of the statements that fit: pieces of a file, in order, as they come to be. */
import type { Match } from '../search/scan.ts'
import { safeJson, statementDocument } from '../search/statement-document.ts'
import { statementColumns } from './columns.ts'
import { csvHeader, csvRow, type CsvOptions } from './csv.ts'
import { ocsfEvent } from './ocsf.ts'
import type { Piece } from './output.ts'

export const formats = ['jsonl', 'csv', 'parquet', 'ocsf'] as const
export type Format = (typeof formats)[number]

type Batches = AsyncIterable<readonly Match[]>

export async function* piecesOf(format: Format, batches: Batches, options: CsvOptions): AsyncGenerator<Piece> {
  switch (format) {
    case 'jsonl':
      return yield* each(batches, (match) => `${statementDocument(match)}\n`)
    case 'ocsf':
      return yield* each(batches, (match) => `${safeJson(ocsfEvent(match))}\n`)
    case 'csv':
      yield csvHeader(statementColumns)
      return yield* each(batches, (match) => csvRow(statementColumns, match, options))
    case 'parquet': {
      // Only who wants this pays for loading it.
      const { parquetFile } = await import('./parquet.ts')
      return yield* parquetFile(statementColumns, batches)
    }
    default:
      return format satisfies never
  }
}

async function* each(batches: Batches, text: (match: Match) => string): AsyncGenerator<string> {
  for await (const batch of batches) for (const match of batch) yield text(match)
}
