// Goal: each address of each host is asked once, in bounds, and what could not be asked says so. Method: a resolver and a question of the test's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Question } from './ask-server.ts'
import { BadProbeRequest, databaseNamesMax, probeTargets, readProbeRequest } from './probe-targets.ts'

const target = (host: string, names: readonly string[] = ['shop']) => ({ database: 'orders', host, port: 5432, databaseNames: [...names] })
const request = (...hosts: string[]) => ({ namespace: 'shop', user: 'steno_probe', targets: hosts.map((host) => target(host)) })

test('every address of a name is asked, in the namespace of the policy, and a name without one is told', async () => {
  const asked: Question[] = []
  const found = await probeTargets(request('db', 'gone'), {
    resolve: async (host, namespace) => {
      assert.equal(namespace, 'shop')
      if (host === 'gone') throw new Error('there is no address of `gone`')
      return [{ text: '10.0.0.1' }, { text: 'fd00::1' }]
    },
    ask: async (question) => (asked.push(question), { kind: 'rejected', detail: question.address }),
  })
  assert.deepEqual(
    found.map(({ host, address, answer }) => [host, address, answer.kind]),
    [
      ['db', '10.0.0.1', 'rejected'],
      ['db', 'fd00::1', 'rejected'],
      ['gone', null, 'unclear'],
    ],
  )
  assert.deepEqual(new Set(asked.map(({ user }) => user)), new Set(['steno_probe']))
})

test('so many are asked at a time, so many names of databases, and none behind the time', async () => {
  let underWay = 0
  let most = 0
  let time = 0
  const hosts = Array.from({ length: 100 }, (_, at) => `db-${at}`)
  const found = await probeTargets(
    {
      ...request(),
      targets: hosts.map((host) =>
        target(
          host,
          Array.from({ length: 64 }, (_, at) => `name_${at}`),
        ),
      ),
    },
    {
      resolve: async () => [{ text: '10.0.0.1' }, { text: '10.0.0.2' }],
      now: () => time,
      ask: async ({ databaseNames }) => {
        assert.equal(databaseNames.length, databaseNamesMax)
        most = Math.max(most, ++underWay)
        await new Promise((resolve) => setImmediate(resolve))
        underWay--
        time += 1_000
        return { kind: 'silent', detail: '' }
      },
    },
  )
  assert.ok(most <= 32, `${most} at a time`)
  assert.equal(found.length, 200)
  const late = found.filter(({ answer }) => answer.kind === 'unclear' && answer.detail.includes('60 s were over'))
  assert.ok(late.length > 100, `${late.length} were not asked`)
})

test('what is no request is refused with the field that is wrong, and never quoted', () => {
  assert.deepEqual(readProbeRequest(JSON.stringify(request('db'))), request('db'))
  for (const bad of ['', '{', '[]', '{}', JSON.stringify({ ...request('db'), more: 1 }), JSON.stringify(request())])
    assert.throws(() => readProbeRequest(bad), BadProbeRequest, bad)
  assert.throws(() => readProbeRequest(JSON.stringify({ ...request('db'), targets: [{ ...target('db'), port: 0 }] })), /targets\.0\.port/)
})
