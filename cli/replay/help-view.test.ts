import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { keyTable } from './help-view.ts'

test('docs/replay.md has the keys of the help, and no other', () => {
  const page = readFileSync(new URL('../../docs/replay.md', import.meta.url), 'utf8')
  const rows = [
    ...page
      .split('## Keys')[1]!
      .split('\n\n')[1]!
      .matchAll(/^\| (.+) \| (.+) \|$/gm),
  ].slice(1)
  assert.deepEqual(
    rows.filter(([line]) => !line.includes('---')).map(([, keys, does]) => [keys, does]),
    keyTable.map(([keys, does]) => [keys, does]),
  )
})
