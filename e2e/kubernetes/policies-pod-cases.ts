/** What may be wrong with a pod around its sidecar when it is created, and beside each what is admitted. */
import type { V1PodSpec, V1SecurityContext, V1Volume } from '@kubernetes/client-node'
import { of, type Case, type Rule } from './policies-cases.ts'
import { appOf, type InjectedPod, sidecarOf, stenoNamespaceOf } from './policies-pods.ts'
import { exemptLabels, foreignInit, sidecarImage } from './policies-world.ts'

const withSpec = (what: string, fields: Partial<V1PodSpec>): Case => of(what, (pod) => Object.assign(pod.spec, fields))
const withContext = (what: string, context: V1SecurityContext): Case => of(what, (pod) => void (appOf(pod).securityContext = context))
const withInit = (what: string, fields: object): Case =>
  of(what, (pod) => void pod.spec.initContainers.push({ name: 'migrate', image: sidecarImage, ...fields }))
const withVolume = (what: string, volume: V1Volume): Case =>
  of(what, (pod) => {
    pod.spec.volumes.push(volume)
    appOf(pod).volumeMounts = [{ name: volume.name, mountPath: '/mine' }]
  })
const alias = (...hostnames: string[]) => ({ hostAliases: [{ ip: '10.0.0.9', hostnames }] })
const projected = (audience?: string): V1Volume => ({
  name: 'mine',
  projected: { sources: [{ serviceAccountToken: { path: 'token', ...(audience !== undefined && { audience }) } }] },
})
/** One more host for the database that the sidecar listens for. */
function withHost(pod: InjectedPod, host: string): void {
  const config = sidecarOf(pod).env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
  if (config !== undefined) config.value = config.value?.replace('"hosts":[', `"hosts":["${host}",`) ?? ''
}

