/**
 * Goal: what the page says of policies that combine is what happens to pods. Method: each example's policies, read as the cluster's are, go
 * through the merge that the webhook uses; what the page promises must be part of the result, and conflicts must be all of them.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parse, parseAllDocuments } from 'yaml'
import { mergePolicies, type Merge } from '../crds/merge.ts'
import { readClusterSessionPolicy, readSessionPolicy } from '../crds/read-object.ts'

type Labels = Readonly<Record<string, string>>
type Expected = {
  readonly pod: { readonly namespace: string; readonly labels?: Labels; readonly namespaceLabels?: Labels }
  readonly gets?: unknown
  readonly conflicts?: readonly string[]
  readonly exempt?: unknown
}

const page = readFileSync(path.join(import.meta.dirname, 'policies.md'), 'utf8')
const examples = page.split(/^## Example: /m).slice(1)

/** `all` as far as `part` speaks of it; lists have as many entries as they are said to have. */
function asFarAs(part: unknown, all: unknown): unknown {
  if (Array.isArray(part) && Array.isArray(all)) return all.map((each, at) => asFarAs(part[at], each))
  if (typeof part !== 'object' || part === null || typeof all !== 'object' || all === null) return all
  const fields = all as Readonly<Record<string, unknown>>
  return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, asFarAs(value, fields[name])]))
}

function promised({ gets, conflicts, exempt }: Expected, merge: Merge): void {
  switch (merge.kind) {
    case 'merged':
      assert.ok(gets !== undefined, 'the page says that it is not merged')
      return assert.deepEqual(asFarAs(gets, merge.policy), gets)
    case 'conflict':
      return assert.deepEqual(
        merge.problems.map(({ message }) => message),
        conflicts,
      )
    case 'exempt':
      return assert.deepEqual({ by: merge.by, reason: merge.reason }, exempt)
    default:
      return merge satisfies never
  }
}

test('the page has examples of each outcome', () => {
  assert.ok(examples.length >= 4)
  for (const outcome of ['gets:', 'conflicts:', 'exempt:']) assert.ok(page.includes(`\n${outcome}`), outcome)
})

for (const example of examples) {
  const title = example.slice(0, example.indexOf('\n'))
  const [policies = '', ...results] = [...example.matchAll(/```yaml\n([\s\S]*?)\n```/g)].map(([, block = '']) => block)
  test(`the example “${title}” is what the merge makes of its policies`, () => {
    const objects = parseAllDocuments(policies).map((document) => document.toJS() as { kind: string })
    const own = objects.filter(({ kind }) => kind === 'SessionPolicy').map((object) => readSessionPolicy(object))
    const ofCluster = objects.filter(({ kind }) => kind === 'ClusterSessionPolicy').map((object) => readClusterSessionPolicy(object))
    assert.equal(own.length + ofCluster.length, objects.length)
    assert.ok(results.length > 0)
    for (const text of results) {
      const expected = parse(text) as Expected
      const { namespace, labels = {}, namespaceLabels = {} } = expected.pod
      const facts = { namespace, podLabels: labels, namespaceLabels }
      promised(expected, mergePolicies(facts, own, ofCluster))
      promised(expected, mergePolicies(facts, own.toReversed(), ofCluster.toReversed()))
    }
  })
}
