/**
 * Goal: recording cannot be starved. Whatever of the parts that a session leans on is killed or slowed, alone or with another, an agent is recorded
 * or has no database; and it goes on by itself once they are back.
 *
 * Method: an agent that inserts rows all the time and says which were acknowledged, in mode Relay with onOpenPath Block; trouble for each part in
 * turn; at the end the recordings, the table, and the database's log of who had a session.
 */
import assert from 'node:assert/strict'
import { after, before, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { accountOf } from './support/accounted.ts'
import { findEnforcer, type Enforcer } from './support/enforcer.ts'
import { clusterTest, eventually, kubectl, ran } from './support/kubectl.ts'
import { podProcesses, seesTheNode } from './support/node.ts'
import { openOutsideStore, type OutsideStore } from './support/outside-store.ts'
import { openRecordings } from './support/recordings.ts'
import { assertAllRecorded, assertStoreSound, startRowKeeper, watchRelayAddresses, type RowKeeper } from './support/row-keeper.ts'
import { agentPod, inAgent, openShop, startAgent, type Shop } from './support/shop.ts'
import { deploymentPart, enforcerPart, slow, type Part } from './support/trouble.ts'

const isThere = process.env['KUBECONFIG'] !== undefined && seesTheNode
const backMillisecondsMax = 120_000
const slowMilliseconds = 4_000
/** At most so far apart are two high-water marks of a recorder that records. */
const markMilliseconds = 500

type World = {
  readonly store: OutsideStore
  readonly shop: Shop
  readonly keeper: RowKeeper
  readonly relayAddresses: ReadonlySet<string>
  readonly enforcer: Enforcer | null
}

let opened: World | null = null
const things = new AsyncDisposableStack()

before(async () => {
  if (!isThere) return
  const store = await openOutsideStore('e2e-starved')
  if (store === null) return
  things.use(store)
  const { addresses: relayAddresses } = things.use(await watchRelayAddresses())
  const spec = { enforcement: { mode: 'Relay', onOpenPath: 'Block' }, recording: { store: store.name } }
  const shop = things.use(await openShop({ spec }))
  const keeper = things.use(await startRowKeeper(shop))
  await keeper.untilGoesOn()
  opened = { store, shop, keeper, relayAddresses, enforcer: findEnforcer() }
})
after(() => things.disposeAsync())

function starvedTest(name: string, run: (world: World, context: TestContext) => Promise<void>): void {
  clusterTest(
    name,
    async (context) => {
      if (opened !== null) await run(opened, context)
      else context.skip('the node’s processes, or an address that pods reach, are not to be seen here')
    },
    { timeoutMilliseconds: 300_000 },
  )
}

const ofSteno = (name: string): Part =>
  deploymentPart(name, { namespace: 'steno-system', deployment: `steno-${name}`, selector: `app.kubernetes.io/component=${name}` })
const [webhook, relay, control] = [ofSteno('webhook'), ofSteno('relay'), ofSteno('control')]
const dns = deploymentPart('the cluster’s DNS', { namespace: 'kube-system', deployment: 'coredns', selector: 'k8s-app=kube-dns' })

/** What becomes of a pod that is created now: refused or injected, never bare. */
async function admission({ shop }: World): Promise<'refused' | 'injected'> {
  const asked = ['-n', shop.namespace, 'create', '--dry-run=server', '-o', 'json', '-f', '-']
  const { code, stdout } = await ran('kubectl', asked, JSON.stringify(agentPod('asked')))
  if (code !== 0) return 'refused'
  const { spec } = JSON.parse(stdout) as { spec: { initContainers?: { name: string }[] } }
  assert.ok(spec.initContainers?.some(({ name }) => name === 'steno') === true, 'a pod came through bare')
  return 'injected'
}

async function survives(world: World, parts: readonly Part[], trouble: () => Promise<unknown>): Promise<void> {
  let isOver = false
  const suffering = trouble().finally(() => (isOver = true))
  do await admission(world)
  while (!isOver)
  await suffering
  await world.keeper.untilGoesOn(backMillisecondsMax)
  await Promise.all(parts.map((part) => part.untilBack()))
  await eventually('pods are injected again', async () => ((await admission(world)) === 'injected' ? true : null), {
    withinMilliseconds: backMillisecondsMax,
  })
}

const pairs = [
  [relay, control],
  [relay, webhook],
  [control, dns],
  [webhook, dns],
]
for (const parts of [[webhook], [relay], [control], [dns], ...pairs]) {
  const names = parts.map(({ name }) => name).join(' and ')
  starvedTest(`${names} killed: an agent is recorded or has no database, and goes on by itself`, (world) =>
    survives(world, parts, () => Promise.all(parts.map((part) => part.kill()))),
  )
  starvedTest(`${names} slowed to a tenth: an agent is recorded or has no database, and goes on by itself`, (world) =>
    survives(world, parts, () => slow(parts, slowMilliseconds)),
  )
}

const notHere = 'the enforcer of this cluster’s NetworkPolicies is not the process of e2e/cluster'
for (const others of [[], [relay]]) {
  const names = ['the enforcer of NetworkPolicies', ...others.map(({ name }) => name)].join(' and ')
  starvedTest(`${names} killed: an agent is recorded or has no database, and goes on by itself`, async (world, context) => {
    if (world.enforcer === null) return context.skip(notHere)
    const parts = [enforcerPart(world.enforcer), ...others]
    await survives(world, parts, () => Promise.all(parts.map((part) => part.kill())))
  })
  starvedTest(`${names} slowed to a tenth: an agent is recorded or has no database, and goes on by itself`, async (world, context) => {
    if (world.enforcer === null) return context.skip(notHere)
    const parts = [enforcerPart(world.enforcer), ...others]
    await survives(world, parts, () => slow(parts, slowMilliseconds))
  })
}

starvedTest(
  'when the enforcer lets all packets pass the agent has no database, and has it again with the rules',
  async (world, context) => {
    const { enforcer, keeper } = world
    if (enforcer === null) return context.skip(notHere)
    const refusedBefore = keeper.refusals.length
    await enforcer.openTheWay()
    try {
      await eventually('sessions are refused', () =>
        Promise.resolve(keeper.refusals.slice(refusedBefore).some((why) => /can be reached past the recording/.test(why)) ? true : null),
      )
      const keptBefore = keeper.kept.length
      const refusals = keeper.refusals.length
      await eventually('and go on to be', () => Promise.resolve(keeper.refusals.length >= refusals + 5 ? true : null))
      assert.equal(keeper.kept.length, keptBefore, 'no row passes while the way is open')
    } finally {
      await enforcer.closeTheWay()
    }
    await keeper.untilGoesOn(backMillisecondsMax)
  },
)

starvedTest(
  'every row that was acknowledged is recorded, and nobody but a relay had a session at the database',
  async ({ keeper, shop, store, relayAddresses }) => {
    await assertAllRecorded([keeper], { shop, store: store.name, relayAddresses })
    await assertStoreSound(store.name)
  },
)

starvedTest(
  'a pod that is deleted by force while the store is away leaves a stated gap of exactly what it had not stored',
  async ({ store, shop }) => {
    const { namespace } = shop
    const { metadata } = await startAgent(namespace, agentPod('lost'))
    const say = (statement: string) => inAgent(namespace, 'lost', ['sh', '-c', `psql "$DATABASE_URL" -qAtc "${statement}"`])
    await say("select 'stored'")
    await eventually('the first statement is stored', async () => {
      await using recordings = await openRecordings(store.name)
      const { recorded } = await accountOf(recordings.url, metadata.uid)
      return recorded.length === 1 ? true : null
    })
    await store.radosgw.stopServing()
    try {
      for (const number of [1, 2, 3]) await say(`select ${number}`)
      // Twice the time between two high-water marks.
      await sleep(2 * markMilliseconds)
      await say("select 'the last, with no time for a mark'")
      await kubectl(['-n', namespace, 'delete', 'pod', 'lost', '--force', '--grace-period=0'])
      await eventually('its processes are gone', () => Promise.resolve(podProcesses(metadata.uid).length === 0 ? true : null))
    } finally {
      await store.radosgw.serveAgain()
    }
    await using recordings = await openRecordings(store.name)
    const account = await eventually(
      'the loss is stated',
      async () => {
        const found = await accountOf(recordings.url, metadata.uid)
        return found.loss === null ? null : found
      },
      { withinMilliseconds: 180_000 },
    )
    assert.equal(account.recorded.length, 1)
    // What came after the last high-water mark is the one thing that no statement of loss can count.
    assert.ok(account.missing === 4 || account.missing === 3, `${account.missing} statements are stated to be missing`)
    assert.equal(account.unfinished, 0)
    const verified = await recordings.run(['verify', '--all'])
    assert.equal(verified.status, 0, verified.stdout.slice(-4_000))
    assert.match(verified.stdout, /SESSION_LOST|RECORDER_LOST/)
  },
)
