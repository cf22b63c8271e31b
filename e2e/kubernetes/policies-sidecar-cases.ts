/**
 * What may be wrong with the sidecar's container in a pod that is created (its place, image, program, trust, process), and beside each what
 * may differ all the same. Its variables are in policies-environment-cases.ts, its volumes in policies-volume-cases.ts.
 */
import { of, ofSidecar, withVariable, type Case, type Rule } from './policies-cases.ts'
import { appOf, type InjectedPod, sidecarOf } from './policies-pods.ts'
import { controlCas, exemptLabels, foreignInit, formerSidecarImage, sidecarImage } from './policies-world.ts'

const httpGet = { path: '/startz', port: 15_090, scheme: 'HTTP' }
const startupProbe = { httpGet, timeoutSeconds: 1, periodSeconds: 1, successThreshold: 1, failureThreshold: 60 }
const ownInit = { name: 'migrate', image: sidecarImage }
const ownAuthority = '-----BEGIN CERTIFICATE-----\nmine\n-----END CERTIFICATE-----\n'
const withAuthorities = (what: string, value: string): Case => withVariable(what, { name: 'STENO_CONTROL_CA', value })
const withSecurity = (what: string, fields: object): Case => of(what, (pod) => Object.assign(sidecarOf(pod).securityContext ?? {}, fields))
const before = (what: string, ...first: { name: string; image: string }[]): Case =>
  of(what, (pod) => pod.spec.initContainers.unshift(...first))

function withoutSidecar(pod: InjectedPod): void {
  pod.spec.initContainers = []
  pod.spec.volumes = []
  pod.metadata.labels = { app: 'shop' }
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
      ofSidecar('a longer tag than that of a release before', { image: `${formerSidecarImage}-evil` }),
    ],
    admitted: [ofSidecar('the image of a release that was rolled back, whose webhooks are about to end', { image: formerSidecarImage })],
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
      withAuthorities('another authority', ownAuthority),
      withAuthorities('another authority behind one that is known', controlCas[0] + ownAuthority),
      withAuthorities('another authority before one that is known', ownAuthority + controlCas[0]),
      withAuthorities('another authority between two that are known', controlCas[0] + ownAuthority + controlCas[1]),
      withAuthorities('another authority in front of the end of one that is known', ownAuthority.trim() + controlCas[0]),
      withAuthorities(
        'one in another form of PEM',
        `${controlCas[0]}-----BEGIN TRUSTED CERTIFICATE-----\nmine\n-----END TRUSTED CERTIFICATE-----\n`,
      ),
      withAuthorities('something behind the last', `${controlCas[0]}mine`),
      withAuthorities('no certificate', 'mine'),
    ],
    admitted: [
      withAuthorities('the next authority beside the one that signs', controlCas.slice(0, 2).join('')),
      withAuthorities('one that signs no more', String(controlCas[2])),
    ],
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
