/**
 * A pod's sidecar beside a control that follows policies, for tests: the real control server and its stream over the API server's double, the
 * sidecar as a process, a real PostgreSQL behind.
 */
import type { TestContext } from 'node:test'
import { watchPolicyWorld, type PolicyWorld } from '../../cluster/policy-world.ts'
import { freePort } from '../../tools/free-port.ts'
import { startTestApi, type TestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import type { EmbeddedPostgres } from '../../tools/embedded-postgres.ts'
import type { Route } from '../../webhook/control/routes.ts'
import type { ControlParts } from '../../webhook/control/start.ts'
import { createPolicyIndex } from '../../webhook/control/stream/policy-index.ts'
import { createPolicyStream } from '../../webhook/control/stream/route.ts'
import { startTestControl, type TestControl } from '../../webhook/control/test-control.ts'
import { startBesideControl } from './beside-control.ts'
import type { SidecarProcess } from './sidecar-process.ts'

export const podLabels = { app: 'shop' }
const policyPath = '/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders'

export type PolicyTestWorld = {
  readonly api: TestApi
  readonly control: TestControl
  readonly localPort: number
  /** Of the last policy that was put, once control has it. */
  putPolicy(change?: PolicyChanges): Promise<void>
  removePolicy(): void
  start(options?: { readonly folder?: string; readonly publicKey?: string }): Promise<SidecarProcess>
}

export type PolicyChanges = {
  readonly databaseNames?: readonly string[]
  readonly hosts?: readonly string[]
  readonly recording?: object
  readonly database?: string
}

/** `routes` instead of the real stream: a control that sends what a test says. */
export async function createPolicyTestWorld(
  t: TestContext,
  database: EmbeddedPostgres,
  routes?: (parts: ControlParts) => readonly Route[],
): Promise<PolicyTestWorld> {
  const api = await startTestApi()
  api.put('/api/v1/namespaces/shop', { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } })
  const world: PolicyWorld = watchPolicyWorld({ cluster: api.client, log: testLog().log, timing: { retryMillisecondsFirst: 5 } })
  await until(() => world.isSynced())
  const index = createPolicyIndex(world)
  const stream = (parts: ControlParts): readonly Route[] => [
    createPolicyStream(parts, {
      index,
      podsVersion: () => 0n,
      judgePod: () => Promise.resolve({ kind: 'fit', labels: podLabels }),
    }).route,
  ]
  const control = await startTestControl({ routes: routes ?? stream })
  const localPort = await freePort()
  t.after(async () => {
    await control[Symbol.asyncDispose]()
    index.stop()
    world.stop()
    await api[Symbol.asyncDispose]()
  })
  return {
    api,
    control,
    localPort,
    async putPolicy({ databaseNames = ['postgres'], hosts = ['127.0.0.1'], recording = {}, database: name = 'database-0' } = {}) {
      const databases = [{ name, engine: 'postgresql', hosts, port: database.port, databaseNames, tls: { mode: 'disable' } }]
      const spec = { selector: { matchLabels: podLabels }, databases, recording, enforcement: { mode: 'CredentialsOnly' } }
      api.put(policyPath, { metadata: { name: 'orders', namespace: 'shop' }, spec })
      const { resourceVersion } = api.get(policyPath)!.metadata
      await until(() => index.generation() >= BigInt(resourceVersion ?? '0'))
    },
    removePolicy: () => api.remove(policyPath),
    start: (options) => startBesideControl(t, { control, localPort, database }, options),
  }
}
