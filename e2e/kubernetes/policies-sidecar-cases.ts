/** What may be wrong with the sidecar of a pod that is created, and beside each what may differ all the same. */
import { appOf, type InjectedPod, sidecarOf } from './policies-pods.ts'
import { exemptLabels, foreignInit, sidecarImage } from './policies-world.ts'

export type Case = {
  readonly what: string
  readonly change: (pod: InjectedPod) => void
}
export type Rule = { readonly policy: string; readonly rule: string; readonly refused: readonly Case[]; readonly admitted: readonly Case[] }

const of = (what: string, change: (pod: InjectedPod) => void): Case => ({ what, change })
const ofSidecar = (what: string, fields: object): Case => of(what, (pod) => Object.assign(sidecarOf(pod), fields))
const httpGet = { path: '/startz', port: 15_090, scheme: 'HTTP' }
const startupProbe = { httpGet, timeoutSeconds: 1, periodSeconds: 1, successThreshold: 1, failureThreshold: 60 }
const ownInit = { name: 'migrate', image: sidecarImage }

function withoutSidecar(pod: InjectedPod): void {
  pod.spec.initContainers = []
  pod.spec.volumes = []
  pod.metadata.labels = { app: 'shop' }
}
/** Replaces a variable, or adds it. */
const withVariable = (what: string, variable: { name: string; value?: string; valueFrom?: object }): Case =>
  of(what, (pod) => {
    const sidecar = sidecarOf(pod)
    sidecar.env = [...(sidecar.env ?? []).filter(({ name }) => name !== variable.name), variable]
  })
const withConfig = (what: string, change: (text: string) => string): Case =>
  of(what, (pod) => {
    const variable = sidecarOf(pod).env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
    if (variable !== undefined) variable.value = change(variable.value ?? '')
  })
const withMount = (what: string, mount: { name: string; mountPath: string }): Case =>
  of(what, (pod) => {
    pod.spec.volumes.push({ name: 'mine', configMap: { name: 'mine' } })
    sidecarOf(pod).volumeMounts?.push(mount)
  })
const withFirstMount = (what: string, fields: object): Case =>
  of(what, (pod) => Object.assign(sidecarOf(pod).volumeMounts?.[0] ?? {}, fields))
const withVolume = (name: string, what: string, source: object): Case =>
  of(what, (pod) => {
    pod.spec.volumes = pod.spec.volumes.map((volume) => (volume.name === name ? { name, ...source } : volume))
  })
const controlToken = { audience: 'steno-control', expirationSeconds: 3600, path: 'token' }
const relayToken = { audience: 'steno-relay', expirationSeconds: 3600, path: 'relay-token' }
const tokens = (...sources: readonly object[]) => ({ projected: { sources, defaultMode: 0o644 } })
const token = (fields: object, more: readonly object[] = []) =>
  tokens({ serviceAccountToken: { ...controlToken, ...fields } }, { serviceAccountToken: relayToken }, ...more)
const withSecurity = (what: string, fields: object): Case => of(what, (pod) => Object.assign(sidecarOf(pod).securityContext ?? {}, fields))
const before = (what: string, ...first: { name: string; image: string }[]): Case =>
  of(what, (pod) => pod.spec.initContainers.unshift(...first))

const relayPort = '.svc:8443'

/** As the webhook makes a pod whose policy leaves its network alone. */
function withCredentialsOnly(pod: InjectedPod): void {
  pod.metadata.labels['steno.dev/enforcement'] = 'CredentialsOnly'
  const variable = sidecarOf(pod).env?.find(({ name }) => name === 'STENO_SIDECAR_CONFIG')
  if (variable !== undefined)
    variable.value =
      variable.value?.replace(/"relay":\{[^}]*\}/, '"relay":null').replace('"mode":"Relay"', '"mode":"CredentialsOnly"') ?? ''
}

