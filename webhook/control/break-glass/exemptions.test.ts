// Goal: whoever reads a store finds each exemption with its beginning and its end, once, whatever control does meanwhile; and nobody else's word for it.
// Method: controls over stores in memory that can fail, with policies and a clock in hand; then the verifier on what they put.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLog } from '../../../base/log.ts'
import { readExemption, sealExemption, type Exempted, type Exemption } from '../../../session/exemption.ts'
import { createMemoryStore, type MemoryStore } from '../../../session/memory-store.ts'
import { exemptionKey, exemptionsPrefix, nameOf } from '../../../session/object-keys.ts'
import { BadDocument } from '../../../session/shape.ts'
import { StoreUnavailable } from '../../../session/stores/store.ts'
import { testEpoch, testKey } from '../../../session/test-recording.ts'
import { verifyStore } from '../../../session/verify.ts'
import { createExemptionRecords, type PolicyOrigin, type SeenPolicy } from './exemptions.ts'

const key = testKey(9)
const log = createLog({ level: 'silent' })
const shop: Exempted = {
  policyName: 'break-glass-shop',
  policyUid: 'uid-1',
  namespaces: ['shop'],
  matchLabels: { app: 'agent' },
  reason: 'INC-1234',
}
const policyOf = (exempted: readonly Exempted[] | null, generation = 1, uid = 'uid-1'): SeenPolicy => ({ uid, generation, exempted })

function createWorld() {
  const stores = new Map([
    ['default', createMemoryStore()],
    ['archive', createMemoryStore()],
  ])
  const world = { policies: null as SeenPolicy[] | null, failing: new Set<string>(), now: testEpoch }
  const origin: PolicyOrigin = { requestedBy: 'anna@example.com', until: '2026-11-21T10:00:00.000Z', managers: ['kubectl-create'] }
  const control = () =>
    createExemptionRecords({
      storeNames: () => [...stores.keys()],
      openStore(name) {
        if (world.failing.has(name)) return Promise.reject(new StoreUnavailable('it is away', 'Wait.'))
        return Promise.resolve(stores.get(name)!)
      },
      policies: () => world.policies,
      originOf: () => Promise.resolve(origin),
      key,
      log,
      timing: { lookMilliseconds: 3_600_000, retryMilliseconds: 3_600_000 },
      wallClock: () => world.now++,
    })
  return { stores, world, control, store: stores.get('default')! }
}

function recorded(store: MemoryStore): Exemption[] {
  return [...store.objects]
    .filter(([name]) => name.startsWith(exemptionsPrefix))
    .map(([name, bytes]) => {
      const found = nameOf(name)
      assert.equal(found.kind, 'exemption')
      return readExemption(bytes, found.kind === 'exemption' ? found.id : '').exemption
    })
    .sort((one, other) => one.time - other.time)
}

const story = (store: MemoryStore): string[] => recorded(store).map(({ event, reason }) => `${event} ${reason}`)

test('an exemption is put on record once when it is seen, and once when it is gone, in every store', async () => {
  const { stores, store, world, control } = createWorld()
  const records = control()
  await records.look()
  assert.deepEqual(story(store), [], 'policies that are not known yet say nothing')
  world.policies = [policyOf([shop])]
  await records.look()
  await records.look()
  world.policies = [policyOf([], 2)]
  await records.look()
  await records.look()
  for (const each of stores.values()) assert.deepEqual(story(each), ['began INC-1234', 'ended INC-1234'])
  const [began, ended] = recorded(store)
  assert.deepEqual(
    [began?.requestedBy, began?.until, began?.managers],
    ['anna@example.com', '2026-11-21T10:00:00.000Z', ['kubectl-create']],
  )
  assert.ok(store.objects.has(exemptionKey(ended?.began ?? '')), 'an end names its beginning')
  await records.stop()
})

test('a control that starts, and one beside it, go on where another was', async () => {
  const { store, world, control } = createWorld()
  world.policies = [policyOf([shop])]
  const first = control()
  await first.look()
  await first.stop()
  const [second, third] = [control(), control()]
  await Promise.all([second.look(), third.look()])
  assert.deepEqual(story(store), ['began INC-1234'])
  world.policies = []
  await Promise.all([second.look(), third.look()])
  assert.deepEqual(story(store), ['began INC-1234', 'ended INC-1234'])
  world.policies = [policyOf([shop], 3)]
  const fourth = control()
  await fourth.look()
  world.policies = [policyOf([shop], 4)] // Something else of the policy was changed.
  await fourth.look()
  assert.deepEqual(story(store), ['began INC-1234', 'ended INC-1234', 'began INC-1234'])
  await Promise.all([second.stop(), third.stop(), fourth.stop()])
})

