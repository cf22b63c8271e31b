/**
 * Does the work for one change grow with the pods that it does not concern? Budget: no more than twice as much with 5,000 as with 50.
 *
 * `KUBECONFIG=… node bench/reconcile.ts [pods…]` on a real API server: pods that no node takes, so that nothing runs; half of them in the
 * namespace of the change under another policy, half in a namespace of their own. A change is a pod that comes and goes, each time until
 * the status of its policy shows it. Reconcile runs in this process, which counts its requests and its processor time; making the pod and
 * looking at the status are counted too, and are the same for each row. The CustomResourceDefinitions have to be there, and the release not.
 */
import { pino } from 'pino'
import { messageOf } from '../base/errors.ts'
import { openCluster, type ClusterClient } from '../cluster/client.ts'
import { isRefusal } from '../cluster/errors.ts'
import { watchPolicyWorld } from '../cluster/policy-world.ts'
import { pathOf, resources } from '../cluster/resources.ts'
import { standardNetworkSettings } from '../webhook/reconcile/network-policies/settings.ts'
import { startReconcile } from '../webhook/reconcile/reconcile.ts'
import { orTold, readCommandLine, wholeNumber } from './command-line.ts'

const changes = 40
const rounds = 3
const makers = 8
const usage = `usage: KUBECONFIG=FILE node bench/reconcile.ts [PODS...]
  PODS      how many pods the change does not concern, rising (50 500 5000); 5000 take some minutes to make
  --help
Wants a cluster with the CustomResourceDefinitions of steno and without its release.`
const sizes = readCommandLine(usage, { positionals: true }, ({ positionals }) => {
  const given = positionals.map((text) => wholeNumber(text, { fallback: 0, name: 'PODS' }))
  if (given.some((size, at) => at > 0 && size <= given[at - 1]!)) throw new Error('the numbers of pods have to rise: what was made stays')
  return given.length === 0 ? [50, 500, 5_000] : given
})
const tag = Math.random().toString(36).slice(2, 8)
const [near, far] = [`bench-near-${tag}`, `bench-far-${tag}`]

const cluster = await orTold('bench/reconcile', () => openCluster({ kubeconfig: null }))
let requests = 0
const counted: ClusterClient = {
  ...cluster,
  request(request) {
    requests++
    return cluster.request(request)
  },
}

function pod(name: string, namespace: string, app: string): object {
  return {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace, labels: { app, 'pod-template-hash': name } } },
    spec: {
      serviceAccountName: 'default',
      nodeSelector: { 'steno.dev/no-such-node': 'true' },
      containers: [{ name: 'agent', image: 'none' }],
    },
  }
}

const make = (name: string, namespace: string, app: string): Promise<unknown> =>
  cluster.request({ method: 'POST', path: pathOf(resources.pods, { namespace }), body: pod(name, namespace, app) })
const drop = (name: string): Promise<unknown> =>
  cluster.request({ method: 'DELETE', path: pathOf(resources.pods, { namespace: near, name }), query: { gracePeriodSeconds: '0' } })

async function policyFor(namespace: string, app: string): Promise<void> {
  const databases = [{ name: app, engine: 'postgresql', hosts: ['db.example.com'], databaseNames: [app] }]
  const body = {
    ...{ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: app, namespace } },
    spec: { selector: { matchLabels: { app } }, databases },
  }
  await cluster.request({ method: 'POST', path: pathOf(resources.sessionPolicies, { namespace }), body })
}

/** An installed release gives the pods of this benchmark a sidecar, so none of them would ever be without one, which is what is waited for. */
async function refuseInstalled(): Promise<void> {
  try {
    await cluster.request({ method: 'GET', path: pathOf(resources.mutatingWebhookConfigurations, { name: 'steno' }) })
  } catch (error) {
    if (isRefusal(error, 'NotFound')) return
    throw error
  }
  throw new Error(
    'this cluster has steno installed (MutatingWebhookConfiguration steno), which would inject the pods of this benchmark: uninstall the release and leave the CustomResourceDefinitions, or take another cluster',
  )
}

async function main(): Promise<void> {
  for (const name of [near, far]) {
    await cluster.request({
      method: 'POST',
      path: pathOf(resources.namespaces),
      body: { metadata: { name, labels: { 'steno.dev/inject': 'enabled' } } },
    })
    await policyFor(name, 'unaffected')
  }
  await policyFor(near, 'changed')
  let there = 0
  console.log('unaffected pods | round | per change: processor ms | requests | ms until the status shows it')
  for (const size of sizes) {
    await Promise.all(
      Array.from({ length: makers }, async () => {
        for (let number = there++; number < size; number = there++)
          await make(`unaffected-${number}`, number % 2 === 0 ? near : far, 'unaffected')
      }),
    )
    there = size
    await measure(size)
  }
}

async function measure(size: number): Promise<void> {
  const log = pino({ level: 'warn' })
  const ending = new AbortController()
  const world = watchPolicyWorld({ cluster: counted, log })
  const settings = {
    parametersName: `bench-${tag}`,
    instance: 'bench',
    statusMilliseconds: 20,
    rightsMilliseconds: 3_600_000,
    network: standardNetworkSettings('steno-system'),
  }
  const reconcile = startReconcile({
    cluster: counted,
    world,
    controlPublicKey: () => null,
    settings,
    log: pino({ level: 'silent' }),
    signal: ending.signal,
  })
  const shown = (): number | undefined => world.sessionPolicies.get(`${near}/changed`)?.status.pods?.['matched']
  const settled = async (matched: number): Promise<void> => {
    while (shown() !== matched) await new Promise((resolve) => setTimeout(resolve, 2))
  }
  await settled(0)
  while (reconcile.podTotals().reduce((sum, { bare }) => sum + bare, 0) < size) await new Promise((resolve) => setTimeout(resolve, 20))
  // Events about the pods that are bare go out for a while at the start; they are no part of a change.
  await new Promise((resolve) => setTimeout(resolve, 8_000))
  // Round 0 warms the compiler; the others differ by the noise.
  for (let round = 0; round <= rounds; round++) {
    const [before, started, asked] = [process.cpuUsage(), performance.now(), requests]
    for (let change = 0; change < changes / 2; change++) {
      await make('changed', near, 'changed')
      await settled(1)
      await drop('changed')
      await settled(0)
    }
    const { user, system } = process.cpuUsage(before)
    const row = [size, round, ((user + system) / 1000 / changes).toFixed(2), ((requests - asked) / changes).toFixed(2)]
    if (round > 0) console.log([...row, ((performance.now() - started) / changes).toFixed(1)].join(' | '))
  }
  ending.abort()
  world.stop()
  await reconcile.stopped
}

try {
  await refuseInstalled()
  try {
    await main()
  } finally {
    for (const name of [near, far]) await cluster.request({ method: 'DELETE', path: pathOf(resources.namespaces, { name }) })
  }
} catch (error) {
  console.error(`bench/reconcile: ${messageOf(error)}`)
  process.exitCode = 1
} finally {
  cluster.close()
}
