/**
 * Goal: people can read what becomes of a pod's variables, form by form. Method: golden/*.json, each with a pod's parts, the policy where it is
 * not the usual one, and what they become or why they are refused. `STENO_WRITE_GOLDEN=1` writes the second half anew, to be read before it is kept.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import type { V1Container, V1Volume } from '@kubernetes/client-node'
import type { MergedDatabase, MergedPolicy } from '../../crds/merge.ts'
import { moveCredentials, type Moved } from './move-credentials.ts'
import { testDatabase, testPolicy } from './test-policy.ts'

type Parts = { readonly containers?: V1Container[]; readonly initContainers?: V1Container[]; readonly volumes?: V1Volume[] }
type Pair = {
  readonly says: string
  readonly databases?: readonly Partial<MergedDatabase>[]
  readonly allowKeys?: MergedPolicy['secrets']['allowKeys']
  readonly given: Parts & { readonly annotations?: Readonly<Record<string, string>> }
  readonly becomes?: Outcome
}
type Outcome = Parts & { readonly sources?: unknown; readonly warnings?: readonly string[]; readonly refusals?: unknown }

const folder = new URL('golden/', import.meta.url)
const files = readdirSync(folder).filter((file) => file.endsWith('.json'))

for (const file of files) {
  const pair = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Pair
  test(`golden ${file}: ${pair.says}`, () => {
    const policy = testPolicy(
      (pair.databases ?? [{}]).map((database) => testDatabase(database)),
      pair.allowKeys,
    )
    const { containers = [], initContainers = [], volumes = [], annotations = {} } = pair.given
    const before = JSON.stringify(pair.given)
    const moved = moveCredentials({ containers, initContainers, volumes, annotations }, policy, [])
    const outcome = outcomeOf(moved, pair.given)
    if (process.env['STENO_WRITE_GOLDEN'] === '1')
      writeFileSync(new URL(file, folder), `${JSON.stringify({ ...pair, becomes: outcome }, null, 2)}\n`)
    else assert.deepEqual(outcome, pair.becomes)
    assert.equal(JSON.stringify(pair.given), before, 'what was given is left as it was')
    if (moved.kind !== 'moved') return
    const again = moveCredentials({ ...moved, annotations }, policy, moved.sources)
    assert.ok(again.kind === 'moved', JSON.stringify(again))
    assert.deepEqual(
      { containers: again.containers, initContainers: again.initContainers, volumes: again.volumes, sources: again.sources },
      { containers: moved.containers, initContainers: moved.initContainers, volumes: moved.volumes, sources: moved.sources },
      'a second review changes nothing',
    )
  })
}

/** Parts that the pair does not have are left out, for reading. */
function outcomeOf(moved: Moved, given: Parts): Outcome {
  if (moved.kind === 'refused') return { refusals: moved.refusals }
  return JSON.parse(
    JSON.stringify({
      ...(given.initContainers === undefined ? {} : { initContainers: moved.initContainers }),
      containers: moved.containers,
      ...(given.volumes === undefined ? {} : { volumes: moved.volumes }),
      sources: moved.sources,
      ...(moved.warnings.length === 0 ? {} : { warnings: moved.warnings }),
    }),
  ) as Outcome
}