export const podRules: readonly Rule[] = [
  {
    policy: 'pod-isolation',
    rule: 'HostNetwork',
    refused: [
      withSpec('hostNetwork', { hostNetwork: true }),
      of('a Windows host process, which needs it', (pod) => {
        pod.metadata.labels = { ...exemptLabels }
        pod.spec.initContainers = []
        pod.spec.volumes = []
        Object.assign(pod.spec, { os: { name: 'windows' }, hostNetwork: true, securityContext: { windowsOptions: { hostProcess: true } } })
      }),
    ],
    admitted: [withSpec('hostNetwork that is false', { hostNetwork: false }), withSpec('a node by name', { nodeName: 'elsewhere' })],
  },
  {
    policy: 'pod-isolation',
    rule: 'HostPID',
    refused: [withSpec('hostPID', { hostPID: true })],
    admitted: [withSpec('hostPID that is false', { hostPID: false })],
  },
  {
    policy: 'pod-isolation',
    rule: 'HostIPC',
    refused: [withSpec('hostIPC', { hostIPC: true })],
    admitted: [withSpec('hostIPC that is false', { hostIPC: false })],
  },
  {
    policy: 'pod-isolation',
    rule: 'ShareProcessNamespace',
    refused: [withSpec('shareProcessNamespace', { shareProcessNamespace: true })],
    admitted: [withSpec('shareProcessNamespace that is false', { shareProcessNamespace: false })],
  },
  {
    policy: 'pod-isolation',
    rule: 'HostPath',
    refused: [
      withVolume('a hostPath', { name: 'mine', hostPath: { path: '/var/lib/kubelet' } }),
      of('a hostPath in an exempt pod', (pod) => {
        pod.metadata.labels = { ...exemptLabels }
        pod.spec.initContainers = []
        pod.spec.volumes = [{ name: 'mine', hostPath: { path: '/var/lib/kubelet' } }]
      }),
    ],
    admitted: [
      withVolume('an emptyDir', { name: 'mine', emptyDir: {} }),
      withVolume('a claim', { name: 'mine', persistentVolumeClaim: { claimName: 'mine' } }),
    ],
  },
  {
    policy: 'pod-privileges',
    rule: 'Privileged',
    refused: [
      withContext('a privileged container', { privileged: true }),
      withInit('a privileged init container', { securityContext: { privileged: true } }),
      of('a privileged container behind another', (pod) => {
        pod.spec.containers.push({ name: 'second', image: sidecarImage, securityContext: { privileged: true } })
      }),
    ],
    admitted: [withContext('root with the capabilities that every container has', { privileged: false, runAsUser: 0 })],
  },
  {
    policy: 'pod-privileges',
    rule: 'Capabilities',
    refused: [
      ...['SYS_PTRACE', 'SYS_ADMIN', 'NET_ADMIN', 'NET_RAW', 'BPF', 'ALL', 'CAP_SYS_PTRACE', 'net_admin'].map((name) =>
        withContext(`the capability ${name}`, { capabilities: { add: [name] } }),
      ),
      withInit('a capability of an init container', { securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }),
      of('a capability of a foreign init container', (pod) => {
        pod.spec.initContainers.unshift({ ...foreignInit, securityContext: { capabilities: { add: ['NET_ADMIN'] } } })
      }),
    ],
    admitted: [withContext('one that Pod Security allows', { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE', 'CHOWN'] } })],
  },
  {
    policy: 'pod-privileges',
    rule: 'ProcMount',
    refused: [
      {
        what: 'an unmasked /proc',
        change(pod) {
          pod.spec.hostUsers = false
          appOf(pod).securityContext = { procMount: 'Unmasked' }
        },
        // Kubernetes before 1.33 drops the field, before any policy sees the pod.
        isDropped: (made) => made.spec?.containers[0]?.securityContext?.procMount !== 'Unmasked',
      },
    ],
    admitted: [withContext('the default /proc', { procMount: 'Default' })],
  },
  {
    policy: 'pod-identity',
    rule: 'UserTaken',
    refused: [
      withContext('the user of a container', { runAsUser: 64_242 }),
      withContext('the group of a container', { runAsGroup: 64_242 }),
      withInit('the user of an init container', { securityContext: { runAsUser: 64_242 } }),
      withSpec('the user of the pod', { securityContext: { runAsUser: 64_242 } }),
      withSpec('the group of the pod', { securityContext: { runAsGroup: 64_242 } }),
      withSpec('the fsGroup', { securityContext: { fsGroup: 64_242 } }),
      withSpec('a supplemental group', { securityContext: { supplementalGroups: [1, 64_242] } }),
    ],
    admitted: [
      withContext('another user', { runAsUser: 64_243, runAsGroup: 0 }),
      withSpec('other numbers', { securityContext: { runAsUser: 1, runAsGroup: 2, fsGroup: 3, supplementalGroups: [4] } }),
    ],
  },
  {
    policy: 'pod-identity',
    rule: 'AudienceTaken',
    refused: [
      withVolume('a token with the audience', projected('steno-control')),
      withVolume('a token with the audience of the relay', projected('steno-relay')),
      withVolume('a token with the audience behind another source', {
        name: 'mine',
        projected: { sources: [{ configMap: { name: 'mine' } }, ...(projected('steno-control').projected?.sources ?? [])] },
      }),
    ],
    admitted: [withVolume('a token with another audience', projected('vault')), withVolume('a token for the API', projected())],
  },
  {
    policy: 'pod-volumes',
    rule: 'VolumeMounted',
    refused: [
      of('the spool', (pod) => void (appOf(pod).volumeMounts = [{ name: 'steno-spool', mountPath: '/spool', readOnly: true }])),
      of('the token', (pod) => void (appOf(pod).volumeMounts = [{ name: 'steno-token', mountPath: '/token' }])),
      of('the token by subPath', (pod) => {
        appOf(pod).volumeMounts = [{ name: 'steno-token', mountPath: '/token', subPath: 'token' }]
      }),
      withInit('the spool in an init container', { volumeMounts: [{ name: 'steno-spool', mountPath: '/spool' }] }),
      of('the token in a foreign init container', (pod) => {
        pod.spec.initContainers.unshift({ ...foreignInit, volumeMounts: [{ name: 'steno-token', mountPath: '/token' }] })
      }),
    ],
    admitted: [withVolume('a volume whose name begins so', { name: 'steno-spool-of-mine', emptyDir: {} })],
  },
  {
    policy: 'pod-names',
    rule: 'HostAlias',
    refused: [
      withSpec("an alias for the database's name", alias('harmless.example', 'orders.example.com')),
      withSpec('an alias for a name below a wildcard', alias('a.replicas.example.com')),
      of('an alias for control', (pod) => {
        Object.assign(pod.spec, alias(`steno-control.${stenoNamespaceOf(pod.metadata.namespace ?? '')}.svc`))
      }),
      of('an alias for the relay', (pod) => {
        Object.assign(pod.spec, alias(`steno-relay.${stenoNamespaceOf(pod.metadata.namespace ?? '')}.svc`))
      }),
      ...[
        ["an alias for the database's name, which ends with a dot in the policy", 'db.corp.', 'db.corp'],
        ['an alias for a name below a wildcard that ends with a dot', '*.corp.', 'a.b.corp'],
        ['an alias for a name that is written in capitals and ends with a dot', 'DB.Corp.', 'db.corp'],
      ].map(([what = '', host = '', name = '']) =>
        of(what, (pod) => {
          withHost(pod, host)
          Object.assign(pod.spec, alias(name))
        }),
      ),
    ],
    admitted: [
      withSpec('an alias for something else', alias('printer.example.com', 'example.com', 'orders.example.com.evil.example')),
      of('aliases beside names that end with a dot', (pod) => {
        withHost(pod, 'db.corp.')
        withHost(pod, '*.replicas.corp.')
        Object.assign(pod.spec, alias('corp', 'xdb.corp', 'db.corp.example', 'replicas.corp', 'xreplicas.corp'))
      }),
    ],
  },
  {
    policy: 'pod-names',
    rule: 'OwnName',
    refused: [
      withSpec("a hostname that is the database's", { hostname: 'orders-db' }),
      of("a pod whose name is the database's", (pod) => void (pod.metadata.name = 'orders-db')),
      of("a subdomain that makes the hostname the database's", (pod) => {
        withHost(pod, `replica.orders.${pod.metadata.namespace}.svc.cluster.local`)
        Object.assign(pod.spec, { hostname: 'replica', subdomain: 'orders' })
      }),
      of("a hostname that is the database's, which ends with a dot in the policy", (pod) => {
        withHost(pod, 'db.')
        pod.spec.hostname = 'db'
      }),
      of('a pod whose name is one below a wildcard', (pod) => void (pod.metadata.name = 'a.replicas.example.com')),
      of('a pod whose name is one below a wildcard that ends with a dot', (pod) => {
        withHost(pod, '*.corp.')
        pod.metadata.name = 'db.corp'
      }),
      of('a subdomain that makes the name one below a wildcard', (pod) => {
        withHost(pod, `*.orders.${pod.metadata.namespace}.svc.cluster.local`)
        pod.spec.subdomain = 'orders'
      }),
    ],
    admitted: [
      withSpec('another hostname', { hostname: 'orders-db-0' }),
      of('another hostname beside a name that ends with a dot', (pod) => {
        withHost(pod, 'db.')
        pod.spec.hostname = 'db-0'
      }),
      of('a pod whose name only looks like one below a wildcard', (pod) => void (pod.metadata.name = 'replicas.example.com')),
      of("a pod that is called as the policy's database", (pod) => void (pod.metadata.name = 'orders')),
      of('a pod that is called as a word of the configuration', (pod) => void (pod.metadata.name = 'relay')),
      of('a hostname and a subdomain of its own', (pod) => {
        withHost(pod, `replica.orders.${pod.metadata.namespace}.svc.cluster.local`)
        withHost(pod, `*.orders.${pod.metadata.namespace}.svc.cluster.local`)
        Object.assign(pod.spec, { hostname: 'replica', subdomain: 'agents' })
      }),
      of("a pod whose name is the database's, with a hostname", (pod) => {
        pod.metadata.name = 'orders-db'
        pod.spec.hostname = 'agent'
      }),
    ],
  },
  {
    policy: 'pod-names',
    rule: 'NameServers',
    refused: [
      withSpec('name servers of its own', { dnsPolicy: 'None', dnsConfig: { nameservers: ['10.0.0.9'] } }),
      withSpec('a name server more', { dnsConfig: { nameservers: ['10.0.0.9'] } }),
      withSpec('a search domain', { dnsConfig: { searches: ['evil.example'] } }),
    ],
    admitted: [withSpec('fewer dots', { dnsConfig: { options: [{ name: 'ndots', value: '1' }] } })],
  },
]