test('one that is there for a moment is recorded all the same', async () => {
  const { store, world, control } = createWorld()
  world.policies = []
  const records = control()
  records.changed(policyOf([shop]))
  await records.look()
  assert.deepEqual(story(store), ['began INC-1234', 'ended INC-1234'])
  await records.stop()
})

test('a policy that cannot be read ends nothing', async () => {
  const { store, world, control } = createWorld()
  const records = control()
  world.policies = [policyOf([shop])]
  await records.look()
  world.policies = [policyOf(null, 2)]
  await records.look()
  assert.deepEqual(story(store), ['began INC-1234'])
  await records.stop()
})

test('while one store is away the other has the record, and the first gets it when it is back', async () => {
  const { stores, store, world, control } = createWorld()
  world.failing.add('default')
  world.policies = []
  const records = control()
  records.changed(policyOf([shop]))
  await records.look()
  assert.deepEqual([story(store), story(stores.get('archive')!)], [[], ['began INC-1234', 'ended INC-1234']])
  world.failing.clear()
  await records.look()
  for (const each of stores.values()) assert.deepEqual(story(each), ['began INC-1234', 'ended INC-1234'])
  await records.stop()
})

test('the verifier warns of each exemption, and calls forged and damaged ones errors', async () => {
  const { store, world, control } = createWorld()
  world.policies = [policyOf([shop])]
  const records = control()
  await records.look()
  await records.stop()
  const findings = async (attester: number): Promise<string[]> =>
    (await Array.fromAsync(verifyStore(store, { trust: { attesters: [testKey(attester).publicKey] } }))).map(
      ({ severity, code, message }) => `${severity} ${code} ${message}`,
    )
  const [warning = '', ...others] = await findings(9)
  assert.match(
    warning,
    /^warning EXEMPT from 2026-.* pods with app=agent of shop .*break-glass-shop, asked for by anna@example\.com.*INC-1234$/,
  )
  assert.deepEqual(others, [])
  assert.match((await findings(8)).join(), /^error EXEMPTION_SIGNATURE/)
  const [[name, bytes] = ['', Buffer.alloc(0)]] = store.objects
  store.objects.set(name, Buffer.from(bytes.toString().replace('INC-1234', 'INC-9999')))
  assert.match((await findings(9)).join(), /^error EXEMPTION_DAMAGED/)
})

test('the verifier tells an exemption once, from its beginning until its end, and the earliest first', async () => {
  const { store, world, control } = createWorld()
  const records = control()
  const reasons = ['first', 'second', 'third', 'fourth', 'fifth', 'sixth']
  for (const [at, reason] of reasons.entries()) {
    world.now = testEpoch + at * 60_000
    world.policies = [policyOf([{ ...shop, reason }], at + 1)]
    await records.look()
  }
  await records.stop()
  const told = (await Array.fromAsync(verifyStore(store))).map(({ code, message }) => `${code} ${message}`)
  assert.deepEqual(
    told.map((line) => line.slice(line.lastIndexOf(' ') + 1)),
    reasons,
  )
  for (const line of told.slice(0, -1)) {
    const [, began = '', ended = ''] = /^EXEMPT from (\S+) until (\S+) pods with app=agent of shop /.exec(line) ?? []
    assert.ok(Date.parse(began) <= Date.parse(ended), line)
  }
  assert.match(told.at(-1) ?? '', /^EXEMPT from \S+ on pods with/, 'the last one goes on')
  const isFirst = (text: string): boolean => text.includes('"event":"began"') && text.includes('"reason":"first"')
  const first = [...store.objects].find(([, bytes]) => isFirst(bytes.toString()))
  assert.ok(store.objects.delete(first?.[0] ?? ''))
  const left = (await Array.fromAsync(verifyStore(store))).map(({ message }) => message)
  const alone = left.filter((message) => message.endsWith(': first'))
  assert.match(alone.join(), /^until \S+ pods with app=agent [^,]*$/, 'an end whose beginning is gone is told by itself')
})

test('a record is read under its own name alone, and not when it contradicts itself', () => {
  const fields = {
    event: 'began',
    began: null,
    time: testEpoch,
    ...shop,
    generation: 1,
    requestedBy: null,
    until: null,
    managers: [],
  } as const
  const { id, bytes } = sealExemption(fields, key)
  assert.equal(readExemption(bytes, id).exemption.reason, 'INC-1234')
  assert.throws(() => readExemption(bytes, '0'.repeat(32)), BadDocument)
  const mixed = sealExemption({ ...fields, began: id }, key)
  assert.throws(() => readExemption(mixed.bytes, mixed.id), BadDocument)
})
