import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import type { Column } from './columns.ts'
import { parquetFile } from './parquet.ts'

type Row = {
  readonly text: string
  readonly maybe: string | null
  readonly count: number
  readonly share: number
  readonly flag: boolean
  readonly at: number
  readonly list: readonly (string | null)[]
}

const columns: readonly Column<Row>[] = [
  { name: 'text', type: 'text', required: true, about: '', value: ({ text }) => text },
  { name: 'maybe', type: 'text', about: '', value: ({ maybe }) => maybe },
  { name: 'count', type: 'integer', required: true, about: '', value: ({ count }) => count },
  { name: 'share', type: 'double', required: true, about: '', value: ({ share }) => share },
  { name: 'flag', type: 'boolean', required: true, about: '', value: ({ flag }) => flag },
  { name: 'at', type: 'timestamp', required: true, about: '', value: ({ at }) => at },
  { name: 'list', type: 'json', required: true, about: '', value: ({ list }) => list },
]

async function* inBatches(rows: readonly Row[], size: number): AsyncGenerator<readonly Row[]> {
  for (let at = 0; at < rows.length; at += size) yield await Promise.resolve(rows.slice(at, at + size))
}

async function written(rows: readonly Row[], rowsPerGroup: number, charactersPerGroup = 1_000_000): Promise<ArrayBuffer> {
  const pieces: Buffer[] = []
  for await (const piece of parquetFile(columns, inBatches(rows, 7), { rowsPerGroup, charactersPerGroup })) pieces.push(piece)
  const whole = new Uint8Array(Buffer.concat(pieces))
  return whole.buffer
}

const row: fc.Arbitrary<Row> = fc.record({
  text: fc.string({ unit: 'grapheme' }),
  maybe: fc.option(fc.string()),
  count: fc.maxSafeNat(),
  share: fc.double({ noNaN: true }),
  flag: fc.boolean(),
  at: fc.integer({ min: -8e12, max: 8e12 }),
  list: fc.array(fc.option(fc.string())),
})

test('whatever the rows are, a reader gets them back, in groups of the size that is held', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(row, { maxLength: 40 }), fc.integer({ min: 1, max: 15 }), async (rows, rowsPerGroup) => {
      const file = await written(rows, rowsPerGroup)
      const expected = rows.map(({ count, at, ...rest }) => ({ ...rest, count: BigInt(count), at: new Date(at) }))
      const read = rows.length === 0 ? [] : await parquetReadObjects({ file })
      assert.deepEqual(
        read.map((found) => ({ ...found })),
        expected.map(({ text, maybe, count, share, flag, at, list }) => ({ text, maybe, count, share, flag, at, list })),
      )
      const groups = parquetMetadata(file).row_groups.map(({ num_rows }) => Number(num_rows))
      assert.ok(groups.every((size) => size <= rowsPerGroup))
      assert.equal(groups.length, Math.ceil(rows.length / rowsPerGroup))
    }),
    { numRuns: 60 },
  )
})

test('long texts end a group before its rows do', async () => {
  const long: Row = { text: 'x'.repeat(1_000), maybe: null, count: 1, share: 0, flag: true, at: 0, list: [] }
  const file = await written(
    Array.from({ length: 20 }, () => long),
    1_000,
    5_000,
  )
  assert.equal(parquetMetadata(file).row_groups.length, 4)
})
