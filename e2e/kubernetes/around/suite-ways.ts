/** Tests of the ways out of a pod, each from each place where an attacker can be. */
import assert from 'node:assert/strict'
import { clusterTest } from '../support/kubectl.ts'
import { waysOut } from './ways.ts'
import { attackers, type Places, type World } from './world.ts'

const through = /^THROUGH$/m
/** Only the names of the attempts and who makes them are taken from these. */
const nowhere = ''
const noPlaces: Places = {
  database: { ip: nowhere, service: nowhere, headless: nowhere, serviceIp: nowhere },
  node: { name: nowhere, ip: nowhere },
  neighbour: nowhere,
  friend: nowhere,
  stranger: nowhere,
  components: { control: nowhere, relay: nowhere, webhook: nowhere },
  services: { control: nowhere, relay: nowhere, webhook: nowhere, kubernetes: nowhere, dns: nowhere },
  dnsPod: nowhere,
}

export function testWays(world: () => World): void {
  for (const { name, by } of waysOut(noPlaces, 'postgresql://x@x/x'))
    for (const attacker of by) {
      clusterTest(`${attackers[attacker]} does not reach ${name}`, async () => {
        const open = world().outcome('open', attacker, name)
        assert.match(open.out, through, `where steno is not, the attempt fails as well: ${open.out}`)
        const { out } = world().outcome('shop', attacker, name)
        assert.doesNotMatch(out, through)
        return Promise.resolve()
      })
    }
}
