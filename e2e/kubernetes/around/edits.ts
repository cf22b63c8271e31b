/**
 * What an editor of a namespace tries, as arguments of kubectl, and by which rule it is refused.
 *
 * Without a control of its own an edit is tried in the same way in the namespace that steno does not know, where it is admitted.
 */
import { agentPod } from '../support/shop.ts'
import { clientImage } from '../support/test-images.ts'

export const dryRun = '--dry-run=server'

export type Edit = {
  readonly name: string
  /** After `kubectl -n NAMESPACE --as EDITOR`. */
  readonly args: (namespace: string) => readonly string[]
  readonly input?: object
  readonly says: RegExp
  /** Other than the same in the open namespace. */
  readonly control?: { readonly args: (namespace: string) => readonly string[]; readonly input?: object; readonly inShop?: true }
}

const create = (): readonly string[] => ['create', '-f', '-', dryRun]
const egress = (name: string, labels = {}) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, labels },
  spec: { podSelector: {}, policyTypes: ['Egress'], egress: [{}] },
})
const ingress = { ...egress('mine'), spec: { podSelector: {}, policyTypes: ['Ingress'], ingress: [{}] } }
const own = { 'app.kubernetes.io/managed-by': 'steno' }
const container = (pod: ReturnType<typeof agentPod>, more: object): object => ({
  ...pod,
  spec: { ...pod.spec, containers: [{ ...(pod.spec['containers'] as object[])[0], ...more }] },
})
export const pod = (spec: object, more: object = {}): object => agentPod('mine', { env: [], spec: { ...spec }, ...more })
const projected = (audience: string): object =>
  pod({ volumes: [{ name: 'mine', projected: { sources: [{ serviceAccountToken: { audience, path: 'token' } }] } }] })
const aliases = (name: string): object => pod({ hostAliases: [{ ip: '127.0.0.1', hostnames: [name] }] })
const ownPolicyControl = { args: create, input: ingress, inShop: true } as const
const patchOwn = (patch: object) => (): readonly string[] => [
  'patch',
  'networkpolicy',
  'steno-egress',
  '--type=merge',
  '-p',
  JSON.stringify(patch),
  dryRun,
]
const labelPod = (label: string) => (): readonly string[] => ['label', 'pod', 'speaker', label, '--overwrite', dryRun]
const labelControl = { args: labelPod('mine=yes'), inShop: true } as const
const debug = (target: string) => (): readonly string[] => [
  ...['patch', 'pod', 'speaker', '--subresource=ephemeralcontainers', '--type=strategic', dryRun, '-p'],
  JSON.stringify({ spec: { ephemeralContainers: [{ name: 'debugger', image: clientImage, targetContainerName: target }] } }),
]

