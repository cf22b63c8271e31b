import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testEpoch, testIdentity, testSessionId } from '../session/test-recording.ts'
import { sessionLines } from './show-session.ts'

const identity = testIdentity(testSessionId(testEpoch, 1), testEpoch, 'r')
const pod = { podUid: 'u-1', podName: 'agent-0', podNamespace: 'shop', serviceAccount: 'agent', nodeName: 'node-1' }

function shown(attested: Readonly<Record<string, string>>): string[] {
  return sessionLines({ ...identity, attested }, { close: null, gaps: [] }).filter((line) => /^(pod|attested) /.test(line))
}

test('the pod stands in a line of its own, and what else was attested behind it', () => {
  assert.deepEqual(shown(pod), ['pod        shop/agent-0, ServiceAccount agent, node node-1, UID u-1'])
  assert.deepEqual(shown({ ...pod, image: 'x@sha256:1' }).at(-1), 'attested   image=x@sha256:1')
  assert.deepEqual(shown({ podNamespace: 'shop', podName: 'agent-0' }), ['pod        shop/agent-0'])
})

test('outside a cluster there is no such line, and half a pod hides nothing', () => {
  assert.deepEqual(shown({}), [])
  assert.deepEqual(shown({ podName: 'agent-0', serviceAccount: 'agent' }), ['attested   podName=agent-0 serviceAccount=agent'])
})

test('a name cannot act on the terminal', () => {
  assert.deepEqual(shown({ podNamespace: 'shop', podName: 'a\u001b[2J\n' }), ['pod        shop/a\\x1B[2J\\n'])
})
