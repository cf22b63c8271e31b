/** Goal: the page for people has every rule and no other, with the remedy that a refusal gives. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { rules } from './rules.ts'

const page = readFileSync(new URL('../../docs/kubernetes-credentials.md', import.meta.url), 'utf8')

test('the page has a row for each rule, with its remedy, and none beside', () => {
  const rows = [...page.matchAll(/^\| `([A-Z]\w+)` \| .+ \| (.+) \|$/gm)].map(([, rule, remedy]) => [rule, remedy])
  assert.deepEqual(rows, Object.entries(rules))
})

test('each rule has a golden pair that it refuses', () => {
  const folder = new URL('golden/', import.meta.url)
  const refused = new Set(
    readdirSync(folder).flatMap((file) => {
      const { becomes } = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { becomes: { refusals?: { rule: string }[] } }
      return (becomes.refusals ?? []).map(({ rule }) => rule)
    }),
  )
  assert.deepEqual([...refused].sort(), Object.keys(rules).sort())
})
