import assert from 'node:assert/strict'
import { test } from 'node:test'
import { networkSettings, parseAgentNetwork } from './agent-network.ts'

test('what is not given is as the cluster’s DNS in kube-system wants it', () => {
  const standard = networkSettings('steno-system', undefined)
  assert.equal(standard.isEnabled, true)
  assert.deepEqual(standard.dnsPorts, [53])
  assert.deepEqual(networkSettings('steno-system', parseAgentNetwork('{}')), standard)
})

test('NodeLocal DNS, another port and a closed range are taken as given', () => {
  const json = '{"dnsPeers":[{"ipBlock":{"cidr":"169.254.20.10/32"}}],"dnsPorts":[53,5353],"closedRanges":["203.0.113.0/24"]}'
  assert.deepEqual(networkSettings('steno-system', parseAgentNetwork(json)), {
    isEnabled: true,
    stenoNamespace: 'steno-system',
    dnsPeers: [{ ipBlock: { cidr: '169.254.20.10/32' } }],
    dnsPorts: [53, 5353],
    closedRanges: ['203.0.113.0/24'],
  })
  assert.equal(networkSettings('steno-system', parseAgentNetwork('{"enabled":false}')).isEnabled, false)
})

for (const [what, json, message] of [
  ['no JSON', '{', /no JSON/],
  ['a field that is none', '{"dns":[]}', /dns/],
  ['a peer that names nothing, which would open every way', '{"dnsPeers":[{}]}', /a peer is either/],
  ['a port that is none', '{"dnsPorts":[0]}', /dnsPorts/],
  ['a range that is none', '{"closedRanges":["203.0.113.0/33"]}', /closedRanges/],
] as const)
  test(`it is refused at start, with the place of the fault: ${what}`, () => {
    assert.throws(() => parseAgentNetwork(json), message)
  })
