import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Option } from 'commander'
import { withoutClusterOptions } from './split-arguments.ts'

const cluster = [new Option('--context <name>'), new Option('-A, --all-namespaces'), new Option('--recording-store <name>')]
const command = [new Option('-n, --namespace <name>'), new Option('--text <text>'), new Option('--json'), new Option('--against [string]')]

for (const [what, given, left] of [
  ['options of the command stay, with their values', ['-n', 'shop', '--json', 'last'], ['-n', 'shop', '--json', 'last']],
  ['options of the cluster go, wherever they stand', ['--context', 'far', 'last', '--recording-store=s3', '-A'], ['last']],
  ['a value that looks like an option of the cluster is a value', ['--text', '--context', 'last'], ['--text', '--context', 'last']],
  ['what stands behind -- is nobody’s option', ['--context', 'far', '--', '--context', '-A'], ['--', '--context', '-A']],
  ['a value written behind = is no reason to take the next word', ['--text=a', '--context=b', 'last'], ['--text=a', 'last']],
  ['an option whose value may be left out takes no word of others', ['--against', '--context', 'far', 'last'], ['--against', 'last']],
  ['a value at the very end is not missed', ['last', '--context', 'far'], ['last']],
] as const) {
  test(what, () => assert.deepEqual(withoutClusterOptions(given, cluster, command), left))
}
