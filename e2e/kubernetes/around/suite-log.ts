/** The last test: who came to the database, by its own log. */
import assert from 'node:assert/strict'
import { clusterTest, eventually, kubectl } from '../support/kubectl.ts'
import { podOf } from '../support/shop.ts'
import { bridgePort, relayAddresses, type World } from './world.ts'

export function testLog(world: () => World): void {
  clusterTest(
    'the database’s own log has no connection of an agent’s pod, of the relay’s, and of those that steno does not know',
    async () => {
      const { shop, open, friend, places, agentAddresses } = world()
      const relays = [places.components.relay, ...(await relayAddresses())]
      const openAddresses = await Promise.all(['speaker', 'stranger', 'node'].map(async (name) => (await podOf(open, name)).status.podIP!))
      const known = new Set([...relays, ...openAddresses, (await podOf(friend, 'friend')).status.podIP!])
      const log = await shop.databaseLog()
      const came = new Set([...log.matchAll(/connection received: host=(\S+)/g)].map(([, host]) => host!))
      came.delete('[local]')
      // The node's network has one more address towards its pods.
      const strangers = [...came].filter((address) => !known.has(address) && !address.endsWith('.0.1'))
      assert.deepEqual(strangers, [], 'whom nobody knows')
      assert.deepEqual(
        [...came].filter((address) => agentAddresses.has(address)),
        [],
        'agents',
      )
      assert.ok(
        relays.some((address) => came.has(address)),
        'control: the relay came',
      )
      assert.ok(
        openAddresses.some((address) => came.has(address)),
        'control: who is not held came',
      )
    },
  )

  clusterTest('the bridges’ own logs have no connection of an agent’s pod', async () => {
    const { open, friend, shop, agentAddresses } = world()
    for (const [namespace, name] of [
      [open, 'stranger'],
      [open, 'node'],
      [friend, 'friend'],
      [shop.namespace, 'neighbour'],
    ] as const) {
      const peers = await eventually(`the log of ${name} has the control`, async () => {
        const log = await kubectl(['-n', namespace, 'logs', name])
        const found = [...log.matchAll(/^(?:tcp|udp) \d+ from (?:::ffff:)?([\d.]+)/gm)].map(([, address]) => address!)
        return log.includes(` ${bridgePort} from`) ? found : null
      })
      assert.deepEqual(
        peers.filter((peer) => agentAddresses.has(peer)),
        [],
        name,
      )
    }
  })
}
