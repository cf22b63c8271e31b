import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse, stringify } from 'yaml'
import { injectPod } from './inject-pod.ts'
import { refusalMessage } from './refusal.ts'
import { goldenFolder, goldenNames, goldenPod, goldenWorld, requestFor } from './test-world.ts'

// Goal: what admission does to a pod is there to be read, and changes only when somebody means it. Method: a pair for each rule and case;
// STENO_UPDATE_GOLDEN=1 writes what is now, for the diff to be read.
for (const name of goldenNames) {
  test(`the golden pair holds: ${name}`, () => {
    const file = new URL(`${name}/out.yaml`, goldenFolder)
    const injection = injectPod(requestFor(goldenPod(name)), goldenWorld(name))
    const { out } = outcomeOf(injection)
    if (process.env['STENO_UPDATE_GOLDEN'] === '1')
      writeFileSync(file, stringify(out, { aliasDuplicateObjects: false, lineWidth: 0, defaultStringType: 'PLAIN' }))
    assert.ok(existsSync(file), 'run with STENO_UPDATE_GOLDEN=1 and read what it writes')
    assert.deepEqual(parse(readFileSync(file, 'utf8')), JSON.parse(JSON.stringify(out)))
  })
}

// The rules of `credentials/` have their pairs there.
test('each rule that can refuse a pod has a golden pair of its name that it refuses', () => {
  const rules = new Set(
    sourcesOf(new URL('.', import.meta.url)).flatMap((text) => [...text.matchAll(/\brule: '([A-Z]\w+)'/g)].map(([, rule]) => rule)),
  )
  assert.ok(rules.size >= 14, 'the source is read')
  for (const rule of rules) {
    assert.ok(rule !== undefined && goldenNames.includes(rule), `golden/${rule}`)
    const injection = injectPod(requestFor(goldenPod(rule)), goldenWorld(rule))
    assert.ok(injection.kind === 'refused' && injection.refusals.some((refusal) => refusal.rule === rule), rule)
  }
})

function outcomeOf(injection: ReturnType<typeof injectPod>): { readonly out: object } {
  switch (injection.kind) {
    case 'exempt':
      return { out: { exempt: { by: injection.by, reason: injection.reason } } }
    case 'refused':
      return { out: { refusals: injection.refusals, message: refusalMessage(injection.refusals) } }
    case 'injected':
      return { out: { ...(injection.warnings.length === 0 ? {} : { warnings: injection.warnings }), pod: injection.pod } }
    default:
      return injection satisfies never
  }
}

/** The text of each file of the folder that is no test. */
function sourcesOf(folder: URL): string[] {
  return readdirSync(folder)
    .filter((name) => /(?<!\.test)\.ts$/.test(name))
    .map((name) => readFileSync(new URL(name, folder), 'utf8'))
}
