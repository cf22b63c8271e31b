// Goal: secrets are in the environment for as long as it takes to read them, and the rest of the process has what it needs. Method: plain
// objects in place of the environment, and a thread that looks at its own.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { writeSidecarConfig } from '../../crds/sidecar-config.ts'
import { takePodEnvironment } from './environment.ts'
import { controlStoreUrl } from './settings.ts'
import { testConfig as config } from './test-config.ts'

const secrets = { STENO_SOURCE_0_DATABASE_URL: 'postgresql://u:secret@db/x', 'STENO_SOURCE_12_my.app-URL': 'secret', STENO_CA_0: 'PEM' }
const others = { STENO_CONTROL_CA: 'PEM', STENO_CONTROL_PUBLIC_KEY: 'PEM', PATH: '/bin' }

test('what moved here is read and taken out; what the sealing thread needs stays', () => {
  const environment: Record<string, string | undefined> = { ...secrets, ...others, STENO_SIDECAR_CONFIG: writeSidecarConfig(config) }
  const pod = takePodEnvironment(environment)
  assert.deepEqual(Object.fromEntries(pod.values), secrets)
  assert.deepEqual(Object.keys(environment).sort(), [...Object.keys(others), 'STENO_SIDECAR_CONFIG'].sort())
  assert.deepEqual(pod.config, config)
})

test('a configuration that cannot be read leaves no secret behind either', () => {
  for (const text of [undefined, '', '{']) {
    const environment: Record<string, string | undefined> = { ...secrets, STENO_SIDECAR_CONFIG: text }
    assert.throws(() => takePodEnvironment(environment), { code: 'SIDECAR_CONFIG_INVALID' })
    for (const name of Object.keys(secrets)) assert.ok(!(name in environment), name)
  }
})

test('a thread that is started afterwards does not have them', async () => {
  Object.assign(process.env, secrets, { STENO_SIDECAR_CONFIG: writeSidecarConfig(config) })
  takePodEnvironment(process.env)
  delete process.env['STENO_SIDECAR_CONFIG']
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(JSON.stringify(process.env))", { eval: true })
  const [seen] = (await once(worker, 'message')) as [string]
  assert.doesNotMatch(seen, /STENO_SOURCE|secret@/)
})

test('the facts of the pod are attested under the names that control knows; an empty one is left out', () => {
  const { attested } = takePodEnvironment({
    STENO_SIDECAR_CONFIG: writeSidecarConfig(config),
    STENO_POD_NAME: 'agent-0',
    STENO_POD_NAMESPACE: 'shop',
    STENO_POD_UID: 'u-1',
    STENO_SERVICE_ACCOUNT: 'agent',
    STENO_NODE_NAME: '',
  })
  assert.deepEqual(attested, { podName: 'agent-0', podNamespace: 'shop', podUid: 'u-1', serviceAccount: 'agent' })
})

test("the store is control's, by the name that the policy gives it", () => {
  assert.equal(controlStoreUrl(config.control), 'control+https://steno-control.steno-system.svc:443/default')
  assert.equal(controlStoreUrl({ url: 'https://control:8443/', store: 'default' }), 'control+https://control:8443/default')
})
