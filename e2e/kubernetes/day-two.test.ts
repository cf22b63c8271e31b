/**
 * Goal: whoever keeps steno does so with sessions running. Upgrade and rollback, a rotation of the authority, a rollout of the relay, an uninstallation
 * and the next installation: a pod that runs meanwhile goes on, its policy follows, and nothing of its recording is missing.
 *
 * Method: the release as an administrator changes it, and agents that insert rows all the time, in mode Relay with onOpenPath Block; at the end the
 * recordings, the table, and the database's log of who had a session.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, type TestContext } from 'node:test'
import { pino } from 'pino'
import { readAuthority } from '../../cluster/certificates/authority-secret.ts'
import { openCluster } from '../../cluster/client.ts'
import { chartFolder, helm } from '../../tools/chart/helm.ts'
import { rotateAuthority } from '../../webhook/certificates/rotate-authority.ts'
import { clusterTest, eventually, getJson, kubectl } from './support/kubectl.ts'
import { openOutsideStore, type OutsideStore } from './support/outside-store.ts'
import { assertAllRecorded, assertStoreSound, startRowKeeper, watchRelayAddresses, type RowKeeper } from './support/row-keeper.ts'
import { agentPod, openShop, podOf, startAgent, type Shop } from './support/shop.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
/** By digest, of the same source with another label: what an upgrade changes to. */
const otherImage = process.env['STENO_OTHER_IMAGE']
const inNamespace = ['--namespace', 'steno-system']
const goesOnMillisecondsMax = 120_000
/** Of the chart's value relay.drainSeconds, less what the rollout itself takes. */
const drainMilliseconds = 30_000
const followsMillisecondsMax = 60_000

type World = {
  readonly store: OutsideStore
  readonly shop: Shop
  /** Of the release as it was found. */
  readonly keeper: RowKeeper
  readonly image: string
  /** Gives the values of the release as it was found, in a file. */
  readonly values: string
  readonly relayAddresses: ReadonlySet<string>
}

let opened: World | null = null
const keepers: RowKeeper[] = []
const things = new AsyncDisposableStack()

before(async () => {
  if (!isThere) return
  const store = await openOutsideStore('e2e-day-two')
  if (store === null) return
  things.use(store)
  const { addresses: relayAddresses } = things.use(await watchRelayAddresses())
  const values = path.join(mkdtempSync(path.join(tmpdir(), 'steno-day-two-')), 'values.json')
  writeFileSync(values, await helm(['get', 'values', 'steno', ...inNamespace, '--output', 'json']))
  const spec = { enforcement: { mode: 'Relay', onOpenPath: 'Block' }, recording: { store: store.name } }
  const shop = things.use(await openShop({ spec }))
  await shop.query('create database reports')
  const image = await currentImage()
  opened = { store, shop, image, values, relayAddresses, keeper: await keep(shop, 'before') }
})
after(() => things.disposeAsync())

async function keep(shop: Shop, name: string): Promise<RowKeeper> {
  const keeper = things.use(await startRowKeeper(shop, name, { first: keepers.length * 10_000 }))
  keepers.push(keeper)
  await keeper.untilGoesOn()
  return keeper
}

function dayTwoTest(name: string, run: (world: World, context: TestContext) => Promise<void>): void {
  clusterTest(
    name,
    async (context) => {
      if (opened !== null) await run(opened, context)
      else context.skip('pods cannot reach this process: set E2E_HOST_ADDRESS to an address of this machine that they reach')
    },
    { timeoutMilliseconds: 480_000 },
  )
}

async function images(): Promise<readonly string[]> {
  return (await getJson<{ spec: { images: string[] } }>(['admissionparameters.steno.dev', 'steno'])).spec.images
}
async function knownImages(): Promise<readonly string[]> {
  return (await getJson<{ spec: { knownImages?: string[] } }>(['admissionparameters.steno.dev', 'steno'])).spec.knownImages ?? []
}
const currentImage = async (): Promise<string> => (await images())[0] ?? ''

async function imageOf(shop: Shop, pod: string): Promise<string | undefined> {
  const { spec } = await podOf(shop.namespace, pod)
  return spec.initContainers?.find(({ name }) => name === 'steno')?.image
}

async function podsOf(component: 'relay' | 'webhook'): Promise<string[]> {
  const { items } = await getJson<{ items: { metadata: { name: string } }[] }>([
    ...['-n', 'steno-system', 'pods', '-l', `app.kubernetes.io/component=${component}`],
  ])
  return items.map(({ metadata }) => metadata.name)
}

