// Goal: what control says no with is documented, and the client knows what is final. Method: reads the page and the client as text.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { refusals, type RefusalCode } from './refusal.ts'

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')

test('docs/shared-store.md has every code that control answers with its status, and no other', () => {
  const rows = [...read('../../docs/shared-store.md').matchAll(/^\| `([A-Z_]+)` \| (\d{3})(, final)? \|/gm)]
  const expected = Object.entries(refusals).map(([code, { status }]) => `${code} ${status}`)
  assert.deepEqual(rows.map(([, code, status]) => `${code} ${status}`).sort(), expected.sort())
  const final = rows.filter(([, , , mark]) => mark !== undefined).map(([, code]) => code)
  const lasting = [.../const lasting = \[(.*)\]/.exec(read('../../session/stores/control.ts'))![1]!.matchAll(/'(\w+)'/g)].map(
    ([, code]) => code,
  )
  assert.deepEqual(new Set(final), new Set(lasting))
})

test('what passes with time says when to come again', () => {
  for (const code of Object.keys(refusals) as RefusalCode[]) {
    const { status, ...kind } = refusals[code]
    if (status === 429 || status >= 500) assert.ok('retrySeconds' in kind && kind.retrySeconds > 0, code)
  }
})
