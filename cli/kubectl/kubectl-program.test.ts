// Goal: whatever kubectl says, people are told what to do. Method: a kubectl that says what kubectl 1.33 said, word for word.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { failureFrom, told } from './errors.ts'
import { createTestKubectl, ran } from './test-kubectl.ts'

for (const [said, code, remedy] of [
  [
    'Error from server (Forbidden): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "shop"',
    'CLUSTER_FORBIDS',
    /right that is named/,
  ],
  ['Error from server (NotFound): namespaces "nope" not found', 'OBJECT_NOT_FOUND', /--namespace/],
  ['Error in configuration: context was not found for specified context: nope', 'KUBECTL_FAILED', /get-contexts/],
  ['error: cannot locate context nope', 'KUBECTL_FAILED', /get-contexts/],
  ['error: context "nope" does not exist', 'KUBECTL_FAILED', /get-contexts/],
  ['error: stat /nope: no such file or directory', 'KUBECTL_FAILED', /--kubeconfig/],
  ['error: the server doesn\'t have a resource type "sessionpolicies"', 'STENO_NOT_INSTALLED', /Install steno/],
  ['The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?', 'KUBECTL_FAILED', /API server/],
  ['Unable to connect to the server: dial tcp: lookup x on 1.1.1.1:53: no such host', 'KUBECTL_FAILED', /API server/],
  ['error: You must be logged in to the server (Unauthorized)', 'KUBECTL_FAILED', /log in again/],
  ['error: something else', 'KUBECTL_FAILED', /See what kubectl says/],
  ['', 'KUBECTL_FAILED', /See what kubectl says/],
] as const) {
  test(`it is told what to do when kubectl says: ${said || 'nothing'}`, () => {
    const failure = failureFrom(said, 'get pods')
    assert.equal(failure.code, code)
    assert.match(failure.remedy, remedy)
  })
}

test('log lines of kubectl’s client library, control characters and endless output are not passed on', () => {
  const noise = 'E1121 18:33:34.300582   91811 memcache.go:265] "Unhandled Error" err="x"\n'
  assert.equal(told(`${noise}${noise}error: the \u001b[2Jend\n`), 'the \\x1B[2Jend')
  assert.ok(told('x'.repeat(100_000)).length < 3_000)
})

test('without a kubectl both kinds of commands say so', async () => {
  using kubectl = createTestKubectl({})
  for (const args of [['status'], ['sessions'], ['explain', 'x']]) {
    const { code, stderr } = await ran(path.resolve('bin/kubectl-steno'), args, { KUBECTL: '/nowhere/kubectl', HOME: kubectl.folder })
    assert.equal(code, 1)
    assert.match(stderr, /there is no program "\/nowhere\/kubectl"[\s\S]*\(KUBECTL_MISSING\)/)
  }
})

test('the kubectl of PATH is asked when none is named, and context and kubeconfig are passed on', async () => {
  using kubectl = createTestKubectl({})
  const environment = { PATH: `${kubectl.folder}:${process.env['PATH'] ?? ''}`, HOME: kubectl.folder }
  await ran(path.resolve('bin/kubectl-steno'), ['explain', 'x', '-n', 'shop', '--context', 'far', '--kubeconfig', '/etc/k'], environment)
  assert.ok(kubectl.asked().length > 0)
  for (const asked of kubectl.asked()) assert.match(asked, /^--context far --kubeconfig \/etc\/k --request-timeout=\d+s get -o json /)
})

test('an option of kubectl’s before the command is told where it belongs', async () => {
  using kubectl = createTestKubectl({})
  for (const option of ['--namespace', '-n', '--context=far']) {
    const { code, stderr } = await kubectl.steno([option, 'shop', 'status'])
    assert.equal(code, 2)
    assert.match(stderr, /stands behind the command: kubectl steno COMMAND -/)
  }
})

test('what is no kubectl is told apart from a cluster without objects', async () => {
  using kubectl = createTestKubectl({})
  writeFileSync(kubectl.program, '#!/bin/sh\necho hello\n')
  const { code, stderr } = await kubectl.steno(['explain', 'x', '-n', 'shop'])
  assert.equal(code, 1)
  assert.match(stderr, /gave no JSON/)
})