/** Returns when none of these is there: what a relay carried has ended, and a webhook injects nothing. */
async function untilGone(pods: readonly string[]): Promise<void> {
  await eventually(
    `${pods.join(', ')} are gone`,
    async () => {
      const there = await kubectl(['-n', 'steno-system', 'get', 'pods', '-o', 'name'])
      return pods.some((name) => there.includes(`pod/${name}\n`)) ? null : true
    },
    { withinMilliseconds: 150_000 },
  )
}

/** The policy's next version reaches the sidecars of all these pods. */
async function policyFollows({ shop }: World, pods: readonly string[]): Promise<void> {
  const since = new Date().toISOString()
  const [database] = shop.policy.spec['databases'] as { databaseNames: string[] }[]
  const changed = (databaseNames: readonly string[]) => {
    const patch = JSON.stringify({ spec: { databases: [{ ...database, databaseNames }] } })
    return kubectl(['-n', shop.namespace, 'patch', 'sessionpolicy', 'orders', '--type=merge', '-p', patch])
  }
  const told = (pod: string) =>
    eventually(
      `the sidecar of ${pod} has the changed policy`,
      async () => {
        const log = await kubectl(['-n', shop.namespace, 'logs', pod, '-c', 'steno', `--since-time=${since}`])
        return log.includes('"msg":"the policy changed"') ? true : null
      },
      { withinMilliseconds: followsMillisecondsMax },
    )
  await changed([...(database?.databaseNames ?? []), 'reports'])
  try {
    await Promise.all(pods.map(told))
  } finally {
    await changed(database?.databaseNames ?? [])
  }
}

dayTwoTest(
  'a rollout of the relay is noticed by no tunnel before the drain ends; then a client that connects again goes on',
  async ({ keeper }) => {
    const former = await podsOf('relay')
    const refusals = keeper.refusals.length
    const begun = performance.now()
    await kubectl(['-n', 'steno-system', 'rollout', 'restart', 'deployment/steno-relay'])
    await kubectl(['-n', 'steno-system', 'rollout', 'status', 'deployment/steno-relay', '--timeout=180s'])
    await keeper.untilGoesOn(drainMilliseconds)
    if (performance.now() - begun < drainMilliseconds)
      assert.deepEqual(keeper.refusals.slice(refusals), [], 'refused while the relays drain')
    await untilGone(former)
    await keeper.untilGoesOn(goesOnMillisecondsMax)
  },
)

dayTwoTest('an upgrade and a rollback leave the pods of each release recorded, and their policies followed', async (world, context) => {
  if (otherImage === undefined) return context.skip('STENO_OTHER_IMAGE names no image to upgrade to; `make e2e` makes one')
  const { shop, keeper, image } = world
  const [, repository = '', digest = ''] = /^(.+)@(sha256:[0-9a-f]{64})$/.exec(otherImage) ?? []
  assert.notEqual(otherImage, image, 'the upgrade is to another image')
  const [revision] = JSON.parse(await helm(['history', 'steno', ...inNamespace, '--max', '1', '--output', 'json'])) as {
    revision: number
  }[]
  const former = await podsOf('relay')
  const formerWebhooks = await podsOf('webhook')
  const wanted = ['--set', `image.repository=${repository}`, '--set', `image.digest=${digest}`]
  await helm(['upgrade', 'steno', chartFolder, ...inNamespace, '--reuse-values', '--wait', '--timeout', '120s', ...wanted])
  let upgraded: RowKeeper
  let between: string[]
  try {
    assert.deepEqual((await images()).slice(0, 2), [otherImage, image], 'the sidecars of the release before stay known')
    await eventually('both images are remembered', async () => {
      const known = await knownImages()
      return known.includes(otherImage) && known.includes(image) ? true : null
    })
    await untilGone(formerWebhooks)
    upgraded = await keep(shop, 'upgraded')
    assert.equal(await imageOf(shop, 'upgraded'), otherImage)
    await untilGone(former)
    await keeper.untilGoesOn(goesOnMillisecondsMax)
    await policyFollows(world, ['before', 'upgraded'])
    between = await podsOf('relay')
  } finally {
    await helm(['rollback', 'steno', String(revision?.revision), ...inNamespace, '--wait', '--timeout', '120s'])
  }
  assert.equal(await currentImage(), image)
  // Replicas of the webhook that drain still inject the image that was rolled back, which is known; no pod is refused for that.
  await startAgent(shop.namespace, agentPod('rolled-back'))
  const rolledBack = await imageOf(shop, 'rolled-back')
  assert.ok(rolledBack === image || rolledBack === otherImage, rolledBack)
  await untilGone(between)
  await Promise.all([keeper, upgraded].map((one) => one.untilGoesOn(goesOnMillisecondsMax)))
  await policyFollows(world, ['before', 'upgraded', 'rolled-back'])
})

