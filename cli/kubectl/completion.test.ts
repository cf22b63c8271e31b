// Goal: behind `kubectl steno` the tab key offers what fits, and never a message. Method: the program that kubectl asks, with Cobra's protocol.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestKubectl, ran, type KubectlAnswers } from './test-kubectl.ts'

const program = new URL('../../bin/kubectl_complete-steno', import.meta.url).pathname
const named = (...names: string[]): object => ({ items: names.map((name) => ({ metadata: { name } })) })
const answers: KubectlAnswers = {
  'get namespaces': named('shop', 'shipping', 'default'),
  'get -n shop pods': named('agent-1', 'agent-2'),
  'get -n shop deployments.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch': 'deployment.apps/agent\njob.batch/import\n',
  'get recordingstores.steno.dev': named('default', 'archive'),
}

/** What is offered, and the directive. */
async function offered(...words: string[]): Promise<{ readonly words: string[]; readonly directive: string }> {
  using kubectl = createTestKubectl(answers)
  const { code, stdout, stderr } = await ran(program, words, { KUBECTL: kubectl.program, HOME: kubectl.folder })
  assert.deepEqual([code, stderr], [0, ''])
  const lines = stdout.trimEnd().split('\n')
  return { words: lines.slice(0, -1), directive: lines.at(-1)! }
}

for (const [what, typed, wanted, directive] of [
  [
    'commands',
    ['ex'],
    [
      'explain\tshow which policies a running pod has, and where its credential went',
      'export\twrite statements as JSON lines, CSV, Parquet, OCSF events or SQL',
    ],
    ':4',
  ],
  [
    'options of a command',
    ['check', '--off'],
    ['--offline\task no cluster: a namespace counts as opted in unless a file says otherwise'],
    ':4',
  ],
  [
    'options that a command shares with steno',
    ['sessions', '--pod'],
    ["--pod\tof this pod, in a cluster: NAME or NAMESPACE/NAME; 'NAME*' for all that begin so"],
    ':4',
  ],
  ['namespaces', ['status', '-n', 'sh'], ['shop', 'shipping'], ':4'],
  ['namespaces behind =', ['status', '--namespace=def'], ['--namespace=default'], ':4'],
  ['namespaces as filters', ['tail', '--namespace', 'sh'], ['shop', 'shipping'], ':4'],
  ['pods of the namespace that was typed', ['explain', '-n', 'shop', 'agent'], ['agent-1', 'agent-2'], ':4'],
  ['workloads whose newest session is meant', ['verify', 'last', '-n', 'shop', '--owner', 'job'], ['job.batch/import'], ':4'],
  ['stores', ['verify', '--all', '--recording-store', 'a'], ['archive'], ':4'],
  ['choices', ['export', '--format', 'p'], ['parquet'], ':4'],
  ['files', ['check', '-f', ''], [], ':0'],
  ['the newest session, where no other can be read', ['show', 'la'], ['last\tthe newest session'], ':4'],
  ['commands to be helped with', ['help', 'ver'], ['verify'], ':4'],
  ['nothing where one pod is enough', ['explain', 'agent-1', ''], [], ':4'],
  ['nothing behind a command that there is not', ['nonsense', ''], [], ':4'],
  ['nothing where the cluster does not answer', ['explain', '-n', 'other', ''], [], ':4'],
  ['nothing behind --', ['show', '--', ''], [], ':4'],
] as const) {
  test(`it offers ${what}`, async () => assert.deepEqual(await offered(...typed), { words: wanted, directive }))
}

test('hidden options are not offered', async () => {
  const { words } = await offered('sessions', '--s')
  assert.deepEqual(
    words.map((word) => word.split('\t')[0]),
    ['--since', '--sqlstate', '--steno-namespace'],
  )
})
