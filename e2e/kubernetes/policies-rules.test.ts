// Goal: no rule of the admission policies is unknown to its readers, or untested. Method: the names in the templates, the manual's tables and
// the tests are compared as text; no cluster is needed.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  relayTokenAudience,
  sidecarName,
  sidecarUserId,
  spoolVolumeName,
  tokenAudience,
  tokenVolumeName,
} from '../../injection/sidecar-container.ts'
import { createdRules } from './policies-created-cases.ts'

const folder = new URL('../../charts/steno/templates/admission-policies/', import.meta.url)
const templates = readdirSync(folder).map((name) => ({
  policy: name.replace(/\.yaml$/, ''),
  text: readFileSync(new URL(name, folder), 'utf8'),
}))
const rulesOf = (text: string) => [...text.matchAll(/^ +message: >-\n +([A-Z][A-Za-z]+): /gm)].map(([, rule = '']) => rule)
const rules = new Set(templates.flatMap(({ text }) => rulesOf(text)))

test('each validation has a message that begins with its rule', () => {
  for (const { policy, text } of templates)
    assert.equal(rulesOf(text).length, (text.match(/^ {4}- expression: /gm) ?? []).length, `${policy}: a validation without a rule's name`)
  assert.ok(rules.size >= 45, `${rules.size} rules`)
})

test('each policy and rule stands in the manual, and the manual has no others', () => {
  const manual = readFileSync(new URL('../../docs/admission-policies.md', import.meta.url), 'utf8')
  const rows = manual.split('\n').filter((line) => /^\| (`steno-[a-z-]+` )?\| `[A-Z]/.test(line))
  const written = new Set(rows.flatMap((row) => [...(row.split('|')[2] ?? '').matchAll(/`([A-Za-z]+)`/g)].map(([, rule = '']) => rule)))
  assert.deepEqual([...written].sort(), [...rules].sort())
  for (const { policy } of templates) assert.ok(manual.includes(`| \`steno-${policy}\` |`), policy)
})

test('each rule is broken by a test', () => {
  const here = new URL('./', import.meta.url)
  const suites = readdirSync(here).filter((name) => name.startsWith('policies-suite-'))
  const tests = suites.map((name) => readFileSync(new URL(name, here), 'utf8')).join('\n')
  const inTables = createdRules.filter(({ refused }) => refused.length > 0).map(({ rule }) => rule)
  for (const rule of rules) assert.ok(inTables.includes(rule) || tests.includes(`'${rule}'`), rule)
})

test('names and numbers of the sidecar are those of its builder', () => {
  const all = templates.map(({ text }) => text).join('\n')
  for (const name of [
    `'${sidecarName}'`,
    `'${spoolVolumeName}'`,
    `'${tokenVolumeName}'`,
    `'${tokenAudience}'`,
    `'${relayTokenAudience}'`,
    String(sidecarUserId),
  ])
    assert.ok(all.includes(name), name)
})
