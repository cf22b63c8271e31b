/**
 * Tests of a policy that names what no tunnel may lead to, and of names that change their address: as whoever may write policies, Services
 * and EndpointSlices of the namespace can make them.
 */
import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { apply, clusterTest, createNamespace, eventually, kubectl, ran } from '../support/kubectl.ts'
import { agentPod, startAgent } from '../support/shop.ts'
import { connectTo, sayToRelay, tokenOf, verdictOf } from './relay-asks.ts'
import { addPrograms, bridgePort, mountOf, programsVolume, relayAddresses, type Places, type World } from './world.ts'

const isThere = process.env['KUBECONFIG'] !== undefined
type Trap = AsyncDisposable & { readonly name: string }
const inTrap = (trap: string, name: string): string => `${name}.${trap}.svc.cluster.local`

/** What the policy names, and what is behind it. */
const traps: readonly (readonly [what: string, host: (places: Places, trap: string) => string])[] = [
  ['the node', ({ node }) => node.ip],
  ['the API server by name', () => 'kubernetes.default.svc.cluster.local'],
  ['the API server by address', ({ services }) => services.kubernetes],
  ['control', () => 'steno-control.steno-system.svc'],
  ['the relay itself', () => 'steno-relay.steno-system.svc'],
  ['the webhook’s pod', ({ components }) => components.webhook],
  ['loopback', () => '127.0.0.1'],
  ['the unspecified address', () => '0.0.0.0'],
  ['IPv6 loopback', () => '::1'],
  ['IPv6-mapped loopback', () => '::ffff:127.0.0.1'],
  ['the IPv6-mapped node', ({ node }) => `::ffff:${node.ip}`],
  ['loopback in decimal', () => '2130706433'],
  ['loopback in hexadecimal', () => '0x7f000001'],
  ['loopback in octal', () => '0177.0.0.1'],
  ['the metadata address', () => '169.254.169.254'],
  ['the node behind a Service', (_, trap) => inTrap(trap, 'to-node')],
  ['control’s pod behind a Service', (_, trap) => inTrap(trap, 'to-control')],
  ['the node behind a headless name', (_, trap) => inTrap(trap, 'to-node-headless')],
  ['the API server behind an externalName', (_, trap) => inTrap(trap, 'to-api')],
]

/** Some spellings are no target for the relay, or a name that nobody has. */
const refused = /^(TARGET_FORBIDDEN|TARGET_NOT_ALLOWED|BAD_REQUEST|NAME_UNRESOLVED)$/

