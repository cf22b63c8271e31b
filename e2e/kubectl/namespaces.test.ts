// Goal: a misspelt namespace is told as one, and what was recorded of a namespace that was deleted stays readable. Method: the plugin with a
// kubectl that answers by a table and forwards to a control of the test, whose store has the recordings of one pod.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createTestKubectl, type KubectlAnswers, type Ran } from '../../cli/kubectl/test-kubectl.ts'
import { sealAttestation } from '../../session/attestation.ts'
import { attestationKey } from '../../session/object-keys.ts'
import { createTestRecorder, testEpoch, testKey } from '../../session/test-recording.ts'
import { startTestControl } from '../../webhook/control/test-control.ts'

const pod = { podUid: 'u', podName: 'agent-0', podNamespace: 'gone', serviceAccount: 'agent', nodeName: null, owner: null, image: null }

async function steno(args: readonly string[], answers: KubectlAnswers = {}): Promise<Ran> {
  await using control = await startTestControl()
  const recorder = await createTestRecorder(control.directory, { seed: 1 })
  await recorder.record([{ statements: 1 }], { attested: { podNamespace: 'gone', podName: 'agent-0' } })
  await control.directory.putIfAbsent(
    attestationKey(recorder.key.id),
    sealAttestation({ recorder: recorder.key.id, time: testEpoch, pod }, testKey(9)).bytes,
  )
  using kubectl = createTestKubectl({ 'get namespace shop': 'namespace/shop\n', ...answers }, { forwardTo: control.server.readerPort ?? 0 })
  return await kubectl.steno(args)
}

for (const [command, code] of [
  [['sessions'], 1],
  [['tail', '--until-idle', '1'], 1],
  [['search', '--text', 'x'], 3],
] as const) {
  test(`${command[0]} of a namespace that is not there, and of which nothing was recorded, says so and fails`, async () => {
    const { code: ended, stdout, stderr } = await steno([...command, '-n', 'shopp'])
    assert.deepEqual([ended, stdout], [code, ''], stderr)
    assert.match(stderr, /no namespace shopp, and nothing was recorded of one\n.*kubectl get namespaces[\s\S]*\(OBJECT_NOT_FOUND\)/)
  })
}

test('a namespace that was deleted is looked at, and said to be gone; one that is there is no matter', async () => {
  const gone = await steno(['sessions', '-n', 'gone'])
  assert.equal(gone.code, 0, gone.stderr)
  assert.match(gone.stdout, /gone\/agent-0/)
  assert.match(gone.stderr, /^steno: the cluster has no namespace gone now;/)
  const there = await steno(['sessions', '-n', 'shop'])
  assert.deepEqual([there.code, there.stderr], [0, ''])
  assert.match(there.stdout, /^no sessions that fit in RecordingStore default$/m)
})

test('who may not ask for namespaces is told nothing of them', async () => {
  const forbidden = {
    stderr: 'Error from server (Forbidden): namespaces "shopp" is forbidden: User "dev" cannot get resource "namespaces"',
  }
  const { code, stderr } = await steno(['sessions', '-n', 'shopp'], { 'get namespace shopp': forbidden })
  assert.deepEqual([code, stderr], [0, ''])
})

test('last of a namespace or a pod is the newest session there, and an id takes neither', async () => {
  // The recording of the test has no statements that `show` can read; it names the session that it was asked for.
  for (const words of [
    ['show', 'last', '-n', 'gone'],
    ['show', '--pod', 'gone/agent*', 'last'],
    ['show', 'last', '--owner', 'statefulset/agent'],
  ])
    assert.match((await steno(words)).stderr, /Run `kubectl steno verify [0-9a-f-]{36}`/)
  assert.match((await steno(['replay', 'last', '--as', 'sql', '--owner', 'sts/agent'])).stdout, /^-- session [0-9a-f-]{36}/m)
  const none = await steno(['show', 'last', '-n', 'shop'])
  assert.deepEqual([none.code, none.stdout], [1, ''])
  assert.match(none.stderr, /no recorded session in RecordingStore default is of namespace shop\n.*kubectl steno sessions/)
  const verified = await steno(['verify', 'last', '--owner', 'statefulset/agent', '--json'])
  assert.match(verified.stdout, /"sessions":1,/)
  const other = await steno(['verify', 'last', '--owner', 'deployment/agent'])
  assert.equal(other.code, 3)
  assert.match(other.stderr, /no recorded session in RecordingStore default is of deployment\/agent\n.*kubectl steno sessions/)
  for (const words of [
    ['show', 'ffffffff', '-n', 'gone'],
    ['replay', 'ffffffff', '--owner', 'statefulset/agent'],
    ['verify', '--all', '--owner', 'statefulset/agent'],
  ]) {
    const named = await steno(words)
    assert.equal(named.code, 2)
    assert.match(named.stderr, /go with `last`/)
  }
})

test('what the plugin’s commands say names commands of the plugin, and no port that is gone', async () => {
  const none = await steno(['show', 'ffffffff'])
  assert.match(none.stderr, /no session in RecordingStore default starts with ffffffff/)
  const { stderr } = await steno(['show', 'last'])
  assert.match(stderr, /Run `kubectl steno verify [0-9a-f-]+`/)
})