export const edits: readonly Edit[] = [
  { name: 'add a NetworkPolicy that opens egress', args: create, input: egress('mine'), says: /EgressPolicy/ },
  {
    name: 'add a NetworkPolicy that looks like steno’s',
    args: create,
    input: { ...ingress, metadata: { name: 'steno-allow-mine', labels: own } },
    says: /OwnPolicy/,
  },
  {
    name: 'delete steno’s NetworkPolicy',
    args: () => ['delete', 'networkpolicy', 'steno-egress', dryRun],
    says: /OwnPolicy|EgressPolicy/,
    control: ownPolicyControl,
  },
  {
    name: 'open steno’s NetworkPolicy',
    args: patchOwn({ spec: { egress: [{}] } }),
    says: /OwnPolicy|EgressPolicy/,
    control: ownPolicyControl,
  },
  {
    name: 'make steno’s NetworkPolicy select nothing',
    args: patchOwn({ spec: { podSelector: { matchLabels: { none: 'x' } } } }),
    says: /OwnPolicy|EgressPolicy/,
    control: ownPolicyControl,
  },
  {
    name: 'take steno’s label from its NetworkPolicy',
    args: patchOwn({ metadata: { labels: { 'app.kubernetes.io/managed-by': null } } }),
    says: /OwnPolicy|EgressPolicy/,
    control: ownPolicyControl,
  },
  {
    name: 'give steno’s NetworkPolicy an owner that is gone',
    args: patchOwn({ metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'gone', uid: 'gone' }] } }),
    says: /OwnPolicy|EgressPolicy/,
    control: ownPolicyControl,
  },
  {
    name: 'change the label by which a pod is closed',
    args: labelPod('steno.dev/enforcement=CredentialsOnly'),
    says: /LabelChanged/,
    control: labelControl,
  },
  {
    name: 'take the label by which a pod is closed',
    args: labelPod('steno.dev/enforcement-'),
    says: /LabelChanged/,
    control: labelControl,
  },
  { name: 'take the label of the injection', args: labelPod('steno.dev/injected-'), says: /LabelChanged/, control: labelControl },
  {
    name: 'write a SessionPolicy',
    args: create,
    input: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'mine' }, spec: {} },
    says: /cannot create|forbidden/i,
    control: ownPolicyControl,
  },
  {
    name: 'take the label of the namespace',
    args: (namespace) => ['label', 'namespace', namespace, 'steno.dev/inject-', dryRun],
    says: /NamespaceLabel/,
    control: { args: (namespace) => ['label', 'namespace', namespace, 'mine=yes', dryRun], inShop: true },
  },
  { name: 'have a pod on the node’s network', args: create, input: pod({ hostNetwork: true }), says: /HostNetwork|HostNamespaces/ },
  { name: 'have a pod among the node’s processes', args: create, input: pod({ hostPID: true }), says: /HostPID|HostNamespaces/ },
  {
    name: 'have a pod that shares its processes',
    args: create,
    input: pod({ shareProcessNamespace: true }),
    says: /ShareProcessNamespace/,
  },
  {
    name: 'have a pod with the node’s files',
    args: create,
    input: pod({ volumes: [{ name: 'node', hostPath: { path: '/' } }] }),
    says: /HostPath/,
  },
  {
    name: 'have a privileged container',
    args: create,
    input: container(agentPod('mine', { env: [] }), { securityContext: { privileged: true } }),
    says: /Privileged/,
  },
  {
    name: 'have a container that changes the network',
    args: create,
    input: container(agentPod('mine', { env: [] }), { securityContext: { capabilities: { add: ['NET_ADMIN'] } } }),
    says: /Capabilities/,
  },
  {
    name: 'have a container that traces processes',
    args: create,
    input: container(agentPod('mine', { env: [] }), { securityContext: { capabilities: { add: ['SYS_PTRACE'] } } }),
    says: /Capabilities/,
  },
  {
    name: 'have a container with the sidecar’s user',
    args: create,
    input: container(agentPod('mine', { env: [] }), { securityContext: { runAsUser: 64242 } }),
    says: /UserTaken/,
  },
  { name: 'have a volume with a token for the relay', args: create, input: projected('steno-relay'), says: /AudienceTaken/ },
  { name: 'ask for a token for the relay', args: () => ['create', 'token', 'default', '--audience=steno-relay'], says: /TokenAudience/ },
  {
    name: 'mount the sidecar’s token',
    args: create,
    input: container(agentPod('mine', { env: [] }), { volumeMounts: [{ name: 'steno-token', mountPath: '/mine' }] }),
    says: /VolumeMounted|not found|SidecarMissing|Invalid/i,
    control: { args: create, input: pod({}), inShop: true },
  },
  {
    name: 'run a program in the sidecar',
    args: () => ['exec', 'speaker', '-c', 'steno', '--', 'true'],
    says: /ExecSidecar/,
    control: { args: () => ['exec', 'speaker', '-c', 'agent', '--', 'true'], inShop: true },
  },
  { name: 'debug the sidecar', args: debug('steno'), says: /DebugSidecar/, control: { args: debug('agent'), inShop: true } },
  {
    name: 'give the relay’s name an address of its own',
    args: create,
    input: aliases('steno-relay.steno-system.svc'),
    says: /HostAlias/,
    control: { args: create, input: aliases('mine.example'), inShop: true },
  },
  {
    name: 'have a pod that asks another name server',
    args: create,
    input: pod({ dnsPolicy: 'None', dnsConfig: { nameservers: ['192.0.2.1'] } }),
    says: /NameServers/,
  },
  {
    name: 'change the Service of the relay',
    args: () => ['-n', 'steno-system', 'patch', 'service', 'steno-relay', '-p', '{"spec":{"selector":null}}', dryRun],
    says: /cannot patch|forbidden/i,
    control: ownPolicyControl,
  },
]
