// Goal: whoever is woken by an alert of the chart finds what to do about it. Method: reads the chart's rules and the pages, and compares names.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { breakGlassCommand } from '../cli/kubectl/break-glass.ts'
import { supportBundleCommand } from '../cli/kubectl/support-bundle.ts'

const project = path.join(import.meta.dirname, '..')
const read = (file: string): string => readFileSync(path.join(project, file), 'utf8')

type Rule = { readonly alert: string; readonly annotations: Readonly<Record<string, string>> }
const rulesOf = (file: string): Rule[] => parse(read(`charts/steno/files/${file}`)) as Rule[]

test('each alert of the chart has its entry: what it means, how to look, what to do; and no other is there', () => {
  const own = ['server-alerts.yaml', 'way-alerts.yaml'].flatMap(rulesOf)
  const sections = new Map(
    read('docs/runbook-kubernetes.md')
      .split(/^### /m)
      .slice(1)
      .map((text) => [text.slice(0, text.indexOf('\n')), text]),
  )
  assert.deepEqual([...sections.keys()].sort(), own.map(({ alert }) => alert).sort())
  for (const { alert, annotations } of own) {
    assert.equal(annotations['runbook_url'], `docs/runbook-kubernetes.md#${alert.toLowerCase()}`)
    for (const part of ['**Means.**', '**Look.**', '**Do.**']) assert.ok(sections.get(alert)?.includes(part), `${alert}: ${part}`)
  }
  const ofRecording = read('docs/runbook.md')
  for (const { alert } of rulesOf('sidecar-alerts.yaml')) assert.ok(ofRecording.includes(`### ${alert}\n`), alert)
})

test('every option that the pages give to the plugin’s commands is one', () => {
  const pages = ['docs/operations.md', 'docs/kubectl.md'].map(read).join('\n')
  for (const command of [breakGlassCommand(), supportBundleCommand()]) {
    const known = new Set(command.options.flatMap(({ long, short }) => [long, short]))
    const lines = [...pages.matchAll(new RegExp(`^kubectl steno ${command.name()} (.*)$`, 'gm'))].map(([, words = '']) =>
      words.replaceAll(/'[^']*'/g, ''),
    )
    assert.ok(lines.length > 0)
    for (const words of lines)
      for (const [option] of words.matchAll(/(?<=^| )--?[a-z][a-z-]*/g)) assert.ok(known.has(option), `${command.name()} ${option}`)
  }
})
