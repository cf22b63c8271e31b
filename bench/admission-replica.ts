/**
 * One replica of the admission server as `admission.ts` measures it: a process of its own, with a cluster's worth of policies and a log.
 *
 * Tells its parent port and authority, and ends when the parent does.
 */
import { createLog } from '../base/log.ts'
import { readClusterSessionPolicy, readSessionPolicy } from '../crds/read-object.ts'
import type { AdmissionWorld } from '../injection/inject-pod.ts'
import { startAdmissionServer } from '../webhook/admission/server.ts'
import { createAuthority, issueLeaf } from '../cluster/certificates/authority.ts'

const namespaces = 200
const policiesEach = 2

const now = Date.now()
const validity = { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) }
const authority = await createAuthority(validity)
const leaf = await issueLeaf(authority, ['127.0.0.1'], validity)
const world = clusterOf()
const { port } = await startAdmissionServer({
  listen: { host: '127.0.0.1', port: 0 },
  certificates: { current: () => leaf, onChange: () => () => undefined },
  world: () => world,
  log: createLog({ level: 'info' }),
})
process.on('disconnect', () => process.exit(0))
process.on('message', () =>
  process.send?.({ cpuMicroseconds: process.cpuUsage().user + process.cpuUsage().system, rssBytes: process.memoryUsage.rss() }),
)
process.send?.({ port, ca: authority.cert })

function clusterOf(): AdmissionWorld {
  const names = Array.from({ length: namespaces }, (_, index) => (index === 0 ? 'shop' : `team-${index}`))
  const labelsOf = (name: string) => ({ 'kubernetes.io/metadata.name': name, 'steno.dev/inject': 'enabled' })
  return {
    policies: names.flatMap((namespace) => Array.from({ length: policiesEach }, (_, index) => policyOf(namespace, index))),
    clusterPolicies: [
      readClusterSessionPolicy({
        apiVersion: 'steno.dev/v1alpha1',
        kind: 'ClusterSessionPolicy',
        metadata: { name: 'floor' },
        spec: {
          floor: { tls: { mode: 'require' }, recording: { onFailure: 'block' } },
          ceiling: { hosts: ['*.data.svc.cluster.local'], addressRanges: ['10.0.0.0/8'] },
          exemptPods: [{ namespaces: ['shop'], matchLabels: { app: 'monitor' }, reason: 'holds no credential' }],
          foreignInitContainers: [{ name: 'mesh-init', image: 'registry.example.com/mesh/init' }],
        },
      }),
    ],
    namespaceLabels: new Map(names.map((name) => [name, labelsOf(name)])),
    sidecarImage: 'registry.example.com/steno@sha256:6a7c5b8d',
    controlUrl: 'https://steno-control.steno-system.svc:443',
    relayEndpoint: 'steno-relay.steno-system.svc:8443',
    controlCa: authority.cert.repeat(3),
    controlPublicKey: '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n',
    version: '1.2.3',
  }
}

/** The first is for every pod and names DATABASE_URL, the second for pods of one application, and libpq's variables. */
function policyOf(namespace: string, index: number) {
  const database = {
    name: index === 0 ? 'orders' : 'stock',
    hosts: [index === 0 ? 'orders-db.data.svc.cluster.local' : 'stock-db.data.svc.cluster.local'],
    databaseNames: [index === 0 ? 'orders' : 'stock'],
    ...(index === 0 ? {} : { variables: [{ form: 'libpq', prefix: 'PG' }], localPort: 16_432 }),
  }
  return readSessionPolicy({
    apiVersion: 'steno.dev/v1alpha1',
    kind: 'SessionPolicy',
    metadata: { name: database.name, namespace },
    spec: { ...(index === 0 ? {} : { selector: { matchLabels: { app: 'agent' } } }), databases: [database] },
  })
}
