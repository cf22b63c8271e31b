import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V1EnvVar } from '@kubernetes/client-node'
import { writeSidecarConfig, type Listener, type ListenerSource } from '../crds/sidecar-config.ts'
import { readKnownSources } from './known-sources.ts'

function listener(database: string, localPort: number, source: ListenerSource): Listener {
  const allowed = { hosts: ['h'], port: 5432, databaseNames: ['d'] }
  return { database, localPort, allowed, tls: { mode: 'require', caVariable: null }, source }
}

function sidecar(listeners: readonly Listener[], env: readonly V1EnvVar[]) {
  const config = writeSidecarConfig({
    version: 1,
    control: { url: 'https://c', store: 'default' },
    relay: null,
    enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
    policy: { names: [], hash: '0'.repeat(32) },
    recording: { level: 'results', onFailure: 'block', spoolBytesMax: 1, spoolAgeMillisecondsMax: 1 },
    terminationGraceSeconds: 30,
    listeners,
  })
  return { name: 'steno', env: [{ name: 'STENO_SIDECAR_CONFIG', value: config }, ...env] }
}

const url = (variable: string): ListenerSource => ({ kind: 'url', variable })

test('sources are read in order of their numbers, each with the variables of its number and no others', () => {
  const second = { kind: 'libpq', variables: { host: 'STENO_SOURCE_1_PGHOST' } } as const
  const env = [
    { name: 'STENO_SOURCE_1_PGHOST', value: '$(STENO_SOURCE_1_NAME).data' },
    { name: 'STENO_SOURCE_1_NAME', value: 'stock' },
    { name: 'STENO_SOURCE_0_DATABASE_URL', value: 'x' },
    { name: 'STENO_SOURCE_10_OTHER', value: 'x' },
    { name: 'NODE_OPTIONS', value: 'x' },
  ]
  const reading = readKnownSources(
    sidecar([listener('stock', 15_433, second), listener('orders', 15_432, url('STENO_SOURCE_0_DATABASE_URL'))], env),
  )
  assert.ok(reading.kind === 'read')
  assert.deepEqual(
    reading.sources.map(({ number, database, localPort, env: own }) => [number, database, localPort, own.map(({ name }) => name)]),
    [
      [0, 'orders', 15_432, ['STENO_SOURCE_0_DATABASE_URL']],
      [1, 'stock', 15_433, ['STENO_SOURCE_1_PGHOST', 'STENO_SOURCE_1_NAME']],
    ],
  )
})

const variable = { name: 'STENO_SOURCE_0_X', value: 'hunter2' }
const unusable: [string, ReturnType<typeof sidecar>, RegExp][] = [
  ['no configuration', { name: 'steno', env: [] }, /no STENO_SIDECAR_CONFIG/],
  ['a configuration that is none', { name: 'steno', env: [{ name: 'STENO_SIDECAR_CONFIG', value: 'hunter2' }] }, /no JSON/],
  ['a source without its variable', sidecar([listener('a', 15_432, url('STENO_SOURCE_0_X'))], []), /STENO_SOURCE_0_X is not there/],
  [
    'one number for two listeners',
    sidecar([listener('a', 15_432, url('STENO_SOURCE_0_X')), listener('b', 15_433, url('STENO_SOURCE_0_X'))], [variable]),
    /two listeners use source 0/,
  ],
  [
    'a source of several numbers',
    sidecar([listener('a', 15_432, { kind: 'libpq', variables: { host: 'STENO_SOURCE_0_X', port: 'STENO_SOURCE_1_X' } })], [variable]),
    /several sources/,
  ],
  ['a number with zeros before it', sidecar([listener('a', 15_432, url('STENO_SOURCE_00_X'))], []), /several sources/],
]
for (const [name, container, problem] of unusable)
  test(`a sidecar that cannot be taken over is not guessed at: ${name}`, () => {
    const reading = readKnownSources(container)
    assert.ok(reading.kind === 'unusable')
    assert.match(reading.problem, problem)
    assert.doesNotMatch(reading.problem, /hunter2/)
  })