export function testTraps(world: () => World): void {
  let trap: Trap | undefined
  let token = ''
  let verdicts = new Map<string, string>()
  const databaseOf = new Map<string, string>()

  const verdictsOf = async (hosts: readonly string[]): Promise<Map<string, string>> => {
    const asked = hosts.map((host) => ({
      name: host,
      text: connectTo({
        target: `${host.includes(':') ? `[${host}]` : host}:${bridgePort}`,
        token,
        database: databaseOf.get(host) ?? 'trap-0',
      }),
    }))
    const answers = await sayToRelay(trap!.name, asked, 'trapped')
    return new Map([...answers].map(([host, answer]) => [host, verdictOf(answer)]))
  }
  const good = (): string => inTrap(trap!.name, 'good')
  const flip = (): string => inTrap(trap!.name, 'flip')
  const pointFlip = async (...addresses: string[]): Promise<unknown> => apply(sliceOf(trap!.name, 'flip', addresses))

  suite('a policy of traps', () => {
    before(async () => {
      if (!isThere) return
      const { places, shop } = world()
      trap = await createNamespace('t-around-trap', { 'steno.dev/inject': 'enabled' })
      const { name: namespace } = trap
      await addPrograms(namespace)
      await apply([
        ...['to-node', 'to-control', 'good'].map((name) => serviceOf(namespace, name)),
        ...['to-node-headless', 'flip'].map((name) => serviceOf(namespace, name, { clusterIP: 'None' })),
        serviceOf(namespace, 'to-api', { type: 'ExternalName', externalName: 'kubernetes.default.svc.cluster.local' }),
        sliceOf(namespace, 'to-node', [places.node.ip]),
        sliceOf(namespace, 'to-node-headless', [places.node.ip]),
        sliceOf(namespace, 'to-control', [places.components.control]),
        sliceOf(namespace, 'good', [places.stranger]),
        sliceOf(namespace, 'flip', [places.stranger]),
      ])
      const [database] = shop.policy.spec['databases'] as object[]
      const policyFor = (hosts: readonly string[]) => ({
        ...{ ...shop.policy, metadata: { name: 'traps', namespace } },
        spec: {
          databases: groupsOf(hosts).map((group, index) => {
            for (const host of group) databaseOf.set(host, `trap-${index}`)
            return {
              ...database,
              name: `trap-${index}`,
              variables: [{ form: 'url', name: `TRAP_${index}` }],
              hosts: group,
              port: bridgePort,
              tls: { mode: 'require' },
            }
          }),
          enforcement: { mode: 'Relay', onOpenPath: 'Block' },
        },
      })
      const hosts = traps.map(([, host]) => host(places, namespace))
      // The kind's schema refuses some of them by itself.
      const judged = await Promise.all(
        hosts.map(async (host) => (await ran('kubectl', ['apply', '--dry-run=server', '-f', '-'], JSON.stringify(policyFor([host])))).code),
      )
      const admitted = hosts.filter((_, index) => judged[index] === 0)
      await apply(policyFor([good(), flip(), ...admitted]))
      const { status } = await startAgent(
        namespace,
        agentPod('trapped', { env: [], container: { volumeMounts: mountOf('programs') }, spec: { volumes: [programsVolume] } }),
      )
      world().agentAddresses.add(status.podIP!)
      token = await tokenOf(world(), namespace, 'trapped')
      verdicts = await verdictsOf([good(), ...hosts])
    })
    after(async () => trap?.[Symbol.asyncDispose]())

    for (const [what, host] of traps) {
      clusterTest(`the relay leads nowhere though a policy names ${what}`, async () => {
        assert.equal(verdicts.get(good()), 'OPEN', 'control: a Service of the namespace, on the same policy')
        assert.match(verdicts.get(host(world().places, trap!.name)) ?? '', refused)
        return Promise.resolve()
      })
    }

    clusterTest('a name that leads to the database and then to the node leads to the node for nobody', async () => {
      const { places, open } = world()
      assert.equal((await verdictsOf([flip()])).get(flip()), 'OPEN')
      const seen = new Set<string>()
      let isFlipping = true
      const flipping = (async () => {
        for (let turn = 0; isFlipping; turn++) {
          await pointFlip(turn % 2 === 0 ? places.node.ip : places.stranger)
          await sleep(700)
        }
      })()
      try {
        for (let round = 0; round < 12; round++) seen.add((await verdictsOf([flip()])).get(flip())!)
      } finally {
        isFlipping = false
        await flipping
      }
      await pointFlip(places.node.ip)
      await eventually('the relay sees the node behind the name', async () => {
        const verdict = (await verdictsOf([flip()])).get(flip())!
        seen.add(verdict)
        return verdict === 'TARGET_FORBIDDEN' ? true : null
      })
      await pointFlip(places.node.ip, places.stranger)
      await eventually('of two addresses the relay takes the one that is allowed', async () =>
        (await verdictsOf([flip()])).get(flip()) === 'OPEN' ? true : null,
      )
      assert.deepEqual(
        [...seen].filter((verdict) => !['OPEN', 'TARGET_FORBIDDEN', 'NAME_UNRESOLVED'].includes(verdict)),
        [],
      )
      const relays = await relayAddresses()
      const came = async (name: string): Promise<boolean> => {
        const log = await kubectl(['-n', open, 'logs', name])
        return relays.some((address) => log.includes(`tcp ${bridgePort} from ::ffff:${address}\n`))
      }
      assert.equal(await came('stranger'), true, 'control: the relay came to whom it was allowed')
      assert.equal(await came('node'), false)
    })
  })
}

/** A database of a policy has at most 16 hosts. */
function groupsOf(hosts: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(hosts.length / 16) }, (_, index) => hosts.slice(16 * index, 16 * (index + 1)))
}

function serviceOf(namespace: string, name: string, spec: object = {}): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { ports: [{ port: bridgePort }], ...spec } }
}

function sliceOf(namespace: string, name: string, addresses: readonly string[]): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ port: bridgePort, name: '' }],
    endpoints: addresses.map((address) => ({ addresses: [address] })),
  }
}