export const sidecarRules: readonly Rule[] = [
  {
    policy: 'sidecar',
    rule: 'SidecarMissing',
    refused: [
      of('a pod without init containers', withoutSidecar),
      of('a pod with another init container', (pod) => {
        withoutSidecar(pod)
        pod.spec.initContainers = [ownInit]
      }),
      of('a regular container of that name', (pod) => {
        pod.spec.initContainers = []
        pod.spec.containers.push({ name: 'steno', image: sidecarImage, args: ['sidecar'] })
      }),
      of('a pod with the label of the exempt and another value', (pod) => {
        withoutSidecar(pod)
        pod.metadata.labels = Object.fromEntries(Object.keys(exemptLabels).map((key) => [key, 'agent']))
      }),
    ],
    admitted: [
      of('the pod as the webhook makes it', () => undefined),
      of('an exempt pod without sidecar', (pod) => {
        withoutSidecar(pod)
        pod.metadata.labels = { ...exemptLabels }
      }),
    ],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarName',
    refused: [
      of('an exempt pod with a regular container called steno', (pod) => {
        withoutSidecar(pod)
        pod.metadata.labels = { ...exemptLabels }
        appOf(pod).name = 'steno'
      }),
    ],
    admitted: [of('a container whose name begins so', (pod) => void (appOf(pod).name = 'steno-client'))],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarPosition',
    refused: [
      before('an init container that nobody named', ownInit),
      before('a named one with an image that only begins the same', { name: foreignInit.name, image: `${foreignInit.image}-evil:1` }),
      before('a named image under another name', { name: 'mine', image: foreignInit.image }),
      before('one that nobody named behind one that is', { ...foreignInit }, ownInit),
    ],
    admitted: [
      before('a named one', { ...foreignInit }),
      before('a named one with a tag and digest', { name: foreignInit.name, image: `${foreignInit.image}:1@sha256:${'0'.repeat(64)}` }),
      of('an own init container behind', (pod) => void pod.spec.initContainers.push(ownInit)),
      of('an own native sidecar behind', (pod) => void pod.spec.initContainers.push({ ...ownInit, restartPolicy: 'Always' })),
    ],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarImage',
    refused: [
      ofSidecar('a longer tag', { image: `${sidecarImage}-evil` }),
      ofSidecar('a digest behind the tag', { image: `${sidecarImage}@sha256:${'0'.repeat(64)}` }),
      ofSidecar('no tag', { image: sidecarImage.split(':')[0] }),
      ofSidecar('another registry', { image: `evil.example/${sidecarImage}` }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarFields',
    refused: [
      ofSidecar('a command', { command: ['/usr/local/bin/node', '-e', 'console.log(process.env)'] }),
      ofSidecar('envFrom', { envFrom: [{ configMapRef: { name: 'mine' } }] }),
      ofSidecar('a working directory', { workingDir: '/tmp' }),
      ofSidecar('a terminal', { tty: true }),
      ofSidecar('standard input', { stdin: true }),
      ofSidecar('a readiness probe', { readinessProbe: { exec: { command: ['node'] } } }),
      ofSidecar('a liveness probe', { livenessProbe: { httpGet } }),
      of('a volume device', (pod) => {
        pod.spec.volumes.push({ name: 'mine', persistentVolumeClaim: { claimName: 'mine' } })
        sidecarOf(pod).volumeDevices = [{ name: 'mine', devicePath: '/dev/mine' }]
      }),
    ],
    admitted: [
      ofSidecar('a resize policy, which the API server adds', { resizePolicy: [{ resourceName: 'cpu', restartPolicy: 'NotRequired' }] }),
    ],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarStart',
    refused: [
      ofSidecar('more arguments', { args: ['sidecar', '--store', 'file:///tmp'] }),
      ofSidecar('another command of the program', { args: ['control'] }),
      ofSidecar('no arguments', { args: [] }),
      ofSidecar('an image that is never pulled', { imagePullPolicy: 'Never' }),
      ofSidecar('a termination message over a file of the spool', { terminationMessagePath: '/var/lib/steno/log' }),
      ofSidecar('a termination message from the file alone', { terminationMessagePolicy: 'File' }),
    ],
    admitted: [ofSidecar('an image that is always pulled, as AlwaysPullImages has it', { imagePullPolicy: 'Always' })],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarTrust',
    refused: [
      withVariable('another key', {
        name: 'STENO_CONTROL_PUBLIC_KEY',
        value: '-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n',
      }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar',
    rule: 'SidecarLabel',
    refused: [
      of('no label', (pod) => void delete pod.metadata.labels['steno.dev/injected']),
      of('the label with another value', (pod) => void (pod.metadata.labels['steno.dev/injected'] = 'false')),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentName',
    refused: [
      withVariable('NODE_OPTIONS', { name: 'NODE_OPTIONS', value: '--require=/var/lib/steno/evil.js' }),
      withVariable('NODE_EXTRA_CA_CERTS', { name: 'NODE_EXTRA_CA_CERTS', value: '/var/lib/steno/ca.pem' }),
      withVariable('NODE_TLS_REJECT_UNAUTHORIZED', { name: 'NODE_TLS_REJECT_UNAUTHORIZED', value: '0' }),
      withVariable('LD_PRELOAD', { name: 'LD_PRELOAD', value: '/var/lib/steno/evil.so' }),
      withVariable('an option of steno', { name: 'STENO_UPSTREAM', value: 'postgresql://evil.example/orders' }),
      withVariable('a source without a number', { name: 'STENO_SOURCE_DATABASE_URL', value: 'x' }),
      withVariable('a source by the end of its name', { name: 'MY_STENO_SOURCE_0_X', value: 'x' }),
    ],
    admitted: [
      of('the variables in another order', (pod) => void (sidecarOf(pod).env = sidecarOf(pod).env?.toReversed() ?? [])),
      withVariable('a further source', { name: 'STENO_SOURCE_12_PGPASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'p' } } }),
      withVariable('a further CA', { name: 'STENO_CA_3', value: 'PEM' }),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentSet',
    refused: [
      of('one that is missing', (pod) => {
        const sidecar = sidecarOf(pod)
        sidecar.env = (sidecar.env ?? []).filter(({ name }) => name !== 'STENO_POD_UID')
      }),
      of('one that is there twice', (pod) => void sidecarOf(pod).env?.push({ name: 'STENO_SIDECAR_CONFIG', value: '{}' })),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentLiteral',
    refused: [
      withVariable('a config from a ConfigMap', {
        name: 'STENO_SIDECAR_CONFIG',
        valueFrom: { configMapKeyRef: { name: 'mine', key: 'config' } },
      }),
      withVariable('a CA put together from another variable', { name: 'STENO_CONTROL_CA', value: '$(STENO_CA_0)' }),
      withVariable('an empty config', { name: 'STENO_SIDECAR_CONFIG', value: '' }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentControl',
    refused: [
      withConfig('another control', (text) => text.replace('https://steno-control.', 'https://evil.')),
      withConfig('a control whose name begins like it', (text) => text.replace('.svc:443', '.svc:443.evil.example')),
      withConfig('a second control behind the first', (text) =>
        text.replace(/}$/, ',"control" :{"url":"https://evil.example","store":"default"}}'),
      ),
      withConfig('a second URL behind the first', (text) => text.replace('"store":', '"url":"https://evil.example","store":')),
      withConfig('a key that is written with an escape', (text) =>
        text.replace('"store":', String.raw`"\u0075rl":"https://evil.example","store":`),
      ),
      withConfig('no JSON', () => 'none'),
    ],
    admitted: [
      withConfig('a database that is called like it', (text) => text.replace('"database":"orders"', '"database":"control"')),
      withConfig('a database whose name is escaped', (text) =>
        text.replace('"databaseNames":[', String.raw`"databaseNames":["a\"b\u0024(c)",`),
      ),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentRelay',
    refused: [
      withConfig('another relay', (text) => text.replace('"steno-relay.', '"evil.')),
      withConfig('a relay whose name begins like it', (text) => text.replace(relayPort, '.svc:8443.evil.example:8443')),
      withConfig('a relay at another port', (text) => text.replace(relayPort, '.svc:8444')),
      withConfig('no relay in mode Relay', (text) => text.replace(/"relay":\{[^}]*\}/, '"relay":null')),
      withConfig('a relay in mode CredentialsOnly', (text) => text.replace('"mode":"Relay"', '"mode":"CredentialsOnly"')),
      withConfig('no word of a relay', (text) => text.replace(/"relay":\{[^}]*\},/, '')),
      withConfig('a second relay behind the first', (text) => text.replace(/}$/, ',"relay" :{"endpoint":"evil.example:8443"}}')),
      withConfig('a second relay that is none', (text) => text.replace('"listeners":', '"relay":null,"listeners":')),
      withConfig('a second endpoint behind the first', (text) =>
        text.replace(relayPort + '"', relayPort + '","endpoint":"evil.example:8443"'),
      ),
      withConfig('a second mode behind the first', (text) => text.replace('"mode":"Relay"', '"mode":"Relay","mode":"CredentialsOnly"')),
      withConfig('a second enforcement behind the first', (text) =>
        text.replace('"listeners":', '"enforcement":{"mode":"CredentialsOnly","onOpenPath":"Report"},"listeners":'),
      ),
      withConfig('an answer to an open way that there is not', (text) => text.replace('"onOpenPath":"Block"', '"onOpenPath":"Ignore"')),
    ],
    admitted: [
      of('no relay in mode CredentialsOnly, with its label', withCredentialsOnly),
      withConfig('a report of an open way', (text) => text.replace('"onOpenPath":"Block"', '"onOpenPath":"Report"')),
      withConfig('a database that is called like it', (text) => text.replace('"database":"orders"', '"database":"relay"')),
    ],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnforcementLabel',
    refused: [
      of('no label', (pod) => void delete pod.metadata.labels['steno.dev/enforcement']),
      of('the label of the other mode', (pod) => void (pod.metadata.labels['steno.dev/enforcement'] = 'CredentialsOnly')),
      of('the label of the other mode without a relay', (pod) => {
        withCredentialsOnly(pod)
        pod.metadata.labels['steno.dev/enforcement'] = 'Relay'
      }),
      of('a label that is no mode', (pod) => void (pod.metadata.labels['steno.dev/enforcement'] = 'relay')),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentField',
    refused: [
      withVariable('a name that is written down', { name: 'STENO_POD_NAME', value: 'another' }),
      withVariable('a namespace from a label', {
        name: 'STENO_POD_NAMESPACE',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.labels['app']" } },
      }),
      withVariable('a UID from a Secret', { name: 'STENO_POD_UID', valueFrom: { secretKeyRef: { name: 'mine', key: 'uid' } } }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-environment',
    rule: 'EnvironmentSource',
    refused: [
      withVariable('a CA from a field of the pod', {
        name: 'STENO_CA_0',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: "metadata.annotations['ca']" } },
      }),
      withVariable('a CA from a resource', {
        name: 'STENO_CA_0',
        valueFrom: { resourceFieldRef: { containerName: 'app', resource: 'limits.cpu' } },
      }),
    ],
    admitted: [
      withVariable('a literal source', { name: 'STENO_SOURCE_0_DATABASE_URL', value: 'postgresql://orders.example.com/orders' }),
      withVariable('a source that names a field of the pod', {
        name: 'STENO_SOURCE_0_POD',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } },
      }),
    ],
  },
  {
    policy: 'sidecar-volumes',
    rule: 'SidecarMounts',
    refused: [
      withMount('a mount more', { name: 'mine', mountPath: '/app' }),
      withFirstMount('a subPath', { subPath: 'evil' }),
      withFirstMount('a subPathExpr', { subPathExpr: '$(STENO_POD_NAME)' }),
      withFirstMount('another path', { mountPath: '/var/lib' }),
      withFirstMount('a volume of the same path and another name', { name: 'steno-token' }),
      of('a token that may be written', (pod) => {
        for (const mount of sidecarOf(pod).volumeMounts ?? []) mount.readOnly = false
      }),
      of('the API token in place of ours', (pod) => void sidecarOf(pod).volumeMounts?.pop()),
    ],
    admitted: [
      of('the mounts in another order', (pod) => void (sidecarOf(pod).volumeMounts = sidecarOf(pod).volumeMounts?.toReversed() ?? [])),
    ],
  },
  {
    policy: 'sidecar-volumes',
    rule: 'SpoolVolume',
    refused: [
      withVolume('steno-spool', 'a spool in memory', { emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } }),
      withVolume('steno-spool', 'a spool without limit', { emptyDir: {} }),
      withVolume('steno-spool', 'a spool that others can mount', { persistentVolumeClaim: { claimName: 'mine' } }),
      withVolume('steno-spool', 'a spool that brings a file', { configMap: { name: 'mine' } }),
    ],
    admitted: [withVolume('steno-spool', 'another limit', { emptyDir: { sizeLimit: '64Gi' } })],
  },
  {
    policy: 'sidecar-volumes',
    rule: 'TokenVolume',
    refused: [
      withVolume('steno-token', 'a Secret', { secret: { secretName: 'mine' } }),
      withVolume('steno-token', 'another audience', token({ audience: 'https://kubernetes.default.svc' })),
      withVolume('steno-token', 'another file', token({ path: 'mine' })),
      withVolume('steno-token', 'a token that lives for a day', token({ expirationSeconds: 86_400 })),
      withVolume('steno-token', 'a source more', token({}, [{ configMap: { name: 'mine' } }])),
      withVolume('steno-token', 'no token for the relay', tokens({ serviceAccountToken: controlToken })),
      withVolume('steno-token', 'no token for control', tokens({ serviceAccountToken: relayToken })),
      withVolume(
        'steno-token',
        'a token for the relay at the place of that for control',
        tokens(
          { serviceAccountToken: { ...controlToken, path: 'relay-token' } },
          { serviceAccountToken: { ...relayToken, path: 'token' } },
        ),
      ),
      withVolume(
        'steno-token',
        'a token for the relay that lives for a day',
        tokens({ serviceAccountToken: controlToken }, { serviceAccountToken: { ...relayToken, expirationSeconds: 86_400 } }),
      ),
    ],
    admitted: [of('the two that steno sets', () => undefined)],
  },
  {
    policy: 'sidecar-process',
    rule: 'SidecarSecurityContext',
    refused: [
      withSecurity('another user', { runAsUser: 1000 }),
      withSecurity('escalation', { allowPrivilegeEscalation: true }),
      withSecurity('a root file system that may be written', { readOnlyRootFilesystem: false }),
      withSecurity('a capability', { capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] } }),
      withSecurity('capabilities that stay', { capabilities: {} }),
      withSecurity('no seccomp profile', { seccompProfile: { type: 'Unconfined' } }),
      withSecurity('an SELinux type', { seLinuxOptions: { type: 'spc_t' } }),
      of('an AppArmor annotation', (pod) => {
        pod.metadata.annotations['container.apparmor.security.beta.kubernetes.io/steno'] = 'unconfined'
      }),
      ofSidecar('none at all', { securityContext: undefined }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-process',
    rule: 'SidecarPorts',
    refused: [
      ofSidecar('a hostPort', { ports: [{ name: 'steno-health', containerPort: 15_090, protocol: 'TCP', hostPort: 15_090 }] }),
      ofSidecar('a port more', {
        ports: [
          { name: 'steno-health', containerPort: 15_090, protocol: 'TCP' },
          { name: 'sql', containerPort: 15_432, protocol: 'TCP' },
        ],
      }),
      ofSidecar('none', { ports: [] }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-process',
    rule: 'SidecarProbe',
    refused: [
      ofSidecar('a program', { startupProbe: { ...startupProbe, httpGet: undefined, exec: { command: ['node', '-e', '1'] } } }),
      ofSidecar('another host', { startupProbe: { ...startupProbe, httpGet: { ...httpGet, host: 'evil.example' } } }),
      ofSidecar('headers', { startupProbe: { ...startupProbe, httpGet: { ...httpGet, httpHeaders: [{ name: 'a', value: 'b' }] } } }),
      ofSidecar('a delay', { startupProbe: { ...startupProbe, initialDelaySeconds: 600 } }),
      ofSidecar('none', { startupProbe: undefined }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-process',
    rule: 'SidecarHook',
    refused: [
      ofSidecar('a program at the end', { lifecycle: { preStop: { exec: { command: ['node', '-e', '1'] } } } }),
      ofSidecar('a program at the start', {
        lifecycle: { preStop: { httpGet: { ...httpGet, path: '/ship' } }, postStart: { exec: { command: ['node', '-e', '1'] } } },
      }),
      ofSidecar('another path', { lifecycle: { preStop: { httpGet } } }),
      ofSidecar('none', { lifecycle: undefined }),
    ],
    admitted: [],
  },
  {
    policy: 'sidecar-process',
    rule: 'SidecarResources',
    refused: [
      ofSidecar('a device', { resources: { limits: { 'example.com/device': '1' }, requests: { 'example.com/device': '1' } } }),
      ofSidecar('huge pages', { resources: { limits: { 'hugepages-2Mi': '2Mi', memory: '64Mi' }, requests: { memory: '64Mi' } } }),
    ],
    admitted: [
      ofSidecar('other amounts', { resources: { limits: { memory: '1Gi' }, requests: { cpu: '1', 'ephemeral-storage': '1Gi' } } }),
      ofSidecar('none', { resources: undefined }),
    ],
  },
]
