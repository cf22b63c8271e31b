/**
 * Control as `policy-change.ts` measures it: the real server and stream in a process of its own, with a reviewer that takes tokens `token-of-NAME`.
 *
 * Follows the policies of the API server that the parent names. Ends when the parent does.
 */
import { generateKeyPairSync } from 'node:crypto'
import { KubeConfig } from '@kubernetes/client-node'
import { Registry } from 'prom-client'
import { createLog } from '../base/log.ts'
import { createAuthority, issueLeaf } from '../cluster/certificates/authority.ts'
import { clusterClientOf } from '../cluster/client.ts'
import { watchPolicyWorld } from '../cluster/policy-world.ts'
import { controlKeyOf } from '../webhook/control/control-key.ts'
import { startControlServer } from '../webhook/control/start.ts'
import { createPolicyIndex } from '../webhook/control/stream/policy-index.ts'
import { createPolicyStream, type PolicyStream } from '../webhook/control/stream/route.ts'

const [api = ''] = process.argv.slice(2)
const now = Date.now()
const validity = { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) }
const authority = await createAuthority(validity)
const leaf = await issueLeaf(authority, ['127.0.0.1'], validity)
const config = new KubeConfig()
config.loadFromClusterAndUser({ name: 'double', server: api, skipTLSVerify: true }, { name: 'bench' })
const world = watchPolicyWorld({ cluster: clusterClientOf(config), log: createLog({ level: 'warn' }) })
await world.synced
const key = controlKeyOf(generateKeyPairSync('ed25519').privateKey)
let stream: PolicyStream | null = null

const server = await startControlServer({
  listen: { host: '127.0.0.1', port: 0 },
  readerListen: null,
  newcomerLimits: null, // All sidecars of this benchmark have one address.
  certificates: { current: () => leaf, onChange: () => undefined },
  key,
  reviewToken(token) {
    const podName = token.slice('token-of-'.length)
    const pod = { podUid: `uid-${podName}`, podName, podNamespace: 'shop', serviceAccount: 'agent', nodeName: null }
    return Promise.resolve({ kind: 'pod', pod })
  },
  describePod: () => Promise.resolve({ kind: 'unfit', reason: 'it stores nothing' }),
  stores: () => [],
  registry: new Registry(),
  log: createLog({ level: 'warn' }),
  routes(parts) {
    stream = createPolicyStream(parts, {
      index: createPolicyIndex(world),
      podsVersion: () => 0n,
      // Every pod has labels of its own, as those of a StatefulSet do; one of a hundred is of the workload `few`.
      judgePod: ({ podName }) => {
        const isOfFew = Number(podName.slice('pod-'.length)) % 100 === 0
        return Promise.resolve({ kind: 'fit', labels: { app: isOfFew ? 'few' : 'many', 'statefulset.kubernetes.io/pod-name': podName } })
      },
    })
    return [stream.route]
  },
})
process.on('disconnect', () => process.exit(0))
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpuMicroseconds: user + system, rssBytes: process.memoryUsage.rss(), streams: stream?.size ?? 0 })
})
process.send?.({ port: server.port, ca: authority.cert, publicKey: key.publicKeyPem })
