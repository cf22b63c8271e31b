/** Goal: what golden pairs and properties do not show: passwords that are also names, ports, later injectors, pods without databases. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1Container, V1EnvVar, V1Volume } from '@kubernetes/client-node'
import type { MergedDatabase } from '../../crds/merge.ts'
import { moveCredentials, type Moved, type Source } from './move-credentials.ts'
import { testDatabase, testPolicy } from './test-policy.ts'

const url = (secret: string, key = 'url'): V1EnvVar => ({ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: secret, key } } })
const agent = (env: V1EnvVar[], more: Partial<V1Container> = {}): V1Container => ({ name: 'agent', env, ...more })

function review(
  containers: V1Container[],
  {
    databases = [testDatabase()],
    known = [],
    volumes = [],
  }: { databases?: MergedDatabase[]; known?: readonly Source[]; volumes?: V1Volume[] } = {},
): Moved {
  return moveCredentials({ containers, initContainers: [], volumes }, testPolicy(databases), known)
}

function moved(result: Moved): Extract<Moved, { kind: 'moved' }> {
  assert.ok(result.kind === 'moved', JSON.stringify(result))
  return result
}

const rulesOf = (result: Moved): string[] => (result.kind === 'moved' ? [] : result.refusals.map(({ rule }) => rule))

test('a pod whose policies name no database is left as it is', () => {
  const containers = [agent([{ name: 'DATABASE_URL', value: 'postgres://u:p@h/d' }])]
  const result = moved(moveCredentials({ containers, initContainers: [], volumes: [] }, testPolicy([]), []))
  assert.deepEqual([result.containers, result.sources], [containers, []])
})

test('a password that is also the name of user and database is no reason to refuse the name', () => {
  const databases = [testDatabase({ databaseNames: ['postgres'] })]
  const named = 'postgres://postgres:postgres@db.shop.svc/postgres'
  const result = moved(
    review(
      [
        agent(
          [
            { name: 'DATABASE_URL', value: named },
            { name: 'DIALECT', value: 'postgres' },
          ],
          { args: ['--engine=postgres'] },
        ),
      ],
      { databases },
    ),
  )
  assert.equal(result.containers[0]?.env?.[0]?.value, 'postgres://postgres@127.0.0.1:15432/postgres?sslmode=disable')
  for (const copy of [
    { name: 'DB_PASSWORD', value: 'postgres' },
    { name: 'COPY', value: named },
  ])
    assert.deepEqual(rulesOf(review([agent([{ name: 'DATABASE_URL', value: named }, copy])], { databases })), ['CredentialNotNamed'])
})

test('a short password is found as a word, and as a part of other words it is none', () => {
  const env = (more: string): V1EnvVar[] => [
    { name: 'DATABASE_URL', value: 'postgres://shop:tiger@db.shop.svc/shop' },
    { name: 'OTHER', value: more },
  ]
  for (const fine of ['tigers', 'paper-tigerish', 'scott']) assert.deepEqual(rulesOf(review([agent(env(fine))])), [], fine)
  for (const bad of ['tiger', 'scott/tiger', 'x=tiger;y']) assert.deepEqual(rulesOf(review([agent(env(bad))])), ['CredentialNotNamed'], bad)
})

test('a password is found however it is written: encoded, escaped for the kubelet, put together', () => {
  const env: V1EnvVar[] = [
    { name: 'FIRST', value: 'pa$$ss/' },
    { name: 'LAST', value: 'word-long' },
    { name: 'DB_PASSWORD', value: '$(FIRST)$(LAST)' },
    { name: 'PGHOST', value: 'db.shop.svc' },
    { name: 'PGPASSWORD', value: '$(DB_PASSWORD)' },
  ]
  const databases = [testDatabase({ variables: [{ form: 'libpq', prefix: 'PG' }] })]
  const result = moved(review([agent(env)], { databases }))
  assert.deepEqual(
    result.containers[0]?.env?.map(({ name }) => name).filter((name) => !name.startsWith('PG')),
    [],
  )
  assert.deepEqual(result.sources[0]?.env.find(({ name }) => name.endsWith('PGPASSWORD'))?.value, 'pa$$ss/word-long')
  for (const copy of ['pa$ss/word-long', 'pa$$ss/word-long', 'x pa%24ss%2Fword-long']) {
    const second: V1Container = { name: 'second', args: [copy] }
    assert.deepEqual(rulesOf(review([agent(env), second], { databases })), ['CredentialInCommand'], copy)
  }
})

test('further listeners take the next port that no database, container or probe has', () => {
  const containers = ['a', 'b', 'c'].map((name): V1Container => ({ name, env: [url(name)] }))
  containers[0]!.ports = [{ containerPort: 15_433 }]
  const databases = [
    testDatabase(),
    testDatabase({ name: 'reports', variables: [{ form: 'url', name: 'REPORTS_URL' }], localPort: 15_434 }),
  ]
  const { sources } = moved(review(containers, { databases }))
  assert.deepEqual(
    sources.map(({ number, localPort }) => [number, localPort]),
    [
      [0, 15_432],
      [1, 15_435],
      [2, 15_436],
    ],
  )
})

test('a port on localhost is taken for a listener only when the sidecar has one there', () => {
  const ours = agent([{ name: 'DATABASE_URL', value: 'postgresql://agent@127.0.0.1:15432/shop?sslmode=disable' }])
  assert.deepEqual(rulesOf(review([ours])), ['OutsidePolicy'])
  const { sources } = moved(review([agent([url('db')])]))
  assert.deepEqual(moved(review([ours], { known: sources })).sources, sources)
})

test('what another injector adds between two reviews is treated as if it had been there: connections, closed keys, volumes', () => {
  const first = moved(review([agent([url('db')])]))
  const known = first.sources
  const added = (container: V1Container, volumes: V1Volume[] = []): Moved => review([...first.containers, container], { known, volumes })
  const same = moved(added({ name: 'added', env: [url('db')] }))
  assert.deepEqual(same.sources, known)
  assert.deepEqual(same.containers[1]?.env, first.containers[0]?.env)
  const other = moved(added({ name: 'added', env: [url('other')] }))
  assert.deepEqual(
    other.sources.map(({ number, localPort }) => [number, localPort]),
    [
      [0, 15_432],
      [1, 15_433],
    ],
  )
  assert.deepEqual(rulesOf(added({ name: 'added', env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'db', key: 'x' } } }] })), [
    'SecretClosed',
  ])
  assert.deepEqual(rulesOf(added({ name: 'added' }, [{ name: 'v', secret: { secretName: 'db' } }])), ['SecretVolumeClosed'])
  assert.equal(
    moved(added({ name: 'added', env: [{ name: 'DATABASE_URL', value: '' }], envFrom: [{ secretRef: { name: 'db' } }] })).containers[1]
      ?.envFrom,
    undefined,
  )
})

test('a literal credential that an earlier review moved is still looked for', () => {
  const first = moved(review([agent([{ name: 'DATABASE_URL', value: 'postgres://shop:correct-horse@db.shop.svc/shop' }])]))
  const again = review([...first.containers, { name: 'added', command: ['x', 'correct-horse'] }], { known: first.sources })
  assert.deepEqual(rulesOf(again), ['CredentialInCommand'])
})

test('equal connections under different names of variables share a listener', () => {
  const databases = [
    testDatabase({
      variables: [
        { form: 'url', name: 'DATABASE_URL' },
        { form: 'url', name: 'DSN' },
      ],
    }),
  ]
  const { sources } = moved(
    review([agent([url('db'), { name: 'DSN', valueFrom: { secretKeyRef: { name: 'db', key: 'url' } } }])], { databases }),
  )
  assert.equal(sources.length, 1)
})

test('a connection with an escaped dollar before a reference is known again at the next review', () => {
  const password: V1EnvVar = { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'orders', key: 'password' } } }
  const containers = [agent([password, { name: 'DATABASE_URL', value: 'postgresql://agent:$$($(PASSWORD)@db.shop.svc/shop' }])]
  const first = moved(review(containers))
  assert.equal(first.sources.length, 1)
  const again = moved(review([...first.containers, ...containers], { known: first.sources }))
  assert.deepEqual(again.sources, first.sources)
})

test('a volume is refused or narrowed once, and a mount of a key that is kept goes on', () => {
  const policy = testPolicy([testDatabase()], [{ secret: 'db', keys: ['ca.crt'] }])
  const parts = {
    initContainers: [],
    containers: [agent([url('db')], { volumeMounts: [{ name: 'db', mountPath: '/ca.crt', subPath: 'ca.crt' }] })],
    volumes: [{ name: 'db', secret: { secretName: 'db', defaultMode: 0o440 } }],
  }
  const first = moved(moveCredentials(parts, policy, []))
  assert.deepEqual(first.volumes, [
    { name: 'db', secret: { secretName: 'db', defaultMode: 0o440, items: [{ key: 'ca.crt', path: 'ca.crt' }], optional: true } },
  ])
  assert.deepEqual(moved(moveCredentials(first, policy, first.sources)).volumes, first.volumes)
})

test('a name of the sidecar means nothing in a moved value', () => {
  const { sources } = moved(review([agent([{ name: 'DATABASE_URL', value: 'postgres://shop:x$(STENO_SIDECAR_CONFIG)@db.shop.svc/shop' }])]))
  assert.equal(sources[0]?.env[0]?.value, 'postgres://shop:x$$(STENO_SIDECAR_CONFIG)@db.shop.svc/shop')
})

test('what the agent keeps is text to the kubelet, but for the references that it keeps', () => {
  const value = 'host=db.shop.svc user=a$$(POD) dbname=shop password=correct-horse application_name=$(POD) TimeZone=$$(POD)'
  const env: V1EnvVar[] = [
    { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: 'DATABASE_URL', value },
  ]
  const { containers } = moved(review([agent(env)]))
  const written = 'host=127.0.0.1 port=15432 user=a$$(POD) dbname=shop application_name=$(POD) TimeZone=$$(POD) sslmode=disable'
  assert.equal(containers[0]?.env?.[1]?.value, written)
})
