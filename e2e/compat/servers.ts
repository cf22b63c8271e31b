/** Today's control, with all its routes, and today's relay, each with clusters and verdicts of the test's own; for who speaks to them as a sidecar. */
import type { TestContext } from 'node:test'
import { watchPolicyWorld } from '../../cluster/policy-world.ts'
import { startTestApi } from '../../cluster/test-api.ts'
import { testLog, until } from '../../cluster/test-support.ts'
import { startEcho, startTestRelay, type TestRelay } from '../../relay/test-relay.ts'
import { createPolicyIndex } from '../../webhook/control/stream/policy-index.ts'
import { createPolicyStream } from '../../webhook/control/stream/route.ts'
import { fitPod, startTestControl, type TestControl } from '../../webhook/control/test-control.ts'
import { createVanishing } from '../../webhook/control/vanishing.ts'

export type Servers = { readonly control: TestControl; readonly relay: TestRelay; readonly echoPort: number }

/** `port`: of the database that the pod's policy names. */
export async function startServers(t: Pick<TestContext, 'after'>, { port }: { readonly port: number }): Promise<Servers> {
  const things = new AsyncDisposableStack()
  t.after(() => things.disposeAsync())
  const api = things.use(await startTestApi())
  api.put('/api/v1/namespaces/shop', { metadata: { name: 'shop', labels: { 'steno.dev/inject': 'enabled' } } })
  const databases = [
    { name: 'database-0', engine: 'postgresql', hosts: ['127.0.0.1'], port, databaseNames: ['postgres'], tls: { mode: 'disable' } },
  ]
  const spec = { selector: { matchLabels: { app: 'shop' } }, databases, enforcement: { mode: 'CredentialsOnly' } }
  api.put('/apis/steno.dev/v1alpha1/namespaces/shop/sessionpolicies/orders', { metadata: { name: 'orders', namespace: 'shop' }, spec })
  const world = watchPolicyWorld({ cluster: api.client, log: testLog().log })
  things.defer(() => world.stop())
  await until(() => world.isSynced())
  const index = createPolicyIndex(world)
  things.defer(() => index.stop())
  const control = await startTestControl({
    routes(parts) {
      const describePod = () => Promise.resolve(fitPod)
      const vanishing = createVanishing({
        ...{ parts, describePod, cluster: api.client, storeNames: () => ['default'], podState: () => Promise.resolve('live') },
      })
      things.defer(() => vanishing.stop())
      const judgePod = () => Promise.resolve({ kind: 'fit', labels: { app: 'shop' } } as const)
      return [...vanishing.routes, createPolicyStream(parts, { index, podsVersion: () => 0n, judgePod }).route]
    },
  })
  things.use(control)
  const echo = things.use(await startEcho())
  const relay = things.use(await startTestRelay(echo.port))
  return { control, relay, echoPort: echo.port }
}
