// Goal: what the relay says no with, and what it counts, is documented. Method: reads the page as text.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Registry } from 'prom-client'
import { refusals, type RefusalCode } from './refusal.ts'
import { createRelayMetrics } from './relay-metrics.ts'
import { endKinds } from './splice.ts'

const page = readFileSync(new URL('../docs/relay.md', import.meta.url), 'utf8')

test('docs/relay.md has every code that the relay answers with its status, and no other', () => {
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (\d{3}) \|/gm)].map(([, code, status]) => `${code} ${status}`)
  assert.deepEqual(
    rows.sort(),
    Object.entries(refusals)
      .map(([code, { status }]) => `${code} ${status}`)
      .sort(),
  )
})

test('what passes with time says when to come again', () => {
  for (const code of Object.keys(refusals) as RefusalCode[]) {
    const { status, ...kind } = refusals[code]
    if (status === 429 || status >= 500) assert.ok('retrySeconds' in kind && kind.retrySeconds > 0, code)
  }
})

test('docs/relay.md has every metric of the relay and every reason for the end of a tunnel', () => {
  const registry = new Registry()
  createRelayMetrics({ registry, counts: () => ({ tunnels: 0, bytesToDatabase: 0, bytesToPod: 0 }), connections: () => 0 })
  for (const { name } of registry.getMetricsAsArray()) assert.ok(page.includes(`\`${name}\``), name)
  for (const kind of endKinds) assert.ok(page.includes(`\`${kind}\``), kind)
})