dayTwoTest('a rotation of the authority is noticed by no session, and pods of before and after it are recorded', async (world) => {
  const { shop, keeper } = world
  await using cluster = Object.assign(openCluster({ kubeconfig: null }), { [Symbol.asyncDispose]: async () => cluster.close() })
  const at = { cluster, namespace: 'steno-system', secret: 'steno-ca' }
  const initial = (await readAuthority(at)).state
  const told = async (): Promise<string> => {
    type Configuration = { webhooks: { clientConfig: { caBundle?: string } }[] }
    const { webhooks } = await getJson<Configuration>(['mutatingwebhookconfiguration', 'steno'])
    return Buffer.from(webhooks[0]?.clientConfig.caBundle ?? '', 'base64').toString()
  }
  let bundle = await told()
  const rotating = new AbortController()
  const refusals = keeper.refusals.length
  const rotation = rotateAuthority({
    ...{ ...at, log: pino({ level: 'silent' }), signal: rotating.signal },
    // Due at once, and not again while this test runs.
    intervals: { rotateMilliseconds: Date.now() - initial.activeSince, overlapMilliseconds: 3_000, validMilliseconds: 315_360_000_000 },
    isDistributed: (cert) => bundle.includes(cert.trim()),
  })
  try {
    await eventually('the successor signs', async () => {
      bundle = await told()
      const { state } = await readAuthority(at)
      return state.active.cert !== initial.active.cert ? true : null
    })
  } finally {
    rotating.abort()
    await rotation
  }
  const { state } = await readAuthority(at)
  assert.ok(state.retired.includes(initial.active.cert), 'who knows the authority before is vouched for')
  await keeper.untilGoesOn(goesOnMillisecondsMax)
  const rotated = await keep(shop, 'rotated')
  assert.deepEqual(keeper.refusals.slice(refusals), [], 'no row was refused while the authority rotated')
  // From here on every server shows a leaf of the successor; connections of before are gone.
  const former = await podsOf('relay')
  await kubectl(['-n', 'steno-system', 'rollout', 'restart', 'deployment/steno-relay', 'deployment/steno-control'])
  await kubectl(['-n', 'steno-system', 'rollout', 'status', 'deployment/steno-control', '--timeout=180s'])
  await untilGone(former)
  await Promise.all([keeper, rotated].map((one) => one.untilGoesOn(goesOnMillisecondsMax)))
  await policyFollows(world, ['before', 'rotated'])
})

dayTwoTest('uninstalled and installed again with agents running: recordings go on, and the very next pod is injected', async (world) => {
  const { shop, store, keeper, values } = world
  await helm(['uninstall', 'steno', ...inNamespace, '--wait'])
  const keptBefore = keeper.kept.length
  const refusals = keeper.refusals.length
  try {
    // Tunnels end with the relays; what was under way then counts as before.
    await eventually('without the relay there is no database', () => Promise.resolve(keeper.refusals.length >= refusals + 5 ? true : null))
    assert.ok(keeper.kept.length - keptBefore <= drainMilliseconds / 100, 'nothing leads past it')
  } finally {
    await helm(['upgrade', '--install', 'steno', chartFolder, ...inNamespace, '--values', values, '--wait', '--timeout', '120s'])
    await store.letControlRead()
  }
  await kubectl(['-n', shop.namespace, 'create', '-f', '-'], JSON.stringify(agentPod('next')))
  assert.equal(await imageOf(shop, 'next'), await currentImage(), 'the very next pod is injected')
  // Pods of other releases than the one that is installed are strangers to it: an installation remembers what it has seen itself.
  const { image } = world
  const known = await Promise.all(keepers.map(async (one) => ((await imageOf(shop, one.name)) === image ? [one] : [])))
  assert.ok(known.flat().includes(keeper))
  await Promise.all(known.flat().map((one) => one.untilGoesOn(goesOnMillisecondsMax)))
  await policyFollows(world, ['before'])
})

dayTwoTest('after all of it every row that was acknowledged is recorded, and nobody but a relay had a session', async (world) => {
  await assertAllRecorded(keepers, { shop: world.shop, store: world.store.name, relayAddresses: world.relayAddresses })
  await assertStoreSound(world.store.name)
})
