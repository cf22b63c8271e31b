import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { tables } from './tables.ts'

type Shown = { readonly name: string; readonly type: string; readonly about: string }

test('docs/search-and-export.md has every column with its type and meaning, in order', () => {
  const page = readFileSync(new URL('../../docs/search-and-export.md', import.meta.url), 'utf8')
  const tablesOfPage = page
    .split('| column | type | |\n| --- | --- | --- |\n')
    .slice(1)
    .map((rest) => rest.split('\n\n')[0]!.trimEnd())
  const lines = (columns: readonly Shown[]): string =>
    columns.map(({ name, type, about }) => `| \`${name}\` | ${type} | ${about} |`).join('\n')
  assert.deepEqual(tablesOfPage, [lines(tables.statements), lines(tables.sessions)])
})
