import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkSidecarConfig, parseSidecarConfig, SidecarConfigInvalid, writeSidecarConfig, type SidecarConfig } from './sidecar-config.ts'

const config: SidecarConfig = {
  version: 1,
  control: { url: 'https://steno-control.steno-system.svc:443', store: 'default' },
  relay: null,
  enforcement: { mode: 'CredentialsOnly', onOpenPath: 'Report' },
  policy: { names: ['shop/orders'], hash: '0123456789abcdef0123456789abcdef' },
  recording: { level: 'results', onFailure: 'block', spoolBytesMax: 1, spoolAgeMillisecondsMax: 1 },
  terminationGraceSeconds: 30,
  listeners: [
    {
      database: 'orders',
      localPort: 15_432,
      allowed: { hosts: ['*.example.com'], port: 5432, databaseNames: ['orders'] },
      tls: { mode: 'verify-full', caVariable: 'STENO_CA_0' },
      source: { kind: 'url', variable: 'STENO_SOURCE_0_DATABASE_URL' },
    },
    {
      database: 'stock',
      localPort: 15_433,
      allowed: { hosts: ['stock'], port: 5432, databaseNames: ['stock'] },
      tls: { mode: 'disable', caVariable: null },
      source: { kind: 'libpq', variables: { host: 'STENO_SOURCE_1_PGHOST', password: 'STENO_SOURCE_1_PGPASSWORD' } },
    },
  ],
}

test('what is written is what is read', () => {
  assert.deepEqual(parseSidecarConfig(writeSidecarConfig(config)), config)
})

test('equal configurations give equal text, in whatever order their fields were set', () => {
  const backwards = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(backwards)
    const entries = Object.entries(value).map(([name, field]): [string, unknown] => [name, backwards(field)])
    return Object.fromEntries(entries.toReversed())
  }
  assert.notEqual(JSON.stringify(backwards(config)), JSON.stringify(config))
  assert.equal(writeSidecarConfig(backwards(config) as SidecarConfig), writeSidecarConfig(config))
})

// Kubernetes expands $(NAME) in values, and $$ to $; a name of a database may be anything.
test('no name in it is expanded by the kubelet', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[$()A-Z]{1,12}$/), (name) => {
      const [listener] = config.listeners
      const named = { ...config, listeners: [{ ...listener!, allowed: { ...listener!.allowed, databaseNames: [name] } }] }
      const text = writeSidecarConfig(named)
      assert.ok(!text.includes('$'))
      assert.deepEqual(parseSidecarConfig(text), named)
    }),
  )
})

// An undefined value stands for a field that is not there.
const faults: [string, string, unknown, RegExp][] = [
  ['another version', 'version', 2, /: version is not 1/],
  ['a field it does not know', 'extra', 1, /STENO_SIDECAR_CONFIG has a field that this release does not know/],
  ['a listener without a port', 'listeners.0.localPort', undefined, /listeners\[0\]\.localPort is no whole number from 1024 to 65535/],
  ['a listener at the port of probes', 'listeners.0.localPort', 15_090, /listeners\[0\]\.localPort is the port of probes/],
  ['two listeners at one port', 'listeners.1.localPort', 15_432, /listeners\[1\]\.localPort is the port of another listener/],
  ['no host', 'listeners.0.allowed.hosts', [], /listeners\[0\]\.allowed\.hosts is an empty list/],
  ['a host that is none', 'listeners.0.allowed.hosts', [7], /listeners\[0\]\.allowed\.hosts\[0\] is no text/],
  ['a mode of TLS that is none', 'listeners.0.tls.mode', 'prefer', /listeners\[0\]\.tls\.mode is none of disable, require/],
  ['an authority in another variable', 'listeners.0.tls.caVariable', 'PATH', /listeners\[0\]\.tls\.caVariable does not match/],
  ['a source in another variable', 'listeners.0.source.variable', 'DATABASE_URL', /listeners\[0\]\.source\.variable does not match/],
  ['a part that it does not know', 'listeners.1.source.variables.service', 'x', /listeners\[1\]\.source\.variables has a field/],
  ['a source without variables', 'listeners.1.source.variables', {}, /listeners\[1\]\.source\.variables names no variable/],
  ['control without TLS', 'control.url', 'http://steno-control', /control\.url is no plain https URL/],
  ['a password in the URL of control', 'control.url', 'https://u:hunter2@c', /control\.url is no plain https URL/],
  ['a level that a sidecar does not know', 'recording.level', 'rows', /recording\.level is none of statements, results, stored/],
  ['more listeners than may be', 'listeners', Array(65).fill(config.listeners[0]), /listeners has more than 64 items/],
  ['a hash that is none', 'policy.hash', 'x', /policy\.hash does not match/],
]
for (const [name, path, value, message] of faults)
  test(`a fault is named by its path and never by its value: ${name}`, () => {
    const spoilt = structuredClone(config)
    const parts = path.split('.')
    const last = parts.pop() ?? ''
    const place = parts.reduce<object>((object, part) => Reflect.get(object, part) as object, spoilt)
    Reflect.set(place, last, value)
    assert.throws(
      () => checkSidecarConfig(spoilt),
      (error) => error instanceof SidecarConfigInvalid && message.test(error.message) && !/hunter2|prefer/.test(error.message),
    )
  })

test('text that is no JSON, or too long, is refused without being quoted', () => {
  assert.throws(
    () => parseSidecarConfig('postgresql://u:hunter2@h'),
    (error) => error instanceof SidecarConfigInvalid && !error.message.includes('hunter2'),
  )
  assert.throws(() => parseSidecarConfig(' '.repeat(100_000)), /longer than 98304 characters/)
})

test('no value makes the check throw anything else', () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      assert.throws(() => checkSidecarConfig(value), SidecarConfigInvalid)
    }),
  )
})
